package main

import "sync"

// finished parks many goroutines and lets them end, ten times: the memory that stays with the process.
func finished() {
	goroutines := count(10_000)
	const rounds = 10
	parkAndEnd := func() {
		gate := make(chan struct{})
		var parked, ended sync.WaitGroup
		parked.Add(goroutines)
		ended.Add(goroutines)
		for i := 0; i < goroutines; i++ {
			go func() {
				parked.Done()
				<-gate
				ended.Done()
			}()
		}
		parked.Wait()
		close(gate)
		ended.Wait()
	}

	before, _ := memory()
	var kept [rounds]float64
	for i := range kept {
		parkAndEnd()
		resident, _ := memory()
		kept[i] = resident - before
	}
	report(figures{
		"finished.first": kept[0],
		"finished.last":  kept[rounds-1],
		// From the fifth on: the first ones also fill caches.
		"finished.growth": (kept[rounds-1] - kept[4]) / float64((rounds-5)*goroutines),
	})
}

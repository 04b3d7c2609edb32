package main

import (
	"runtime"
	"sync"
	"time"
)

// event closes a channel that many goroutines wait for: the time until the last of them has gone on, for each.
func event() {
	goroutines := count(10_000)
	closeForAll(goroutines) // warms up
	samples := make([]float64, 5)
	for i := range samples {
		samples[i] = closeForAll(goroutines)
	}
	report(figures{"event": samples})
}

func closeForAll(goroutines int) float64 {
	event := make(chan struct{})
	var allParked sync.WaitGroup
	allParked.Add(goroutines)
	allWoken := make(chan struct{})
	woken := 0
	var end time.Time
	for i := 0; i < goroutines; i++ {
		go func() {
			allParked.Done()
			<-event
			if woken++; woken == goroutines {
				end = time.Now()
				close(allWoken)
			}
		}()
	}
	allParked.Wait()
	runtime.GC()
	verify(woken, 0)

	start := time.Now()
	close(event)
	<-allWoken
	verify(woken, goroutines)
	return perOperation(end.Sub(start), goroutines)
}

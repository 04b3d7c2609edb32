package main

import (
	"sync"
	"time"
)

// parked parks many goroutines on one channel: the memory each takes, and the time to wake each.
func parked() {
	parkAndWake(100) // warms up
	report(parkAndWake(count(100_000)))
}

func parkAndWake(goroutines int) figures {
	gate := make(chan struct{})
	var allParked, allWoken sync.WaitGroup
	allParked.Add(goroutines)
	allWoken.Add(goroutines)

	resident, pageTables := memory()
	for i := 0; i < goroutines; i++ {
		go func() {
			allParked.Done()
			<-gate
			allWoken.Done()
		}()
	}
	allParked.Wait()
	residentAfter, pageTablesAfter := memory()

	start := time.Now()
	close(gate)
	allWoken.Wait()
	return figures{
		"parked.bytes":      (residentAfter - resident) / float64(goroutines),
		"parked.pageTables": (pageTablesAfter - pageTables) / float64(goroutines),
		"parked.wake":       perOperation(time.Since(start), goroutines),
	}
}

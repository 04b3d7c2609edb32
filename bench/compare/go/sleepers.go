package main

import (
	"sync"
	"time"
)

// sleepers lets many goroutines sleep until the same moment: the time from the first that runs again to the last, for each.
func sleepers() {
	wakeSleepers(100, 50*time.Millisecond) // warms up
	report(figures{"sleepers": wakeSleepers(count(20_000), 1500*time.Millisecond)})
}

func wakeSleepers(goroutines int, until time.Duration) float64 {
	due := time.Now().Add(until)
	var first, last time.Time
	var all sync.WaitGroup
	all.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go func() {
			time.Sleep(time.Until(due))
			last = time.Now()
			if first.IsZero() {
				first = last
			}
			all.Done()
		}()
	}
	all.Wait()
	return perOperation(last.Sub(first), goroutines)
}

package main

import "sync"

// spawnRun starts goroutines that never block, all at once, then waits for them all.
func spawnRun() {
	goroutines := count(100_000)
	report(figures{"spawn-run": sample(goroutines, func() {
		var all sync.WaitGroup
		all.Add(goroutines)
		for i := 0; i < goroutines; i++ {
			go all.Done()
		}
		all.Wait()
	})})
}

package main

// spawnJoin starts goroutines one by one, the parent waiting for each to end.
func spawnJoin() {
	goroutines := count(100_000)
	report(figures{"spawn-join": sample(goroutines, func() {
		for i := 0; i < goroutines; i++ {
			done := make(chan struct{})
			go close(done)
			<-done
		}
	})})
}

package main

// handOver sends a token to and fro between two goroutines.
func handOver() {
	trips := count(50_000)
	report(figures{"hand-over.waiter": sample(trips*2, func() {
		there, back := make(chan struct{}), make(chan struct{})
		go func() {
			for range there {
				back <- struct{}{}
			}
		}()
		for i := 0; i < trips; i++ {
			there <- struct{}{}
			<-back
		}
		close(there)
	})})
}

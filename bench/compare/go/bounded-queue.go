package main

// boundedQueue passes items from one goroutine to another through a buffered channel, which the one fills and the other empties.
func boundedQueue() {
	items := count(200_000)
	through := func(size int) []float64 {
		return sample(items, func() { passThrough(make(chan int, size), items) })
	}
	report(figures{"bounded-queue.ten": through(10), "bounded-queue.hundred": through(100)})
}

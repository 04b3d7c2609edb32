package main

// channel hands items from one goroutine to another through an unbuffered channel.
func channel() {
	items := count(100_000)
	report(figures{"channel": sample(items, func() { passThrough(make(chan int), items) })})
}

// passThrough sends so many items through a channel and verifies what comes out.
func passThrough(c chan int, items int) {
	go func() {
		for i := 0; i < items; i++ {
			c <- i
		}
		close(c)
	}()
	sum := 0
	for item := range c {
		sum += item
	}
	verify(sum, items*(items-1)/2)
}

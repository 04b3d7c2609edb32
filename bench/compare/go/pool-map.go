package main

import "sync"

// poolMap maps many items by a function that never blocks, at most a hundred goroutines at a time.
func poolMap() {
	items := make([]int, count(10_000))
	for i := range items {
		items[i] = i
	}
	same := func(item int) int { return item }
	report(figures{"pool-map": sample(len(items), func() {
		results := make([]int, len(items))
		room := make(chan struct{}, 100)
		var all sync.WaitGroup
		all.Add(len(items))
		for i, item := range items {
			room <- struct{}{}
			go func(i, item int) {
				results[i] = same(item)
				<-room
				all.Done()
			}(i, item)
		}
		all.Wait()
		sum := 0
		for _, result := range results {
			sum += result
		}
		verify(sum, len(items)*(len(items)-1)/2)
	})})
}

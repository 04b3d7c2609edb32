package main

import "sync"

// permits is a semaphore: a channel that holds the permits.
type permits chan struct{}

func (p permits) acquire() { <-p }
func (p permits) release() { p <- struct{}{} }

// semaphore acquires one that is free and releases it; then two goroutines each wait for a permit that the other releases,
// to and fro.
func semaphore() {
	uses, trips := count(200_000), count(50_000)
	report(figures{
		"semaphore.free": sample(uses, func() {
			free := make(permits, 1)
			free.release()
			for i := 0; i < uses; i++ {
				free.acquire()
				free.release()
			}
			verify(len(free), 1)
		}),
		"semaphore.handOver": sample(trips*2, func() { toAndFro(trips) }),
	})
}

func toAndFro(trips int) {
	there, back := make(permits, 1), make(permits, 1)
	turns := 0
	var both sync.WaitGroup
	both.Add(2)
	go func() {
		for i := 0; i < trips; i++ {
			there.release()
			back.acquire()
			turns++
			verify(turns, 2*i+2)
		}
		both.Done()
	}()
	go func() {
		for i := 0; i < trips; i++ {
			there.acquire()
			turns++
			verify(turns, 2*i+1)
			back.release()
		}
		both.Done()
	}()
	both.Wait()
}

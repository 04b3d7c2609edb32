package main

import (
	"runtime"
	"sync"
)

// sleep0 lets goroutines yield to one another: one alone, two (a plain hand-over), and a thousand.
func sleep0() {
	yields := count(300_000)
	yieldAmong := func(goroutines int) []float64 {
		each := (yields + goroutines - 1) / goroutines
		return sample(each*goroutines, func() {
			var all sync.WaitGroup
			all.Add(goroutines)
			for i := 0; i < goroutines; i++ {
				go func() {
					for j := 0; j < each; j++ {
						runtime.Gosched()
					}
					all.Done()
				}()
			}
			all.Wait()
		})
	}
	report(figures{
		"sleep0.alone":    yieldAmong(1),
		"sleep0.two":      yieldAmong(2),
		"sleep0.thousand": yieldAmong(1000),
	})
}

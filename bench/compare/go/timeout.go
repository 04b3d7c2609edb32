package main

import (
	"runtime"
	"time"
)

// timeout starts a timer and stops it, with more and more others pending.
func timeout() {
	timeouts := count(100_000)
	few := 1_000
	many := count(1_000_000)
	nothing := func() {}

	var pending []*time.Timer
	// fill starts timers that end long after this program, in no order, until so many are pending.
	fill := func(total int) {
		for i := len(pending); i < total; i++ {
			pending = append(pending, time.AfterFunc(time.Hour+time.Duration(i*7_919%3_600_000)*time.Millisecond, nothing))
		}
	}
	startAndStop := func() []float64 {
		return sample(timeouts, func() {
			for i := 0; i < timeouts; i++ {
				time.AfterFunc(10*time.Second, nothing).Stop()
			}
		})
	}

	alone := startAndStop()
	fill(few)
	runtime.GC()
	amongFew := startAndStop()
	start := time.Now()
	fill(many)
	filled := perOperation(time.Since(start), many-few)
	runtime.GC() // so that filling is not paid for by what is measured next
	report(figures{
		"timeout.alone":     alone,
		"timeout.amongFew":  amongFew,
		"timeout.amongMany": startAndStop(),
		"timeout.fill":      filled,
	})
}

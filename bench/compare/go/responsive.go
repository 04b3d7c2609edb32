package main

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// responsive counts TCP round trips a second, beside an idle scheduler and beside a thousand goroutines that yield in a loop.
func responsive() {
	period := time.Duration(count(1_000)) * time.Millisecond
	echo := func() float64 {
		connection, err := net.Dial("tcp", "127.0.0.1:"+os.Getenv("BENCH_ECHO_PORT"))
		if err != nil {
			panic(err)
		}
		defer connection.Close()
		message := make([]byte, 64)
		trips := 0
		start := time.Now()
		for ; time.Since(start) < period; trips++ {
			if _, err := connection.Write(message); err != nil {
				panic(err)
			}
			if _, err := io.ReadFull(connection, message); err != nil {
				panic(err)
			}
		}
		return perSecond(trips, start)
	}

	idle := echo()
	var loaded atomic.Bool
	loaded.Store(true)
	var yields atomic.Int64
	var yielders sync.WaitGroup
	yielders.Add(1_000)
	for i := 0; i < 1_000; i++ {
		go func() {
			for loaded.Load() {
				runtime.Gosched()
				yields.Add(1)
			}
			yielders.Done()
		}()
	}
	start := time.Now()
	busy := echo()
	rate := perSecond(int(yields.Load()), start)
	loaded.Store(false)
	yielders.Wait()
	report(figures{"responsive.echo.idle": idle, "responsive.echo.loaded": busy, "responsive.yields": rate})
}

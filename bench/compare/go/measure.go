package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

type figures map[string]any

// count is how many of `full` to do: all in a full run, a tenth in a quick one.
func count(full int) int {
	scale := 1.0
	if text := os.Getenv("BENCH_SCALE"); text != "" {
		if _, err := fmt.Sscan(text, &scale); err != nil {
			panic(err)
		}
	}
	return max(1, int(math.Round(float64(full)*scale)))
}

// sample times body, which does so many operations, after one run of it that does not count.
func sample(operations int, body func()) []float64 {
	body()
	samples := make([]float64, 3)
	for i := range samples {
		start := time.Now()
		body()
		samples[i] = perOperation(time.Since(start), operations)
	}
	return samples
}

func perOperation(elapsed time.Duration, operations int) float64 {
	return float64(elapsed.Nanoseconds()) / float64(operations)
}

func perSecond(steps int, since time.Time) float64 {
	return float64(steps) / time.Since(since).Seconds()
}

// verify panics unless a program has done what it was to do: nobody measures a failure.
func verify(got, expected int) {
	if got != expected {
		panic(fmt.Sprintf("got %d instead of %d", got, expected))
	}
}

// memory collects garbage, then returns the bytes resident and those of the page tables.
func memory() (resident, pageTables float64) {
	debug.FreeOSMemory()
	status, err := os.Open("/proc/self/status")
	if err != nil {
		panic(err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		field, value, _ := strings.Cut(lines.Text(), ":")
		switch field {
		case "VmRSS":
			resident = kibibytes(value)
		case "VmPTE":
			pageTables = kibibytes(value)
		}
	}
	return
}

func kibibytes(text string) (bytes float64) {
	if _, err := fmt.Sscan(text, &bytes); err != nil {
		panic(err)
	}
	return bytes * 1024
}

func report(f figures) {
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		panic(err)
	}
}

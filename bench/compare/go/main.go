// The Go programs greenstack is compared with, one operation per file, named on the command line.
package main

import (
	"fmt"
	"os"
)

var operations = map[string]func(){
	"bounded-queue": boundedQueue,
	"channel":       channel,
	"event":         event,
	"hand-over":     handOver,
	"http-server":   httpServer,
	"load":          load,
	"net-server":    netServer,
	"finished":      finished,
	"parked":        parked,
	"pool-map":      poolMap,
	"responsive":    responsive,
	"semaphore":     semaphore,
	"sleep0":        sleep0,
	"sleepers":      sleepers,
	"spawn-join":    spawnJoin,
	"spawn-run":     spawnRun,
	"timeout":       timeout,
	"tls-echo":      tlsEcho,
	"tls-handshake": tlsHandshake,
}

func main() {
	operation := operations[os.Args[1]]
	if operation == nil {
		fmt.Fprintln(os.Stderr, "no such operation:", os.Args[1])
		os.Exit(2)
	}
	operation()
}

package main

import (
	"crypto/tls"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// processorTime is what this process has used, in nanoseconds.
func processorTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// tlsListen listens with the certificate that run.mjs has made.
func tlsListen() net.Listener {
	folder := os.Getenv("BENCH_TLS")
	identity, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		panic(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{identity}})
	if err != nil {
		panic(err)
	}
	return listener
}

// tlsLoad starts the clients of a TLS measurement.
func tlsLoad(listener net.Listener, what string, operations int) {
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	command := exec.Command(os.Getenv("BENCH_NODE"), os.Getenv("BENCH_TLS_LOAD"), port, what, strconv.Itoa(operations))
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		panic(err)
	}
	go command.Wait()
}

// tlsMeasure serves each connection by `serve` until `operations` were noted, after a fifth of that, and returns the processor
// time for each.
func tlsMeasure(what string, operations int, serve func(connection net.Conn, operations int, note func(count int))) float64 {
	listener := tlsListen()
	defer listener.Close()
	warm := (operations + 4) / 5
	notes := make(chan int, 1024)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				serve(connection, warm+operations, func(count int) { notes <- count })
			}()
		}
	}()
	tlsLoad(listener, what, warm+operations)
	var start int64
	for done := 0; done < warm+operations; {
		done += <-notes
		if start == 0 && done >= warm {
			start = processorTime()
		}
	}
	return float64(processorTime()-start) / float64(operations)
}

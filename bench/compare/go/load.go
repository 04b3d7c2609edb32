package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// load is the client of the network operations, the same for all servers: `load OPERATION PORT PID`. What the server uses up is
// read from its process.
func load() {
	server := serverProcess{os.Args[3], os.Args[4]}
	switch operation := os.Args[2]; operation {
	case "echo":
		loadEcho(server)
	case "connect":
		loadConnect(server)
	case "bulk":
		loadBulk(server)
	case "http-hello", "http-post-json", "http-large", "http-backend",
		"http-listener", "http-express4", "http-express5", "http-koa", "http-hono", "http-patched":
		loadHTTP(operation, server)
	case "http-idle":
		loadHTTPIdle(server)
	default:
		loadIdle(operation, server)
	}
}

type serverProcess struct{ port, pid string }

// dial connects by one of several addresses of this host, so that ports do not run out.
func (server serverProcess) dial(number int) net.Conn {
	connection, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.%d:%s", 1+number%16, server.port))
	if err != nil {
		panic(err)
	}
	return connection
}

// cpu is the time that all threads of the server have run.
func (server serverProcess) cpu() time.Duration {
	files, err := filepath.Glob("/proc/" + server.pid + "/task/*/schedstat")
	if err != nil || len(files) == 0 {
		panic("the server tells no processor time")
	}
	var sum time.Duration
	for _, file := range files {
		var ran time.Duration
		if text, err := os.ReadFile(file); err == nil {
			fmt.Sscan(string(text), &ran)
		}
		sum += ran
	}
	return sum
}

// resident is the memory of the server, in bytes.
func (server serverProcess) resident() float64 {
	text, err := os.ReadFile("/proc/" + server.pid + "/statm")
	if err != nil {
		panic(err)
	}
	var size, pages float64
	fmt.Sscan(string(text), &size, &pages)
	return pages * float64(os.Getpagesize())
}

const messageSize = 64

func exchange(connection net.Conn, message []byte) {
	if _, err := connection.Write(message); err != nil {
		panic(err)
	}
	if _, err := io.ReadFull(connection, message); err != nil {
		panic(err)
	}
}

// loadEcho sends a message on each connection, waits for it to come back, and again: the server's time for each, how long the
// slowest hundredth takes, and how many the connection with the fewest gets, of the average.
func loadEcho(server serverProcess) {
	result := figures{}
	for _, connections := range echoSizes() {
		loadExchanges(server, result, fmt.Sprintf("echo.%d", connections), connections, func(connection net.Conn) func() {
			message := make([]byte, messageSize)
			return func() { exchange(connection, message) }
		})
	}
	report(result)
}

// loadExchanges opens connections, each of which asks and waits for the answer, again and again.
func loadExchanges(server serverProcess, result figures, key string, connections int, asking func(net.Conn) func()) {
	measured := time.Duration(count(2000)) * time.Millisecond
	var ended atomic.Bool
	var measuring atomic.Bool
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	counts := make([]int, connections)
	latencies := make([][]time.Duration, connections)
	for i := range counts {
		connection := server.dial(i)
		ready.Add(1)
		done.Add(1)
		go func(i int) {
			defer done.Done()
			defer connection.Close()
			ask := asking(connection)
			ask()
			ready.Done()
			<-begin
			for !ended.Load() {
				start := time.Now()
				ask()
				if measuring.Load() {
					counts[i]++
					latencies[i] = append(latencies[i], time.Since(start))
				}
			}
		}(i)
	}
	ready.Wait()
	close(begin)
	time.Sleep(measured / 2)
	measuring.Store(true)
	before := server.cpu()
	start := time.Now()
	time.Sleep(measured)
	used := server.cpu() - before
	elapsed := time.Since(start)
	measuring.Store(false)
	ended.Store(true)
	done.Wait()
	var all []time.Duration
	messages, fewest := 0, counts[0]
	for i, count := range counts {
		messages += count
		fewest = min(fewest, count)
		all = append(all, latencies[i]...)
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	result[key+".cpu"] = perOperation(used, messages)
	result[key+".rate"] = float64(messages) / elapsed.Seconds()
	result[key+".p99"] = float64(all[len(all)*99/100].Nanoseconds())
	result[key+".fewest"] = 100 * float64(fewest) * float64(connections) / float64(messages)
}

// loadConnect connects, sends a message, waits for it to come back, and closes, fifty at a time.
func loadConnect(server serverProcess) {
	period := time.Duration(count(2000)) * time.Millisecond
	var ended atomic.Bool
	var total atomic.Int64
	var done sync.WaitGroup
	for i := 0; i < 50; i++ {
		done.Add(1)
		go func(number int) {
			defer done.Done()
			message := make([]byte, messageSize)
			for ; !ended.Load(); number++ {
				connection := server.dial(number)
				exchange(connection, message)
				connection.Close()
				total.Add(1)
			}
		}(i)
	}
	time.Sleep(period / 2)
	before, used := total.Load(), server.cpu()
	start := time.Now()
	time.Sleep(period)
	connections := int(total.Load() - before)
	used = server.cpu() - used
	result := figures{"connect.rate": perSecond(connections, start), "connect.cpu": perOperation(used, connections)}
	ended.Store(true)
	done.Wait()
	report(result)
}

// loadBulk receives what the server sends.
func loadBulk(server serverProcess) {
	period := time.Duration(count(2000)) * time.Millisecond
	connection := server.dial(0)
	buffer := make([]byte, 1<<20)
	receive := func(period time.Duration) (bytes int) {
		for start := time.Now(); time.Since(start) < period; {
			count, err := connection.Read(buffer)
			if err != nil {
				panic(err)
			}
			bytes += count
		}
		return
	}
	receive(period / 2)
	before := server.cpu()
	start := time.Now()
	bytes := receive(period)
	used := server.cpu() - before
	report(figures{
		"bulk.rate": float64(bytes) / time.Since(start).Seconds(),
		"bulk.cpu":  perOperation(used, bytes/(64*1024)),
	})
	connection.Close()
}

// loadIdle opens connections that send nothing: the server's memory for each.
func loadIdle(operation string, server serverProcess) {
	warmUp := server.dial(0)
	exchange(warmUp, make([]byte, messageSize))
	warmUp.Close()
	time.Sleep(200 * time.Millisecond)
	before := server.resident()
	connections := make([]net.Conn, count(10_000))
	for i := range connections {
		connections[i] = server.dial(i)
	}
	time.Sleep(time.Second)
	report(figures{operation + ".bytes": (server.resident() - before) / float64(len(connections))})
	for _, connection := range connections {
		connection.Close()
	}
}

// echoSizes are the numbers of connections; BENCH_CONNECTIONS asks for one only.
func echoSizes() []int {
	var only int
	if _, err := fmt.Sscan(os.Getenv("BENCH_CONNECTIONS"), &only); err == nil {
		return []int{only}
	}
	return []int{1, 50, 500, 5000}
}

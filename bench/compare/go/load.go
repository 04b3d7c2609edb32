package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
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
		"http-listener", "http-express4", "http-express5", "http-koa", "http-hono", "http-pg", "http-patched":
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
	whole := func([]byte) int { return messageSize }
	for _, connections := range chosen([]int{1, 50, 500, 5000}) {
		loadExchanges(server, result, fmt.Sprintf("echo.%d", connections), connections, make([]byte, messageSize), whole)
	}
	report(result)
}

// asker is a connection that asks and waits for the answer, again and again.
type asker struct {
	descriptor int
	received   []byte
	asked      time.Time
	answers    int
}

// loadExchanges opens connections, and asks again on each as soon as its answer is there. `lengthOf` tells how long an answer is
// that has begun, or -1. It waits for all of them by epoll, in one loop: a goroutine for each connection would take longer for a
// message than a good server, so that it was the client that is measured.
func loadExchanges(
	server serverProcess, result figures, key string, connections int, question []byte, lengthOf func([]byte) int,
) {
	measured := time.Duration(count(2000)) * time.Millisecond
	poll, err := syscall.EpollCreate1(0)
	must(err)
	askers := make([]asker, connections)
	for i := range askers {
		one := &askers[i]
		one.descriptor = server.open(i)
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)}
		must(syscall.EpollCtl(poll, syscall.EPOLL_CTL_ADD, one.descriptor, &event))
		one.ask(question)
	}
	events := make([]syscall.EpollEvent, 128)
	// exchange goes on until all connections have had an answer after which they do not ask again.
	exchange := func(answered func(*asker) bool) {
		for waiting := connections; waiting > 0; {
			ready, err := syscall.EpollWait(poll, events, 1000)
			if err == syscall.EINTR {
				continue
			}
			must(err)
			for _, event := range events[:ready] {
				one := &askers[event.Fd]
				if !one.receive(lengthOf) {
					continue
				}
				if answered(one) {
					one.ask(question)
				} else {
					waiting--
				}
			}
		}
	}
	// Nobody is measured before all have been accepted.
	exchange(func(*asker) bool { return false })
	for i := range askers {
		askers[i].ask(question)
	}
	var latencies []time.Duration
	var before, used, elapsed time.Duration
	begin := time.Now()
	measuring, ended := false, false
	exchange(func(one *asker) bool {
		now := time.Now()
		if measuring {
			one.answers++
			latencies = append(latencies, now.Sub(one.asked))
			if now.Sub(begin) >= measured {
				used, elapsed = server.cpu()-before, now.Sub(begin)
				measuring, ended = false, true
			}
		} else if !ended && now.Sub(begin) >= measured/2 {
			measuring, begin, before = true, now, server.cpu()
		}
		return !ended
	})
	for i := range askers {
		must(syscall.Close(askers[i].descriptor))
	}
	must(syscall.Close(poll))
	fewest := askers[0].answers
	for i := range askers {
		fewest = min(fewest, askers[i].answers)
	}
	messages := len(latencies)
	sort.Slice(latencies, func(a, b int) bool { return latencies[a] < latencies[b] })
	result[key+".cpu"] = perOperation(used, messages)
	result[key+".rate"] = float64(messages) / elapsed.Seconds()
	result[key+".p99"] = float64(latencies[messages*99/100].Nanoseconds())
	result[key+".fewest"] = 100 * float64(fewest) * float64(connections) / float64(messages)
}

// open connects as dial does, without the runtime of Go in between.
func (server serverProcess) open(number int) int {
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(err)
	port, err := strconv.Atoi(server.port)
	must(err)
	address := syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, byte(1 + number%16)}}
	must(syscall.Connect(descriptor, &address))
	must(syscall.SetsockoptInt(descriptor, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1))
	must(syscall.SetNonblock(descriptor, true))
	return descriptor
}

// ask sends a question, which always fits.
func (one *asker) ask(question []byte) {
	one.asked = time.Now()
	sent, err := syscall.Write(one.descriptor, question)
	must(err)
	verify(sent, len(question))
}

// room is where answers are received.
var room [64 * 1024]byte

// receive takes what has come, and tells whether the answer is complete.
func (one *asker) receive(lengthOf func([]byte) int) bool {
	received := room[:0]
	if len(one.received) > 0 {
		received = append(received, one.received...)
	}
	count, err := syscall.Read(one.descriptor, room[len(received):])
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return false
	}
	must(err)
	if count == 0 {
		panic("the server has closed the connection")
	}
	received = room[:len(received)+count]
	if length := lengthOf(received); length < 0 || len(received) < length {
		one.received = append(one.received[:0], received...)
		return false
	} else {
		verify(len(received), length)
	}
	one.received = one.received[:0]
	return true
}

func must(err error) {
	if err != nil {
		panic(err)
	}
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

// chosen are numbers of connections, of which BENCH_CONNECTIONS may ask for one only.
func chosen(sizes []int) []int {
	var only int
	if _, err := fmt.Sscan(os.Getenv("BENCH_CONNECTIONS"), &only); err == nil {
		return []int{only}
	}
	return sizes
}

package main

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// loadHTTP sends the same request again and again on connections that stay open. It takes no more of the responses apart than
// where they end, so that the client costs little.
func loadHTTP(operation string, server serverProcess) {
	request := "GET /" + strings.TrimPrefix(operation, "http-") + " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n"
	body := ""
	if operation == "http-post-json" {
		body = someJSON()
		request = fmt.Sprintf("POST /json HTTP/1.1\r\nHost: localhost\r\nUser-Agent: load\r\nAccept: */*\r\n"+
			"Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	sizes := []int{50}
	if operation == "http-hello" {
		sizes = []int{1, 50, 500}
	}
	result := figures{}
	for _, connections := range chosen(sizes) {
		key := fmt.Sprintf("%s.%d", operation, connections)
		loadExchanges(server, result, key, connections, []byte(request+"\r\n"+body), responseLength)
	}
	report(result)
}

// asking makes a function that sends a request and waits for the whole response.
func asking(connection net.Conn, request []byte) func() {
	buffer := make([]byte, 64*1024)
	return func() {
		if _, err := connection.Write(request); err != nil {
			panic(err)
		}
		received, length := 0, -1
		for length < 0 || received < length {
			count, err := connection.Read(buffer[received:])
			if err != nil {
				panic(err)
			}
			received += count
			if length < 0 {
				length = responseLength(buffer[:received])
			}
		}
		verify(received, length)
	}
}

// responseLength is how long a response is whose head is complete, or -1.
func responseLength(response []byte) int {
	end := bytes.Index(response, []byte("\r\n\r\n"))
	if end < 0 {
		return -1
	}
	if !bytes.HasPrefix(response, []byte("HTTP/1.1 200 ")) {
		panic(string(response))
	}
	_, rest, found := bytes.Cut(bytes.ToLower(response[:end+2]), []byte("\r\ncontent-length: "))
	if !found {
		panic("a response without a length: " + string(response))
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	length, err := strconv.Atoi(string(digits))
	if err != nil {
		panic(err)
	}
	return end + 4 + length
}

// someJSON is about 1 KB.
func someJSON() string {
	items := make([]string, 36)
	for i := range items {
		items[i] = fmt.Sprintf(`{"id":%d,"name":"item %d"}`, i, i)
	}
	return `{"items":[` + strings.Join(items, ",") + `]}`
}

// loadHTTPIdle opens connections that have had one response each: the server's memory for each.
func loadHTTPIdle(server serverProcess) {
	request := []byte("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
	warmUp := server.dial(0)
	for i := 0; i < count(10_000); i++ {
		asking(warmUp, request)()
	}
	time.Sleep(200 * time.Millisecond)
	before := server.resident()
	connections := make([]net.Conn, count(10_000))
	for i := range connections {
		connections[i] = server.dial(i)
		asking(connections[i], request)()
	}
	time.Sleep(time.Second)
	report(figures{"http-idle.bytes": (server.resident() - before) / float64(len(connections))})
	for _, connection := range connections {
		connection.Close()
	}
	warmUp.Close()
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// httpServer is bench/http-server.mjs by net/http.
func httpServer() {
	large := strings.Repeat("x", 10_000)
	text := func(response http.ResponseWriter, body string) {
		response.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(response, body)
	}
	http.HandleFunc("/hello", func(response http.ResponseWriter, _ *http.Request) { text(response, "hello") })
	http.HandleFunc("/large", func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Length", "10000")
		text(response, large)
	})
	http.HandleFunc("/backend", func(response http.ResponseWriter, _ *http.Request) {
		time.Sleep(5 * time.Millisecond)
		text(response, "hello")
	})
	http.HandleFunc("/json", func(response http.ResponseWriter, request *http.Request) {
		var value any
		if err := json.NewDecoder(request.Body).Decode(&value); err != nil {
			panic(err)
		}
		response.Header().Set("Content-Type", "application/json")
		body, err := json.Marshal(value)
		if err != nil {
			panic(err)
		}
		response.Write(body)
	})
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	panic(http.Serve(listener, nil))
}

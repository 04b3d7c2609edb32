package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

// netServer is bench/net-server.mjs by goroutines.
func netServer() {
	handle := echoBack
	if os.Args[2] == "bulk" {
		handle = sendForEver
	}
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go handle(connection)
	}
}

func echoBack(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 4096)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:count]); err != nil {
			return
		}
	}
}

func sendForEver(connection net.Conn) {
	defer connection.Close()
	piece := make([]byte, 64*1024)
	for {
		if _, err := connection.Write(piece); err != nil {
			return
		}
	}
}

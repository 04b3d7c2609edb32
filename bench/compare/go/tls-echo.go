package main

import "net"

// tlsEcho measures messages of 64 bytes sent back by TLS, and pieces of 64 KiB received and sent.
func tlsEcho() {
	const message, piece = 64, 65_536
	measure := func(what string, full int, serve func(net.Conn, int, func(int))) []float64 {
		samples := make([]float64, 3)
		for i := range samples {
			samples[i] = tlsMeasure(what, count(full), serve)
		}
		return samples
	}
	report(figures{
		"tls-echo.message": measure("echo", 50_000, func(connection net.Conn, _ int, note func(int)) {
			memory := make([]byte, message)
			for {
				received, err := connection.Read(memory)
				if err != nil {
					return
				}
				connection.Write(memory[:received])
				note(1)
			}
		}),
		"tls-echo.receive": measure("send", 5_000, func(connection net.Conn, _ int, note func(int)) {
			memory := make([]byte, piece)
			for bytes := 0; ; {
				received, err := connection.Read(memory)
				if err != nil {
					return
				}
				if bytes += received; bytes >= piece {
					note(bytes / piece)
					bytes %= piece
				}
			}
		}),
		"tls-echo.send": measure("receive", 5_000, func(connection net.Conn, operations int, note func(int)) {
			memory := make([]byte, piece)
			for sent := 0; sent < operations; sent++ {
				connection.Write(memory)
				note(1)
			}
		}),
	})
}

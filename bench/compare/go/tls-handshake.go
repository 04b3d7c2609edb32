package main

import "net"

// tlsHandshake measures TLS handshakes of a server, full ones and resumed ones.
func tlsHandshake() {
	measure := func(kind string) []float64 {
		samples := make([]float64, 3)
		for i := range samples {
			samples[i] = tlsMeasure(kind, count(1_000), func(connection net.Conn, _ int, note func(int)) {
				connection.Read(make([]byte, 64))
				connection.Close()
				note(1)
			})
		}
		return samples
	}
	report(figures{"tls-handshake.full": measure("full"), "tls-handshake.resumed": measure("resumed")})
}

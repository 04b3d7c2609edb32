// A client by net/http for http-clients.spec.ts: `http-client SCENARIO URL` prints what it has seen as JSON.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"time"
)

type seen map[string]any

var scenarios = map[string]func(string) seen{
	"chunked":    chunked,
	"continue":   expectContinue,
	"gzip":       gzip,
	"head":       head,
	"keep-alive": keepAlive,
	"large":      large,
	"many":       many,
	"trailers":   trailers,
}

var transport = &http.Transport{MaxIdleConnsPerHost: 1000, ExpectContinueTimeout: time.Hour}
var client = &http.Client{Transport: transport}

func main() {
	result := scenarios[os.Args[1]](os.Args[2])
	transport.CloseIdleConnections()
	must(json.NewEncoder(os.Stdout).Encode(result))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func request(method, url string, body io.Reader) *http.Request {
	made, err := http.NewRequest(method, url, body)
	must(err)
	return made
}

// do sends a request and reads the response.
func do(request *http.Request) (*http.Response, []byte) {
	response, err := client.Do(request)
	must(err)
	body, err := io.ReadAll(response.Body)
	must(err)
	must(response.Body.Close())
	return response, body
}

// traced counts the connections that requests are sent on for the first time.
func traced(request *http.Request, connections *int) *http.Request {
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			*connections++
		}
	}}
	return request.WithContext(httptrace.WithClientTrace(context.Background(), trace))
}

// someBytes is a body that does not repeat, and the sum that proves that it has arrived.
func someBytes(size int) ([]byte, string) {
	body := make([]byte, size)
	state := uint32(1)
	for i := range body {
		state = state*1664525 + 1013904223
		body[i] = byte(state >> 24)
	}
	sum := sha256.Sum256(body)
	return body, hex.EncodeToString(sum[:])
}

// inPieces hides how long a body is, so that it is sent in chunks.
type inPieces struct {
	rest []byte
	size int
}

func (body *inPieces) Read(into []byte) (int, error) {
	if len(body.rest) == 0 {
		return 0, io.EOF
	}
	count := copy(into, body.rest[:min(body.size, len(body.rest))])
	body.rest = body.rest[count:]
	body.size = body.size%977 + 13
	return count, nil
}

// counting tells how much of a body was asked for.
type counting struct {
	io.Reader
	count int
}

func (body *counting) Read(into []byte) (int, error) {
	count, err := body.Reader.Read(into)
	body.count += count
	return count, err
}

func keepAlive(url string) seen {
	connections, bodies := 0, 0
	for i := 0; i < 100; i++ {
		text := fmt.Sprint(i)
		if _, body := do(traced(request("POST", url, strings.NewReader(text)), &connections)); string(body) == text {
			bodies++
		}
	}
	return seen{"connections": connections, "bodies": bodies}
}

func chunked(url string) seen {
	bytes, sum := someBytes(300_000)
	_, body := do(request("POST", url, &inPieces{bytes, 1}))
	return seen{"same": string(body) == "chunked "+sum}
}

func large(url string) seen {
	sent, sum := someBytes(20_000_000)
	response, body := do(request("POST", url, bytes.NewReader(sent)))
	return seen{
		"same":   bytes.Equal(body, sent),
		"told":   response.Header.Get("X-Sum") == sum,
		"length": response.ContentLength,
	}
}

func trailers(url string) seen {
	sent := request("POST", url, &inPieces{[]byte("hello"), 2})
	sent.Trailer = http.Header{"X-Late": {"from the client"}}
	response, body := do(sent)
	return seen{"body": string(body), "trailer": response.Trailer.Get("X-Late")}
}

func expectContinue(url string) seen {
	result := seen{}
	for _, path := range []string{"read", "refused"} {
		told := false
		trace := &httptrace.ClientTrace{Got100Continue: func() { told = true }}
		body := &counting{strings.NewReader("hello"), 0}
		sent := request("POST", url+path, body)
		sent.ContentLength = 5
		sent.Header.Set("Expect", "100-continue")
		response, text := do(sent.WithContext(httptrace.WithClientTrace(context.Background(), trace)))
		result[path] = seen{"status": response.StatusCode, "body": string(text), "told": told, "sent": body.count}
	}
	return result
}

func head(url string) seen {
	connections := 0
	response, body := do(traced(request("HEAD", url, nil), &connections))
	_, after := do(traced(request("GET", url, nil), &connections))
	return seen{
		"length": response.ContentLength, "body": len(body), "after": len(after), "connections": connections,
	}
}

func gzip(url string) seen {
	response, body := do(request("GET", url, nil))
	return seen{"uncompressed": response.Uncompressed, "length": len(body)}
}

// many sends requests on 200 connections at once, 20 on each.
func many(url string) seen {
	var lock sync.Mutex
	var done sync.WaitGroup
	bodies := 0
	for i := 0; i < 200; i++ {
		done.Add(1)
		go func(i int) {
			defer done.Done()
			for j := 0; j < 20; j++ {
				text := fmt.Sprintf("%d-%d", i, j)
				_, body := do(request("POST", url, strings.NewReader(text)))
				lock.Lock()
				if string(body) == text {
					bodies++
				}
				lock.Unlock()
			}
		}(i)
	}
	done.Wait()
	return seen{"bodies": bodies}
}

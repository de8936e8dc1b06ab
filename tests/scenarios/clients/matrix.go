// The origin of the client matrix, and its Go client. test_matrix.py runs both.
//
//	matrix serve SECONDS     an origin on all loopback addresses, two free ports, which it prints
//	matrix client < PLAN     jobs, a JSON object a line (struct job); says each one's tag when it is
//	                         done, then keeps what it holds until its stdin ends
//
// The origin answers /SIZE/FRAMING (length or chunked) with SIZE bytes. ?round=NAME&of=N holds the
// answer until N requests of that name are there, but not longer, so that N at a time means N.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type job struct {
	Tag     string `json:"tag"`
	Variant string `json:"variant"`
	URL     string `json:"url"`
	Proxy   string `json:"proxy"`   // "" is none
	Rounds  []int  `json:"rounds"`  // so many requests side by side, one round after the other
	Pause   int    `json:"pause"`   // milliseconds between rounds
	Delay   int    `json:"delay"`   // milliseconds before the first
	Look    int    `json:"look"`    // milliseconds between a response's head and what is done with it
	Body    int64  `json:"size"`    // announced or not
	Framing string `json:"framing"` // length or chunked
}

// --- the origin ---

type gates struct {
	sync.Mutex
	here map[string]int
	open map[string]chan struct{}
}

// Waits until `of` requests called `name` are here; no longer than that, for a client may have fewer connections.
func (g *gates) wait(name string, of int, patience time.Duration) {
	g.Lock()
	if g.here[name]++; g.here[name] == 1 {
		g.open[name] = make(chan struct{})
	}
	open := g.open[name]
	if g.here[name] == of {
		close(open)
	}
	g.Unlock()
	select {
	case <-open:
	case <-time.After(patience):
	}
}

func serve(patience time.Duration) {
	piece := make([]byte, 64<<10)
	for i := range piece {
		piece[i] = "0123456789abcdef"[i%16]
	}
	rounds := gates{here: map[string]int{}, open: map[string]chan struct{}{}}
	server := http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		// Bodies that nobody reads stay in queues: small ones are enough, and hundreds of them fit.
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			_ = c.(*net.TCPConn).SetWriteBuffer(128 << 10)
			return ctx
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part := strings.Split(r.URL.Path, "/")
			size, err := strconv.Atoi(part[1])
			if err != nil || len(part) != 3 {
				http.Error(w, "no such body", http.StatusNotFound)
				return
			}
			if of, _ := strconv.Atoi(r.URL.Query().Get("of")); of > 1 {
				rounds.wait(r.Host+r.URL.RequestURI(), of, patience)
			}
			w.Header().Set("Content-Type", "application/octet-stream")
			if part[2] == "chunked" {
				w.Header().Set("Transfer-Encoding", "chunked")
			} else {
				w.Header().Set("Content-Length", part[1])
			}
			for size > 0 && err == nil {
				n := len(piece)
				if size < n {
					n = size
				}
				_, err = w.Write(piece[:n])
				size -= n
			}
		}),
	}
	var ports []string
	for i := 0; i < 2; i++ {
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			log.Fatal(err)
		}
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
		go func() { log.Fatal(server.Serve(l)) }()
	}
	fmt.Println(strings.Join(ports, " "))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// --- the client ---

func transport(j *job) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 8}
	if j.Proxy != "" {
		proxy, err := url.Parse(j.Proxy)
		if err != nil {
			log.Fatal(err)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	switch j.Variant {
	case "idle_cap":
		t.MaxIdleConnsPerHost = 2
	case "no_keepalive":
		t.DisableKeepAlives = true
	}
	return t
}

// What is never closed stays reachable, as it would in a program that forgot it in a list.
var held = struct {
	sync.Mutex
	bodies     []io.Closer
	transports []*http.Transport
}{}

func (j *job) one(t *http.Transport, round string) error {
	if j.Variant == "new_client" {
		t = transport(j)
		held.Lock()
		held.transports = append(held.transports, t)
		held.Unlock()
	}
	resp, err := (&http.Client{Transport: t}).Get(j.URL + round)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(j.Look) * time.Millisecond)
	switch j.Variant {
	case "keep":
		held.Lock()
		held.bodies = append(held.bodies, resp.Body)
		held.Unlock()
		return nil
	case "close_unread":
	case "close_half":
		_, err = io.CopyN(io.Discard, resp.Body, j.Body/2)
	default:
		var n int64
		if n, err = io.Copy(io.Discard, resp.Body); n != j.Body && err == nil {
			err = fmt.Errorf("%d bytes of %d", n, j.Body)
		}
	}
	resp.Body.Close()
	return err
}

func (j *job) run() {
	t := transport(j)
	time.Sleep(time.Duration(j.Delay) * time.Millisecond)
	var wrong sync.Map
	for i, n := range j.Rounds {
		if i > 0 {
			time.Sleep(time.Duration(j.Pause) * time.Millisecond)
		}
		var all sync.WaitGroup
		for k := 0; k < n; k++ {
			all.Add(1)
			go func() {
				defer all.Done()
				if err := j.one(t, fmt.Sprintf("?round=%d&of=%d", i, n)); err != nil {
					wrong.Store(err.Error(), true)
				}
			}()
		}
		all.Wait()
	}
	out := map[string]any{"tag": j.Tag, "wrong": []string{}}
	wrong.Range(func(text, _ any) bool { out["wrong"] = append(out["wrong"].([]string), text.(string)); return true })
	line, _ := json.Marshal(out)
	fmt.Println(string(line))
}

func client() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		j := new(job)
		if err := json.Unmarshal(lines.Bytes(), j); err != nil {
			log.Fatal(err)
		}
		go j.run()
	}
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		pace, _ := strconv.Atoi(os.Args[2])
		serve(time.Duration(pace) * time.Second)
	} else if len(os.Args) == 2 && os.Args[1] == "client" {
		client()
	} else {
		log.Fatal("usage: matrix serve SECONDS, or matrix client")
	}
}

// manyhosts: many origins, and clients that ask for them through a proxy with a rhythm of
// their own: the same seed asks the same at the same times, whatever the answers do.
//
//	manyhosts -proxy 127.0.0.1:3128 -origins 50 -requests 100000 -rate 2000 -seed 1
//
// Requests come in bursts of different sizes, to some origins far more often than to others;
// each says in its path how long its answer takes and how large it is. It prints one JSON object:
// connections accepted by origins, requests served, requests that failed, and for how long at
// most this program did not run when it ought to have: what is asked on a machine that stalls is
// something else each time.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type ask struct {
	at     time.Duration
	origin int
	ms     int
	bytes  int
}

// plan draws all requests before the first is sent.
func plan(seed int64, origins, requests int, rate float64) []ask {
	r := rand.New(rand.NewSource(seed))
	var asks []ask
	at := 0.0
	for len(asks) < requests {
		burst := 1 + int(r.ExpFloat64()*3)
		origin := int(math.Min(float64(origins-1), r.ExpFloat64()*float64(origins)/4))
		at += r.ExpFloat64() * 4 / rate
		for i := 0; i < burst && len(asks) < requests; i++ {
			asks = append(asks, ask{time.Duration((at + r.Float64()*0.002) * 1e9), origin, 1 + int(r.ExpFloat64()*12), 200 + r.Intn(4000)})
		}
	}
	return asks
}

var stalled int64 // nanoseconds

// sleep remembers by how much it was too long.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	begin := time.Now()
	time.Sleep(d)
	late := int64(time.Since(begin) - d)
	for {
		worst := atomic.LoadInt64(&stalled)
		if late <= worst || atomic.CompareAndSwapInt64(&stalled, worst, late) {
			return
		}
	}
}

func serve(accepted, served *int64, idle time.Duration) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	body := strings.Repeat("x", 8192)
	server := &http.Server{
		IdleTimeout: idle,
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				atomic.AddInt64(accepted, 1)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			part := strings.Split(q.URL.Path, "/")
			ms, _ := strconv.Atoi(part[1])
			n, _ := strconv.Atoi(part[2])
			sleep(time.Duration(ms) * time.Millisecond)
			atomic.AddInt64(served, 1)
			w.Header().Set("Content-Length", strconv.Itoa(n))
			io.WriteString(w, body[:n])
		}),
	}
	go server.Serve(listener)
	return listener.Addr().String()
}

func main() {
	proxy := flag.String("proxy", "", "host:port")
	origins := flag.Int("origins", 50, "how many")
	requests := flag.Int("requests", 1000, "how many")
	rate := flag.Float64("rate", 1000, "requests a second, about")
	seed := flag.Int64("seed", 1, "of the plan")
	workers := flag.Int("workers", 0, "instead of a rate: so many clients, each of which asks again when it was answered")
	idle := flag.Duration("idle", 0, "after which origins close idle connections")
	hosts := flag.String("hosts", "", "origins of another manyhosts, comma separated, instead of its own")
	stay := flag.Bool("serve", false, "only be the origins: print their addresses, wait for stdin to end")
	flag.Parse()

	var accepted, served, failed int64
	var address []string
	if *hosts != "" {
		address = strings.Split(*hosts, ",")
	} else {
		for i := 0; i < *origins; i++ {
			address = append(address, serve(&accepted, &served, *idle))
		}
	}
	if *stay {
		fmt.Println(strings.Join(address, ","))
		io.Copy(io.Discard, os.Stdin)
		return
	}
	through := &url.URL{Scheme: "http", Host: *proxy}
	client := &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyURL(through),
		MaxIdleConnsPerHost: 10000,
		DialContext:         (&net.Dialer{}).DialContext,
	}}
	asks := plan(*seed, len(address), *requests, *rate)
	begin := time.Now()
	var all sync.WaitGroup
	get := func(a ask) {
		q, _ := http.NewRequestWithContext(context.Background(), "GET", fmt.Sprintf("http://%s/%d/%d", address[a.origin], a.ms, a.bytes), nil)
		reply, err := client.Do(q)
		if err == nil {
			_, err = io.Copy(io.Discard, reply.Body)
			reply.Body.Close()
		}
		if err != nil || reply.StatusCode != 200 {
			atomic.AddInt64(&failed, 1)
		}
	}
	for w := 0; w < *workers; w++ {
		all.Add(1)
		go func(w int) {
			defer all.Done()
			for i := w; i < len(asks); i += *workers {
				a := asks[i]
				a.origin, a.ms = i*7%len(address), 1+a.ms%3 // evenly and quickly: many answers and requests come together
				get(a)
				time.Sleep(time.Millisecond)
			}
		}(w)
	}
	for i := 0; i < len(asks) && *workers == 0; i++ {
		sleep(time.Until(begin.Add(asks[i].at)))
		all.Add(1)
		go func(a ask) {
			defer all.Done()
			get(a)
		}(asks[i])
	}
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(map[string]int64{
		"accepted": atomic.LoadInt64(&accepted), "served": atomic.LoadInt64(&served), "failed": failed,
		"stalled_ms": atomic.LoadInt64(&stalled) / 1e6, "took_ms": time.Since(begin).Milliseconds()})
}

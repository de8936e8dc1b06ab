// gopool does to Go's http.Transport what a script says, step by step, and checks
// that it does then what the script expects. The script is that of tests/prop/pool_script.c,
// whose expectations are what connleak's pool did.
//
// Connections are pipes inside this process and there is one processor, so the
// world is at rest when every goroutine has had its turn often enough: no clock is needed.
// The collector would park some of them; it runs between the lives only.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"sync"
)

const turns = 400 // of every goroutine until the world is taken to be at rest

type world struct {
	sync.Mutex
	transport *http.Transport
	events    []string
	dials     map[string]*dial
	n         int
	cancel    map[string]context.CancelFunc
}

// A dial, and the connection that comes of it.
type dial struct {
	id     string
	result chan bool
	answer chan string // what the server does with the request it has read
	server net.Conn
}

// The client's end of a connection.
type clientConn struct {
	net.Conn
	id   string
	w    *world
	once sync.Once
}

func (c *clientConn) Close() error {
	c.once.Do(func() { c.w.saw("close %s", c.id) })
	return c.Conn.Close()
}

func (w *world) saw(format string, args ...any) {
	w.Lock()
	defer w.Unlock()
	w.events = append(w.events, fmt.Sprintf(format, args...))
}

func (w *world) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	w.Lock()
	w.n++
	d := &dial{id: fmt.Sprint(w.n), result: make(chan bool, 1), answer: make(chan string, 1)}
	w.dials[d.id] = d
	w.Unlock()
	w.saw("dial %s %s", d.id, addr)
	select {
	case <-ctx.Done():
		w.saw("abort %s", d.id)
		return nil, ctx.Err()
	case works := <-d.result:
		if !works {
			return nil, errors.New("refused")
		}
	}
	client, server := net.Pipe()
	d.server = server
	go d.serve()
	return &clientConn{Conn: client, id: d.id, w: w}, nil
}

func (d *dial) serve() {
	r := bufio.NewReader(d.server)
	for {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		answer, ok := <-d.answer
		if !ok {
			return
		}
		if _, err := d.server.Write([]byte(answer)); err != nil {
			return
		}
	}
}

// A POST without a body is never sent again: what happens to it happens once.
func (w *world) want(id, addr string) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel[id] = cancel
	got := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		got = true
		reused := 0
		if info.Reused {
			reused = 1
		}
		w.saw("deliver %s %s %d", id, info.Conn.(*clientConn).id, reused)
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), "POST", "http://"+addr+"/", nil)
	if err != nil {
		panic(err)
	}
	go func() {
		_, err := w.transport.RoundTrip(req)
		switch {
		case got:
			w.saw("done %s", id)
		case err != nil:
			w.saw("fail %s", id)
		default:
			w.saw("an answer for %s without a connection", id)
		}
	}()
}

func (w *world) do(f []string) {
	w.Lock()
	d := w.dials[f[len(f)-1]]
	w.Unlock()
	switch f[0] {
	case "want":
		w.want(f[1], f[2])
	case "dialed", "dial_error":
		d.result <- f[0] == "dialed"
	case "put":
		d.answer <- "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	case "detach":
		d.answer <- "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
	case "lost":
		d.server.Close()
		close(d.answer)
	case "cancel":
		w.cancel[f[1]]()
	case "close_idle":
		w.transport.CloseIdleConnections()
	default:
		panic("an unknown step: " + f[0])
	}
	rest()
}

func rest() {
	for i := 0; i < turns; i++ {
		runtime.Gosched()
	}
}

// Leaves nothing behind for the next life.
func (w *world) end() {
	for _, cancel := range w.cancel {
		cancel()
	}
	for _, d := range w.dials {
		if d.server != nil {
			d.server.Close()
		}
	}
	rest()
	runtime.GC()
}

func (w *world) take() string {
	w.Lock()
	defer w.Unlock()
	events := w.events
	w.events = nil
	sort.Strings(events)
	return strings.Join(events, ", ")
}

// The events of one step have no order: several goroutines see them.
func expected(list string) string {
	var events []string
	for _, e := range strings.Split(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			events = append(events, e)
		}
	}
	sort.Strings(events)
	return strings.Join(events, ", ")
}

func newWorld(line string) *world {
	var disable int
	var seed uint64
	t := &http.Transport{}
	if _, err := fmt.Sscanf(line, "conf %d %d %d %d %d", &t.MaxIdleConns, &t.MaxIdleConnsPerHost, &t.MaxConnsPerHost, &disable, &seed); err != nil {
		panic(err)
	}
	t.DisableKeepAlives = disable == 1
	w := &world{transport: t, dials: map[string]*dial{}, cancel: map[string]context.CancelFunc{}}
	t.DialContext = w.dial
	return w
}

func main() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	var w *world
	var history []string
	runs, steps := 0, 0
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := in.Text()
		if strings.HasPrefix(line, "conf ") {
			if w != nil {
				w.end()
			}
			w, history = newWorld(line), nil
			runs++
		} else {
			step, list, _ := strings.Cut(line, "|")
			w.do(strings.Fields(step))
			steps++
			if want, got := expected(list), w.take(); got != want {
				fmt.Printf("%s\n%s\n  connleak's pool: %s\n  Go's Transport:  %s\n", strings.Join(history, "\n"), step, want, got)
				os.Exit(1)
			}
		}
		history = append(history, line)
	}
	fmt.Printf("%d runs, %d steps: the same\n", runs, steps)
}

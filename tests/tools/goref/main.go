// goref is what connleakd must behave like toward origins: Go's own
// httputil.ReverseProxy on Go's own http.Transport, as a forward proxy for
// absolute-form requests. Its flags carry the names of connleakd's pool settings.
// It prints its port on stdout; SIGUSR2 closes idle connections, as in connleakd.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	t := &http.Transport{
		DisableCompression: true,
		TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSClientConfig:    &tls.Config{},
	}
	flag.IntVar(&t.MaxIdleConns, "max_idle_conns", 100, "")
	flag.IntVar(&t.MaxIdleConnsPerHost, "max_idle_conns_per_host", 2, "")
	flag.IntVar(&t.MaxConnsPerHost, "max_conns_per_host", 0, "")
	flag.DurationVar(&t.IdleConnTimeout, "idle_conn_timeout", 90*time.Second, "")
	flag.DurationVar(&t.TLSHandshakeTimeout, "tls_handshake_timeout", 10*time.Second, "")
	flag.DurationVar(&t.ResponseHeaderTimeout, "response_header_timeout", 0, "")
	flag.DurationVar(&t.ExpectContinueTimeout, "expect_continue_timeout", time.Second, "")
	flag.Int64Var(&t.MaxResponseHeaderBytes, "max_response_header_bytes", 0, "")
	flag.IntVar(&t.ReadBufferSize, "read_buffer_size", 4096, "")
	flag.IntVar(&t.WriteBufferSize, "write_buffer_size", 4096, "")
	flag.BoolVar(&t.DisableKeepAlives, "disable_keep_alives", false, "")
	dial := flag.Duration("dial_timeout", 30*time.Second, "")
	flush := flag.Duration("flush_interval", -1, "ReverseProxy.FlushInterval; it concerns clients only")
	ca := flag.String("upstream_ca", "", "PEM file of the authorities to trust")
	verbose := flag.Bool("v", false, "log what ReverseProxy and Transport say")
	flag.Parse()

	t.DialContext = (&net.Dialer{Timeout: *dial, KeepAlive: 30 * time.Second}).DialContext
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			log.Fatal(err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	}
	logger := log.New(io.Discard, "", 0)
	if *verbose {
		logger = log.New(os.Stderr, "goref: ", log.Lmicroseconds)
	}
	log.SetOutput(logger.Writer()) // where Transport reports unsolicited responses

	proxy := &httputil.ReverseProxy{
		Transport:     t,
		FlushInterval: *flush,
		ErrorLog:      logger,
		Director: func(r *http.Request) {
			// Add nothing that the client has not sent.
			r.Header["X-Forwarded-For"] = nil
			if _, sent := r.Header["User-Agent"]; !sent {
				r.Header.Set("User-Agent", "")
			}
		},
	}

	closeIdle := make(chan os.Signal, 1)
	signal.Notify(closeIdle, syscall.SIGUSR2)
	go func() {
		for range closeIdle {
			t.CloseIdleConnections()
		}
	}()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: proxy, ErrorLog: logger}
	fmt.Fprintln(os.Stderr, server.Serve(l))
	os.Exit(1)
}

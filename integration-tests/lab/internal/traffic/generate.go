package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keepalive = "keepalive"
	once      = "close"

	// mostOutstanding keeps a service that never answers from filling the memory.
	mostOutstanding = 4096
	// mostWords is how much of an answer's body is kept, in bytes: a gateway says there why it refused.
	mostWords = 256
	// patience is how long requests may still take when the stream is stopped: as long as any other.
	patience = 10 * time.Second
)

// Stream is what to send to one cluster.
type Stream struct {
	Cluster string
	URL     string
	Host    string
	// Method is that of every request; empty is GET.
	Method string
	Rate   float64
	// Modes are used in turn: keepalive sends on kept connections, close opens one for each request.
	Modes   []string
	Headers [][2]string
	Timeout time.Duration
}

// Modes are the modes behind on, off and both.
func Modes(choice string) ([]string, error) {
	switch choice {
	case "on":
		return []string{keepalive}, nil
	case "off":
		return []string{once}, nil
	case "both":
		return []string{keepalive, once}, nil
	}
	return nil, fmt.Errorf("%q is neither on, off nor both", choice)
}

// generator is a running stream.
type generator struct {
	stream      Stream
	account     *Account
	request     *http.Request
	transports  map[string]*http.Transport
	outstanding atomic.Int64
	all         sync.WaitGroup
}

var (
	errOverload = errors.New("the generator has too many requests outstanding")
	errStopped  = errors.New("not answered when the stream was stopped")
)

// Run sends the stream until the context ends, and writes its account at least once a second.
func (s Stream) Run(ctx context.Context, output io.Writer) error {
	g, err := newGenerator(s)
	if err != nil {
		return err
	}
	written := make(chan error, 1)
	finished := make(chan struct{})
	go func() { written <- g.write(output, finished) }()
	requests, cancel := context.WithCancelCause(context.Background())
	g.send(ctx, requests)
	g.finish(cancel)
	close(finished)
	return <-written
}

func newGenerator(s Stream) (*generator, error) {
	address, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	g := &generator{
		stream: s, account: NewAccount(s.Cluster), transports: map[string]*http.Transport{},
		request: &http.Request{Method: s.Method, URL: address, Host: s.Host, Header: http.Header{}},
	}
	for _, header := range s.Headers {
		g.request.Header.Add(header[0], header[1])
	}
	for _, mode := range s.Modes {
		g.transports[mode] = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: s.Timeout}).DialContext,
			DisableKeepAlives:   mode == once,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 256,
			// As long as the gateway keeps them: closing idle connections is its decision.
			IdleConnTimeout: 0,
		}
	}
	return g, nil
}

// send starts one request after the other at the time each was meant for. When it wakes up late it catches up, so
// that the number of requests is right.
func (g *generator) send(ctx, requests context.Context) {
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		intended := begin.Add(time.Duration(float64(n) / g.stream.Rate * float64(time.Second)))
		if wait := time.Until(intended); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		} else if ctx.Err() != nil {
			return
		}
		mode := g.stream.Modes[n%len(g.stream.Modes)]
		if g.outstanding.Load() >= mostOutstanding {
			g.account.Add(intended, mode, Outcome{Failure: errOverload})
			continue
		}
		g.outstanding.Add(1)
		g.all.Go(func() {
			defer g.outstanding.Add(-1)
			g.account.Add(intended, mode, g.one(requests, mode))
		})
	}
}

// one sends one request; an answer that breaks off counts as none. The transport sends it again where a kept
// connection ends before the answer begins, as clients do.
func (g *generator) one(requests context.Context, mode string) (outcome Outcome) {
	ctx, cancel := context.WithTimeout(requests, g.stream.Timeout)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { outcome.Connections++ },
	})
	response, err := g.transports[mode].RoundTrip(g.request.WithContext(ctx))
	var words []byte
	if err == nil {
		if words, err = io.ReadAll(io.LimitReader(response.Body, mostWords)); err == nil {
			_, err = io.Copy(io.Discard, response.Body)
		}
		response.Body.Close()
	}
	if err != nil {
		outcome.Failure = err
		if cause := context.Cause(requests); cause != nil {
			outcome.Failure = cause
		}
		return outcome
	}
	outcome.Version, outcome.Status = response.Header.Get("X-Version"), response.StatusCode
	if response.StatusCode >= http.StatusInternalServerError {
		outcome.Failure = fmt.Errorf("%s: %q", response.Header.Get("Server"), words)
	}
	return outcome
}

// finish waits for what is outstanding, for a while.
func (g *generator) finish(cancel context.CancelCauseFunc) {
	done := make(chan struct{})
	go func() { g.all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
	}
	cancel(errStopped)
	<-done
}

func (g *generator) write(output io.Writer, finished <-chan struct{}) error {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-finished:
			return g.account.Write(output)
		case <-ticker.C:
			if err := g.account.Write(output); err != nil {
				return err
			}
		}
	}
}

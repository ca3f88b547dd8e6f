package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

type application struct {
	version, pod string
	body         []byte

	ready           atomic.Bool
	errorPercent    atomic.Int64
	notFoundPercent atomic.Int64
	latency         atomic.Int64 // milliseconds
	served          atomic.Int64
	metrics         metrics
}

func newApplication(version, pod string) *application {
	if version == "" {
		version = "unknown"
	}
	body, _ := json.Marshal(map[string]string{"version": version, "pod": pod})
	return &application{version: version, pod: pod, body: append(body, '\n')}
}

func (a *application) public() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", a.health)
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		a.metrics.write(w)
	})
	mux.HandleFunc("/", a.serve)
	return mux
}

func (a *application) health(w http.ResponseWriter, _ *http.Request) {
	if !a.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (a *application) serve(w http.ResponseWriter, _ *http.Request) {
	begin := time.Now()
	if latency := a.latency.Load(); latency > 0 {
		time.Sleep(time.Duration(latency) * time.Millisecond)
	}
	status := a.status(a.served.Add(1))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Version", a.version)
	w.WriteHeader(status)
	_, _ = w.Write(a.body)
	a.metrics.observe(status, time.Since(begin))
}

// status is the answer to one request. Where both shares meet, it is the error.
func (a *application) status(request int64) int {
	switch {
	case isOfShare(request, a.errorPercent.Load()):
		return http.StatusInternalServerError
	case isOfShare(request, a.notFoundPercent.Load()):
		return http.StatusNotFound
	default:
		return http.StatusOK
	}
}

// isOfShare spreads a share evenly and without chance: of any hundred requests in a row, exactly `percent` are of it,
// so that a test that counts gets the same numbers every time.
func isOfShare(request, percent int64) bool {
	return request*percent/100 > (request-1)*percent/100
}

// control changes the behaviour at run time: POST /control?errorPercent=20&latencyMs=50&ready=false.
func (a *application) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /control", func(w http.ResponseWriter, r *http.Request) {
		if err := a.change(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "errorPercent=%d notFoundPercent=%d latencyMs=%d ready=%t\n",
			a.errorPercent.Load(), a.notFoundPercent.Load(), a.latency.Load(), a.ready.Load())
	})
	return mux
}

func (a *application) change(r *http.Request) error {
	for name, values := range r.URL.Query() {
		value := values[len(values)-1]
		var err error
		switch name {
		case "errorPercent":
			err = set(&a.errorPercent, value, 100)
		case "notFoundPercent":
			err = set(&a.notFoundPercent, value, 100)
		case "latencyMs":
			err = set(&a.latency, value, 600_000)
		case "ready":
			var ready bool
			if ready, err = strconv.ParseBool(value); err == nil {
				a.ready.Store(ready)
			}
		default:
			err = fmt.Errorf("there is no setting of this name")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func set(target *atomic.Int64, text string, most int64) error {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 || value > most {
		return fmt.Errorf("%q is not a whole number from 0 to %d", text, most)
	}
	target.Store(value)
	return nil
}

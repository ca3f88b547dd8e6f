// The demo application answers with its version, exposes Prometheus metrics, and can be told to fail a share of its
// requests, to find nothing for a share of them, to be slow, or to be unready.
//
// Port 8080 serves requests, /healthz and /metrics. Port 8081 takes POST /control and is separate so that no gateway
// exposes it.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	app := newApplication(os.Getenv("DEMO_VERSION"), hostname())
	app.errorPercent.Store(number("DEMO_ERROR_PERCENT"))
	app.notFoundPercent.Store(number("DEMO_NOT_FOUND_PERCENT"))
	app.latency.Store(number("DEMO_LATENCY_MS"))
	readyAfter := time.Duration(number("DEMO_READY_AFTER_MS")) * time.Millisecond
	time.AfterFunc(readyAfter, func() { app.ready.Store(true) })

	public := &http.Server{Addr: ":8080", Handler: app.public(), ReadHeaderTimeout: 10 * time.Second}
	control := &http.Server{Addr: ":8081", Handler: app.control(), ReadHeaderTimeout: 10 * time.Second}
	for _, server := range []*http.Server{public, control} {
		go func() {
			if err := server.ListenAndServe(); err != http.ErrServerClosed {
				log.Fatal(err)
			}
		}()
	}
	log.Printf("version %s serves on :8080", app.version)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	drain := time.Duration(number("DEMO_DRAIN_MS")) * time.Millisecond
	log.Printf("asked to stop: serve for another %s, then finish what is in flight", drain)
	time.Sleep(drain)
	deadline, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	if err := public.Shutdown(deadline); err != nil {
		log.Printf("requests were still in flight: %v", err)
	}
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// number reads a whole number from the environment; a wrong one ends the program, so that a typing error in a test
// does not pass for "no errors, no latency".
func number(variable string) int64 {
	text := os.Getenv(variable)
	if text == "" {
		return 0
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < 0 {
		log.Fatalf("%s is %q: it must be a whole number, 0 or more", variable, text)
	}
	return value
}

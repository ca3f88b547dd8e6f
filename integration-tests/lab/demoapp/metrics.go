package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// bounds are the upper ends of the histogram's buckets, in seconds.
var bounds = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// metrics counts requests by status and their durations.
type metrics struct {
	mutex              sync.Mutex
	ok, notFound, fail uint64
	buckets            [len(bounds)]uint64
	sum                float64
}

func (m *metrics) observe(status int, duration time.Duration) {
	seconds := duration.Seconds()
	m.mutex.Lock()
	defer m.mutex.Unlock()
	switch {
	case status < 400:
		m.ok++
	case status < 500:
		m.notFound++
	default:
		m.fail++
	}
	m.sum += seconds
	for i, bound := range bounds {
		if seconds <= bound {
			m.buckets[i]++
			break
		}
	}
}

// write gives every series from the start, at 0, so that a rate over the first errors is not lost.
func (m *metrics) write(w io.Writer) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total{status=\"200\"} %d\n", m.ok)
	fmt.Fprintf(w, "http_requests_total{status=\"404\"} %d\n", m.notFound)
	fmt.Fprintf(w, "http_requests_total{status=\"500\"} %d\n", m.fail)
	fmt.Fprintln(w, "# TYPE http_request_duration_seconds histogram")
	var below uint64
	for i, bound := range bounds {
		below += m.buckets[i]
		fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"%g\"} %d\n", bound, below)
	}
	total := m.ok + m.notFound + m.fail
	fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"+Inf\"} %d\n", total)
	fmt.Fprintf(w, "http_request_duration_seconds_sum %g\nhttp_request_duration_seconds_count %d\n", m.sum, total)
}

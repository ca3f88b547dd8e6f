package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
)

// buckets are the upper limits of the durations, in seconds.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// request is one line of nginx' account.
type request struct {
	Namespace string `json:"namespace"`
	Ingress   string `json:"ingress"`
	Service   string `json:"service"`
	Canary    string `json:"canary"`
	Host      string `json:"host"`
	Path      string `json:"path"`
	Method    string `json:"method"`
	Status    string `json:"status"`
	Seconds   string `json:"seconds"`
}

func (r request) labels() string {
	return fmt.Sprintf("canary=%q,host=%q,ingress=%q,method=%q,namespace=%q,path=%q,service=%q,status=%q",
		r.Canary, r.Host, r.Ingress, r.Method, r.Namespace, r.Path, r.Service, r.Status)
}

// series are the requests of one set of labels.
type series struct {
	count  uint64
	sum    float64
	atMost []uint64
}

// account counts requests under the names that the NGINX ingress controller gives them.
type account struct {
	mutex  sync.Mutex
	series map[string]*series
}

// receive reads nginx' account from a socket until that is closed.
func (a *account) receive(socket *net.UnixConn) {
	buffer := make([]byte, 64<<10)
	for {
		size, err := socket.Read(buffer)
		if err != nil {
			return
		}
		a.add(buffer[:size])
	}
}

// add counts one line of syslog, whose head is cut off.
func (a *account) add(line []byte) {
	begin := bytes.IndexByte(line, '{')
	if begin < 0 {
		return
	}
	var one request
	if err := json.Unmarshal(line[begin:], &one); err != nil {
		fmt.Fprintf(os.Stderr, "a line of the account cannot be read: %v: %s\n", err, line)
		return
	}
	seconds, err := strconv.ParseFloat(one.Seconds, 64)
	if err != nil {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.series == nil {
		a.series = map[string]*series{}
	}
	found, known := a.series[one.labels()]
	if !known {
		found = &series{atMost: make([]uint64, len(buckets))}
		a.series[one.labels()] = found
	}
	found.count++
	found.sum += seconds
	for i, limit := range buckets {
		if seconds <= limit {
			found.atMost[i]++
		}
	}
}

// write writes everything in Prometheus' text format.
func (a *account) write(out io.Writer) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	sorted := slices.Sorted(maps.Keys(a.series))
	fmt.Fprintln(out, "# TYPE nginx_ingress_controller_requests counter")
	for _, labels := range sorted {
		fmt.Fprintf(out, "nginx_ingress_controller_requests{%s} %d\n", labels, a.series[labels].count)
	}
	const duration = "nginx_ingress_controller_request_duration_seconds"
	fmt.Fprintf(out, "# TYPE %s histogram\n", duration)
	for _, labels := range sorted {
		one := a.series[labels]
		for i, limit := range buckets {
			fmt.Fprintf(out, "%s_bucket{%s,le=\"%g\"} %d\n", duration, labels, limit, one.atMost[i])
		}
		fmt.Fprintf(out, "%s_bucket{%s,le=\"+Inf\"} %d\n", duration, labels, one.count)
		fmt.Fprintf(out, "%s_sum{%s} %g\n%s_count{%s} %d\n", duration, labels, one.sum, duration, labels, one.count)
	}
}

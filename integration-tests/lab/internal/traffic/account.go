// Package traffic sends a steady stream of requests to the gateways of a lab, and accounts for every one of them.
//
// The stream is open-loop: a request is sent when its time has come, whether or not earlier ones were answered, as
// people do, and it is accounted for in the second it was meant to be sent in. A slow or dead service can therefore
// not make its own failures disappear.
package traffic

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"sync"
	"time"
)

// Line is one line of the file: so many requests of one second had this outcome. The same second and outcome can
// come again in a later line, when answers came late: counts are to be added.
type Line struct {
	// Time is the start of the second, in milliseconds since 1970.
	Time    int64  `json:"t"`
	Cluster string `json:"cluster"`
	Mode    string `json:"mode"`
	// Version is what the service says of itself; it is empty when something else answered, or nothing did.
	Version string `json:"version"`
	// Status is 0 when there was no answer.
	Status int `json:"status"`
	Count  int `json:"count"`
	// Resent is how many of them were sent again, on another connection, since theirs ended before an answer began.
	Resent int `json:"resent,omitempty"`
	// Error is the first error of these requests.
	Error string `json:"error,omitempty"`
}

// Account collects outcomes until they are written.
type Account struct {
	cluster string
	mutex   sync.Mutex
	lines   map[Line]*Line
}

// NewAccount makes an account of the requests to one cluster.
func NewAccount(cluster string) *Account {
	return &Account{cluster: cluster, lines: map[Line]*Line{}}
}

// Outcome is how one request ended.
type Outcome struct {
	// Version is as in a Line.
	Version string
	// Status is as in a Line.
	Status int
	// Connections is on how many connections it was sent.
	Connections int
	// Failure is why there was no answer, or what the gateway said instead of one.
	Failure error
}

// Add counts one request that was meant to be sent at this time.
func (a *Account) Add(intended time.Time, mode string, outcome Outcome) {
	key := Line{
		Time: intended.Unix() * 1000, Cluster: a.cluster, Mode: mode, Version: outcome.Version, Status: outcome.Status,
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	line, known := a.lines[key]
	if !known {
		fresh := key
		line = &fresh
		a.lines[key] = line
	}
	line.Count++
	if outcome.Connections > 1 {
		line.Resent++
	}
	if outcome.Failure != nil && line.Error == "" {
		line.Error = outcome.Failure.Error()
	}
}

// Write writes what was collected since the last time, in order of time.
func (a *Account) Write(output io.Writer) error {
	a.mutex.Lock()
	collected := a.lines
	a.lines = map[Line]*Line{}
	a.mutex.Unlock()
	lines := make([]Line, 0, len(collected))
	for _, line := range collected {
		lines = append(lines, *line)
	}
	sort.Slice(lines, func(i, j int) bool { return before(lines[i], lines[j]) })
	for _, line := range lines {
		content, err := json.Marshal(line)
		if err != nil {
			return err
		}
		if _, err := output.Write(append(content, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func before(a, b Line) bool {
	if a.Time != b.Time {
		return a.Time < b.Time
	}
	return fmt.Sprint(a.Mode, a.Version, a.Status) < fmt.Sprint(b.Mode, b.Version, b.Status)
}

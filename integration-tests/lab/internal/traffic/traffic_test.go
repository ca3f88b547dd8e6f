package traffic

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func lines(t *testing.T, content string) []Line {
	var found []Line
	for _, text := range strings.Split(strings.TrimSpace(content), "\n") {
		var line Line
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		found = append(found, line)
	}
	return found
}

func TestRequestsAreCountedInTheSecondTheyWereMeantFor(t *testing.T) {
	account := NewAccount("c1")
	second := time.Unix(1_700_000_000, 0)
	account.Add(second.Add(999*time.Millisecond), keepalive, Outcome{Version: "v1", Status: 200, Connections: 2})
	account.Add(second, keepalive, Outcome{Version: "v1", Status: 200, Connections: 1})
	account.Add(second.Add(time.Second), keepalive, Outcome{Version: "v2", Status: 200, Connections: 1})
	account.Add(second, once, Outcome{Failure: errors.New("first")})
	account.Add(second, once, Outcome{Failure: errors.New("second")})
	var output bytes.Buffer
	if err := account.Write(&output); err != nil {
		t.Fatal(err)
	}
	want := []Line{
		{1_700_000_000_000, "c1", once, "", 0, 2, 0, "first"},
		{1_700_000_000_000, "c1", keepalive, "v1", 200, 2, 1, ""},
		{1_700_000_001_000, "c1", keepalive, "v2", 200, 1, 0, ""},
	}
	got := lines(t, output.String())
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	output.Reset()
	if err := account.Write(&output); err != nil || output.Len() != 0 {
		t.Errorf("what was written must not be written again: %q, %v", output.String(), err)
	}
}

func TestAReportAddsUpTheSpanAsked(t *testing.T) {
	file := `{"t":1000,"cluster":"c1","mode":"close","version":"v1","status":200,"count":5}
{"t":2000,"cluster":"c1","mode":"close","version":"v1","status":200,"count":3}
{"t":2000,"cluster":"c1","mode":"keepalive","version":"v1","status":200,"count":4}
{"t":2000,"cluster":"c1","mode":"keepalive","version":"","status":0,"count":1,"error":"refused"}
{"t":3000,"cluster":"c1","mode":"close","version":"v2","status":200,"count":9}
{"t":3000,"clus`
	report, err := Read(strings.NewReader(file), 2000, 3000)
	if err != nil {
		t.Fatal(err)
	}
	if report.all != 8 || report.totals[outcome{"c1", "v1", 200}] != 7 || report.totals[outcome{"c1", "", 0}] != 1 {
		t.Errorf("got %+v", report)
	}
	if everything, err := Read(strings.NewReader(file), 0, 0); err != nil || everything.all != 22 {
		t.Errorf("got %+v, %v", everything, err)
	}
}

func TestAStreamKeepsItsRateAndLosesNoRequest(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example" || r.Header.Get("X-Canary") != "yes" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("X-Version", "v2")
		// Slower than the gaps between requests: an open loop does not wait.
		time.Sleep(50 * time.Millisecond)
	}))
	defer server.Close()
	stream := Stream{
		Cluster: "c1", URL: server.URL, Host: "shop.example", Rate: 100, Modes: []string{keepalive, once},
		Headers: [][2]string{{"X-Canary", "yes"}}, Timeout: time.Second,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 995*time.Millisecond)
	defer cancel()
	var output bytes.Buffer
	if err := stream.Run(ctx, &output); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, line := range lines(t, output.String()) {
		if line.Version != "v2" || line.Status != 200 {
			t.Errorf("got %+v", line)
		}
		counts[line.Mode] += line.Count
	}
	if counts[keepalive] != 50 || counts[once] != 50 {
		t.Errorf("got %v, want 50 of each", counts)
	}
}

func TestRequestsWithoutAnAnswerAreCountedWhenTheStreamStops(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	stream := Stream{Cluster: "c1", URL: server.URL, Rate: 20, Modes: []string{keepalive}, Timeout: time.Minute}
	ctx, cancel := context.WithTimeout(context.Background(), 180*time.Millisecond)
	defer cancel()
	var output bytes.Buffer
	if err := stream.Run(ctx, &output); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, line := range lines(t, output.String()) {
		if line.Status != 0 || line.Error != errStopped.Error() {
			t.Errorf("got %+v", line)
		}
		total += line.Count
	}
	if total != 4 {
		t.Errorf("%d requests are accounted for, of 4", total)
	}
}

func TestRequestsThatAreSentAgainAreCounted(t *testing.T) {
	// Each connection serves one request, says that it is kept, and ends as the second one comes.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				requests := bufio.NewReader(connection)
				for served := 0; served < 2; served++ {
					if _, err := http.ReadRequest(requests); err != nil || served == 1 {
						return
					}
					fmt.Fprint(connection, "HTTP/1.1 200 OK\r\nX-Version: v1\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	var output bytes.Buffer
	stream := Stream{
		Cluster: "c1", URL: "http://" + listener.Addr().String(), Host: "shop.test", Rate: 20,
		Modes: []string{keepalive}, Timeout: time.Second,
	}
	if err := stream.Run(ctx, &output); err != nil {
		t.Fatal(err)
	}
	total, resent := 0, 0
	for _, line := range lines(t, output.String()) {
		if line.Status != http.StatusOK {
			t.Errorf("got %+v", line)
		}
		total, resent = total+line.Count, resent+line.Resent
	}
	if resent == 0 || resent >= total {
		t.Errorf("%d of %d were sent again", resent, total)
	}
}

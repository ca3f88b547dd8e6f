package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestExactlyTheAskedShareOfRequestsIsAnsweredOtherwise(t *testing.T) {
	for _, percent := range []int64{0, 1, 20, 33, 100} {
		failed := int64(0)
		for request := int64(1); request <= 1000; request++ {
			if isOfShare(request, percent) {
				failed++
			}
		}
		if failed != percent*10 {
			t.Errorf("%d%%: %d of 1000 failed", percent, failed)
		}
	}
}

func TestTheApplicationAnswersWithItsVersionAndCounts(t *testing.T) {
	app := newApplication("v2", "pod-1")
	app.errorPercent.Store(50)
	for range 4 {
		answer := httptest.NewRecorder()
		app.public().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/any/path", nil))
		if answer.Header().Get("X-Version") != "v2" || answer.Body.String() != `{"pod":"pod-1","version":"v2"}`+"\n" {
			t.Fatalf("got %v %s", answer.Header(), answer.Body)
		}
	}
	answer := httptest.NewRecorder()
	app.public().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`http_requests_total{status="200"} 2`, `http_requests_total{status="500"} 2`,
		`http_request_duration_seconds_bucket{le="+Inf"} 4`, `http_request_duration_seconds_count 4`,
	} {
		if !strings.Contains(answer.Body.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, answer.Body)
		}
	}
}

func TestNothingIsFoundForItsShareOfRequests(t *testing.T) {
	app := newApplication("v2", "pod-1")
	app.notFoundPercent.Store(10)
	answers := map[int]int{}
	for range 200 {
		answer := httptest.NewRecorder()
		app.public().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/any/path", nil))
		answers[answer.Code]++
	}
	if answers[http.StatusNotFound] != 20 || answers[http.StatusOK] != 180 {
		t.Errorf("got %v", answers)
	}
	answer := httptest.NewRecorder()
	app.public().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{
		`http_requests_total{status="200"} 180`, `http_requests_total{status="404"} 20`,
		`http_requests_total{status="500"} 0`, `http_request_duration_seconds_count 200`,
	} {
		if !strings.Contains(answer.Body.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, answer.Body)
		}
	}
}

func TestControlChangesTheBehaviourAndRefusesWhatItDoesNotKnow(t *testing.T) {
	app := newApplication("v1", "pod-1")
	post := func(query string) int {
		answer := httptest.NewRecorder()
		app.control().ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/control?"+query, nil))
		return answer.Code
	}
	if code := post("errorPercent=20&notFoundPercent=5&latencyMs=50&ready=true"); code != http.StatusOK {
		t.Fatalf("got %d", code)
	}
	if app.errorPercent.Load() != 20 || app.notFoundPercent.Load() != 5 || app.latency.Load() != 50 || !app.ready.Load() {
		t.Error("the settings were not taken over")
	}
	for _, query := range []string{"errorPercent=101", "notFoundPercent=-1", "latencyMs=x", "ready=perhaps", "typo=1"} {
		if code := post(query); code != http.StatusBadRequest {
			t.Errorf("%s: got %d", query, code)
		}
	}
}

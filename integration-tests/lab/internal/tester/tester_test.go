package tester

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var limits = Limits{Timeout: 10 * time.Second, MostOutput: 64, MostAtOnce: 2}

func post(t *testing.T, handler http.Handler, kind, command string) *httptest.ResponseRecorder {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"name": "web", "namespace": "shop", "metadata": map[string]string{"type": kind, "cmd": command},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(body))))
	return answer
}

func TestTheCommandsEndIsTheAnswer(t *testing.T) {
	handler := Handler(limits)
	for _, one := range []struct {
		kind, command string
		status        int
		says          string
	}{
		{"bash", "echo all well", http.StatusOK, "all well"},
		{"bash", "echo out of order >&2; exit 3", http.StatusInternalServerError, "out of order\n\nexit status 3"},
		{"bash", "", http.StatusBadRequest, "metadata.cmd"},
		{"cmd", "hey -n 1 http://web/", http.StatusBadRequest, `metadata.type is "cmd"`},
		{"bash", "yes | head -c 100000", http.StatusOK, strings.Repeat("y\n", 32)},
	} {
		answer := post(t, handler, one.kind, one.command)
		if answer.Code != one.status || !strings.Contains(answer.Body.String(), one.says) {
			t.Errorf("%s %q: %d %s", one.kind, one.command, answer.Code, answer.Body)
		}
		if answer.Body.Len() > 200 {
			t.Errorf("%q: an answer of %d bytes", one.command, answer.Body.Len())
		}
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/", nil))
	if answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("a GET: %d", answer.Code)
	}
}

func TestACommandThatHangsIsKilledWithWhatItStarted(t *testing.T) {
	short := limits
	short.Timeout = 300 * time.Millisecond
	file := filepath.Join(t.TempDir(), "late")
	begin := time.Now()
	answer := post(t, Handler(short), "bash", "(sleep 2; touch "+file+") & sleep 60")
	if answer.Code != http.StatusGatewayTimeout || time.Since(begin) > 5*time.Second {
		t.Fatalf("%d after %s: %s", answer.Code, time.Since(begin), answer.Body)
	}
	time.Sleep(time.Until(begin.Add(2500 * time.Millisecond)))
	if _, err := os.Stat(file); err == nil {
		t.Error("what the command started went on")
	}
}

func TestNoMoreThanSoManyRunAtOnce(t *testing.T) {
	one := limits
	one.MostAtOnce = 1
	handler := Handler(one)
	marker := filepath.Join(t.TempDir(), "started")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		body := `{"metadata": {"type": "bash", "cmd": "touch ` + marker + `; sleep 60"}}`
		request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
		handler.ServeHTTP(httptest.NewRecorder(), request)
	}()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(marker); err == nil {
			break
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatal("the first command did not start")
		}
	}
	if answer := post(t, handler, "bash", "true"); answer.Code != http.StatusServiceUnavailable {
		t.Errorf("the second: %d %s", answer.Code, answer.Body)
	}
	// Who asked goes away: its command is stopped, and there is room again.
	stop()
	<-done
	if answer := post(t, handler, "bash", "true"); answer.Code != http.StatusOK {
		t.Errorf("the third: %d %s", answer.Code, answer.Body)
	}
}

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// played are the Services of a cluster, played by servers on loopback that answer with the Service's name.
func played(t *testing.T, names ...string) []service {
	t.Helper()
	var found []service
	for _, name := range names {
		server := httptest.NewServer(http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(answer, name)
		}))
		t.Cleanup(server.Close)
		address := server.Listener.Addr().(*net.TCPAddr)
		content := fmt.Sprintf(`{"items": [{"metadata": {"namespace": "shop", "name": %q},
			"spec": {"clusterIP": "127.0.0.1", "ports": [{"name": "http", "port": %d}]}}]}`, name, address.Port)
		one, err := parse[service]([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, one...)
	}
	return found
}

// startNginx runs nginx with no rules yet, and counts its requests.
func startNginx(t *testing.T) (*standIn, *account) {
	t.Helper()
	if _, err := os.Stat(program); err != nil {
		t.Skipf("nginx is not installed: %v", err)
	}
	directory, err := os.MkdirTemp("", "nginx-stand-in-")
	if err != nil {
		t.Fatal(err)
	}
	// The workers of nginx are no root, and reach the socket of the account through this folder.
	if err := os.Chmod(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	s := &standIn{
		settings: settings{directory: directory, logSocket: filepath.Join(directory, "account.sock"), port: port},
		ended:    make(chan error, 1), said: map[string]bool{},
	}
	counts, err := listenAccount(s.settings.logSocket)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.nginx.Process.Signal(syscall.SIGTERM)
		<-s.ended
	})
	for deadline := time.Now().Add(20 * time.Second); s.workers(t) == ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nginx has no workers")
		}
	}
	return s, counts
}

// ask sends one request and gives what answered.
func (s *standIn) ask(t *testing.T, headers map[string]string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", s.settings.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "shop.example"
	for key, value := range headers {
		request.Header.Set(key, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return response.Status
	}
	return string(content)
}

// serve gives nginx a canary with these annotations and waits until it serves by them.
func (s *standIn) serve(t *testing.T, services []service, annotations map[string]string) {
	t.Helper()
	full := map[string]string{prefix + "canary": "true"}
	for key, value := range annotations {
		full[prefix+key] = value
	}
	rules, problems := compile([]ingress{
		ingressOf(t, "web", "web", nil), ingressOf(t, "web-canary", "web-canary", full),
	}, services)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	before := s.workers(t)
	if err := s.apply(render(rules, s.settings)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		// New connections go to new workers alone once the old ones have stopped to listen and are gone.
		if now := s.workers(t); now != "" && disjoint(before, now) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx did not take the configuration over: workers %s, then %s", before, s.workers(t))
		}
	}
}

// workers are the process ids of nginx' workers.
func (s *standIn) workers(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", s.nginx.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func disjoint(a, b string) bool {
	for _, one := range strings.Fields(a) {
		for _, other := range strings.Fields(b) {
			if one == other {
				return false
			}
		}
	}
	return true
}

func TestNginxSplitsRealRequestsByWeight(t *testing.T) {
	s, counts := startNginx(t)
	services := played(t, "web", "web-canary")
	for _, weight := range []int{0, 20, 60, 100} {
		s.serve(t, services, map[string]string{"canary-weight": fmt.Sprint(weight)})
		const requests = 1_000
		answers := map[string]int{}
		for range requests {
			answers[s.ask(t, nil)]++
		}
		share := answers["web-canary"] * 100 / requests
		if answers["web"]+answers["web-canary"] != requests || share < weight-5 || share > weight+5 {
			t.Errorf("weight %d: %v", weight, answers)
		}
		if (weight == 0 || weight == 100) && share != weight {
			t.Errorf("weight %d must be exact: %v", weight, answers)
		}
	}
	var text strings.Builder
	counts.write(&text)
	for _, want := range []string{`requests{canary="",`, `requests{canary="shop-web-canary-`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is not in\n%s", want, text.String())
		}
	}
}

func TestNginxDecidesRealRequestsByHeaderThenCookie(t *testing.T) {
	s, _ := startNginx(t)
	services := played(t, "web", "web-canary")
	cases := []struct {
		annotations, headers map[string]string
		want                 string
	}{
		{map[string]string{"canary-by-header": "X-Canary"}, map[string]string{"X-Canary": "always"}, "web-canary"},
		{nil, map[string]string{"X-Canary": "never"}, "web"},
		{nil, map[string]string{"X-Canary": "Always"}, "web"},
		{nil, nil, "web"},
		{
			map[string]string{"canary-by-header": "X-Canary", "canary-by-cookie": "beta", "canary-weight": "100"},
			map[string]string{"X-Canary": "never", "Cookie": "beta=always"}, "web",
		},
		{nil, map[string]string{"X-Canary": "always", "Cookie": "beta=never"}, "web-canary"},
		{nil, map[string]string{"X-Canary": "perhaps", "Cookie": "beta=never"}, "web"},
		{nil, map[string]string{"Cookie": "beta=perhaps"}, "web-canary"},
		{
			map[string]string{"canary-by-header": "X-User", "canary-by-header-value": `a"b.c`},
			map[string]string{"X-User": `a"b.c`}, "web-canary",
		},
		{nil, map[string]string{"X-User": `a"bxc`}, "web"},
		{nil, map[string]string{"X-User": "always"}, "web"},
		{
			map[string]string{"canary-by-header": "X-User", "canary-by-header-pattern": `^\d+$`},
			map[string]string{"X-User": "4711"}, "web-canary",
		},
		{nil, map[string]string{"X-User": "47a11"}, "web"},
		{nil, nil, "web"},
	}
	for _, c := range cases {
		// A case without annotations goes on with those of the one before.
		if c.annotations != nil {
			s.serve(t, services, c.annotations)
		}
		if got := s.ask(t, c.headers); got != c.want {
			t.Errorf("%v with %v: %s answered, not %s", c.annotations, c.headers, got, c.want)
		}
	}
}

func TestNginxKeepsWhatItHasWhenItRefusesAConfiguration(t *testing.T) {
	s, _ := startNginx(t)
	services := played(t, "web", "web-canary")
	s.serve(t, services, map[string]string{"canary-weight": "100"})
	if err := s.apply("this is no configuration"); err == nil || !strings.Contains(err.Error(), "nginx refuses") {
		t.Errorf("got %v", err)
	}
	if got := s.ask(t, nil); got != "web-canary" {
		t.Errorf("%s answered", got)
	}
}

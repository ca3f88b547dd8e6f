// nginx-canary-stand-in stands in for the NGINX ingress controller, which is no package of any registry. It turns the
// documented canary annotations of Ingresses into configuration of Debian's nginx, so that tests meet real traffic,
// and writes the Ingresses' status. It is a stand-in: it knows the annotations canary, canary-weight,
// canary-weight-total, canary-by-header, -value, -pattern and canary-by-cookie, and nothing else of the controller.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"bellwether.local/lab/internal/kube"
)

const (
	// lookEvery is how often the API server is asked for changes.
	lookEvery = 200 * time.Millisecond
	program   = "/usr/sbin/nginx"
)

type standIn struct {
	client   *kube.Client
	settings settings
	address  string
	nginx    *exec.Cmd
	ended    chan error
	applied  string
	said     map[string]bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "nginx-canary-stand-in: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	server := flag.String("server", "", "URL of the API server")
	authority := flag.String("authority", "", "file of its CA's certificate")
	certificate := flag.String("certificate", "", "file of the client's certificate")
	key := flag.String("key", "", "file of the client's key")
	directory := flag.String("directory", "", "folder for nginx' files")
	address := flag.String("address", "", "address that Ingresses are told to have")
	port := flag.Int("port", 0, "port of nginx")
	metricsPort := flag.Int("metrics-port", 0, "port of the metrics")
	flag.Parse()
	client, err := kube.New(*server, *authority, *certificate, *key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*directory, 0o755); err != nil {
		return err
	}
	with := settings{directory: *directory, logSocket: filepath.Join(*directory, "account.sock"), port: *port}
	if err := serveAccount(with.logSocket, *metricsPort); err != nil {
		return err
	}
	s := &standIn{client: client, settings: with, address: *address, ended: make(chan error, 1), said: map[string]bool{}}
	// nginx is told of the end of the thread that started it, which must not be another than this.
	runtime.LockOSThread()
	if err := s.start(); err != nil {
		return err
	}
	defer func() {
		_ = s.nginx.Process.Signal(syscall.SIGQUIT)
		<-s.ended
	}()
	return s.follow(ctx)
}

// listenAccount makes the socket that nginx tells its requests to, and counts what comes.
func listenAccount(socket string) (*account, error) {
	_ = os.Remove(socket)
	receiver, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	// The workers of nginx are no root.
	if err := os.Chmod(socket, 0o666); err != nil {
		return nil, err
	}
	if err := receiver.SetReadBuffer(4 << 20); err != nil {
		return nil, err
	}
	counts := &account{}
	go counts.receive(receiver)
	return counts, nil
}

func serveAccount(socket string, port int) error {
	counts, err := listenAccount(socket)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	handler := http.NewServeMux()
	handler.HandleFunc("/metrics", func(answer http.ResponseWriter, _ *http.Request) { counts.write(answer) })
	go func() { _ = http.Serve(listener, handler) }()
	return nil
}

func (s *standIn) file() string { return filepath.Join(s.settings.directory, "nginx.conf") }

// start starts nginx with no rules.
func (s *standIn) start() error {
	s.applied = render(nil, s.settings)
	if err := os.WriteFile(s.file(), []byte(s.applied), 0o644); err != nil {
		return err
	}
	s.nginx = exec.Command(program, "-e", "stderr", "-c", s.file())
	s.nginx.Stdout, s.nginx.Stderr = os.Stderr, os.Stderr
	// nginx writes over its environment, by which the lab finds what a killed process left.
	s.nginx.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.nginx.Start(); err != nil {
		return err
	}
	go func() { s.ended <- s.nginx.Wait() }()
	return nil
}

// follow brings nginx into line with the Ingresses until it is told to stop.
func (s *standIn) follow(ctx context.Context) error {
	for {
		if err := s.look(ctx); err != nil {
			s.sayOnce(err.Error())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("nginx has ended: %w", err)
		case <-time.After(lookEvery):
		}
	}
}

func (s *standIn) look(ctx context.Context) error {
	content, err := s.client.Do(ctx, http.MethodGet, "/apis/networking.k8s.io/v1/ingresses", "", nil)
	if err != nil {
		return err
	}
	ingresses, err := parse[ingress](content)
	if err != nil {
		return err
	}
	if content, err = s.client.Do(ctx, http.MethodGet, "/api/v1/services", "", nil); err != nil {
		return err
	}
	services, err := parse[service](content)
	if err != nil {
		return err
	}
	rules, problems := compile(ingresses, services)
	for _, problem := range problems {
		s.sayOnce(problem.Error())
	}
	if err := s.apply(render(rules, s.settings)); err != nil {
		return err
	}
	// After nginx has the rules: whoever reads the status may rely on them.
	return s.writeStatus(ctx, ingresses)
}

// sayOnce logs what would otherwise be said with every look.
func (s *standIn) sayOnce(text string) {
	if !s.said[text] {
		s.said[text] = true
		fmt.Fprintln(os.Stderr, text)
	}
}

// apply gives nginx another configuration. One that nginx refuses is not used, and the old one stays.
func (s *standIn) apply(configuration string) error {
	if configuration == s.applied {
		return nil
	}
	next := s.file() + ".new"
	if err := os.WriteFile(next, []byte(configuration), 0o644); err != nil {
		return err
	}
	if output, err := exec.Command(program, "-t", "-q", "-e", "stderr", "-c", next).CombinedOutput(); err != nil {
		return fmt.Errorf("nginx refuses the configuration: %w: %s", err, bytes.TrimSpace(output))
	}
	if err := os.Rename(next, s.file()); err != nil {
		return err
	}
	if err := s.nginx.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	s.applied = configuration
	return nil
}

// writeStatus tells every Ingress of the class where it is served.
func (s *standIn) writeStatus(ctx context.Context, ingresses []ingress) error {
	for _, one := range ingresses {
		told := one.Status.LoadBalancer.Ingress
		if one.Spec.Class == nil || *one.Spec.Class != class || (len(told) == 1 && told[0].IP == s.address) {
			continue
		}
		path := fmt.Sprintf("/apis/networking.k8s.io/v1/namespaces/%s/ingresses/%s/status", one.Metadata.Namespace, one.Metadata.Name)
		body := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":%q}]}}}`, s.address)
		if _, err := s.client.Do(ctx, http.MethodPatch, path, "application/merge-patch+json", []byte(body)); err != nil {
			return err
		}
	}
	return nil
}

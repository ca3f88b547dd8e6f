package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/state"
	"bellwether.local/lab/internal/traffic"
)

// headerFlag collects `--header 'name: value'`.
type headerFlag [][2]string

func (h *headerFlag) String() string { return fmt.Sprint(*h) }

func (h *headerFlag) Set(text string) error {
	name, value, found := strings.Cut(text, ":")
	if !found {
		return errors.New("a header is `name: value`")
	}
	*h = append(*h, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
	return nil
}

func runTraffic(ctx context.Context, args []string) error {
	set, name := flags("traffic")
	var template traffic.Stream
	clusters := set.String("clusters", "", "clusters to send to, separated by commas")
	path := set.String("path", "/", "path of the requests")
	through := set.String("through", "gateway", "data plane to send to: gateway, nginx or contour")
	mode := set.String("keepalive", "both", "on, off, or both: half of the requests each on a new connection")
	file := set.String("out", "", "file for the account, one JSON object per line")
	duration := set.Duration("duration", 0, "how long to send (default: until stopped)")
	set.StringVar(&template.Method, "method", http.MethodGet, "method of the requests, which have no body")
	set.StringVar(&template.Host, "host", "", "host name of the requests")
	set.Float64Var(&template.Rate, "rate", 0, "requests per second and cluster")
	set.DurationVar(&template.Timeout, "timeout", 10*time.Second, "how long to wait for an answer")
	set.Var((*headerFlag)(&template.Headers), "header", "header of the requests, `name: value`; may be repeated")
	if err := set.Parse(args); err != nil {
		return err
	}
	if *clusters == "" || *file == "" || template.Rate <= 0 || set.NArg() > 0 {
		return errors.New("give --clusters, --rate and --out")
	}
	var err error
	if template.Modes, err = traffic.Modes(*mode); err != nil {
		return err
	}
	address, known := dataPlanes[*through]
	if !known {
		return fmt.Errorf("there is no data plane %q: say gateway, nginx or contour", *through)
	}
	targets, streams, err := streamsTo(*name, strings.Split(*clusters, ","), address, *path, template)
	if err != nil {
		return err
	}
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := sendAll(ctx, targets, streams, *file); err != nil {
		return err
	}
	return printReport(*file, 0, 0)
}

// dataPlanes say where each data plane of a cluster answers; empty where the cluster has none.
var dataPlanes = map[string]func(state.Cluster) string{
	"gateway": func(c state.Cluster) string { return c.GatewayURL },
	"nginx":   func(c state.Cluster) string { return c.NginxURL },
	"contour": func(c state.Cluster) string { return c.ContourURL },
}

// streamsTo makes one stream per cluster, to its own data plane.
func streamsTo(name string, names []string, address func(state.Cluster) string, path string, template traffic.Stream) ([]state.Cluster, []traffic.Stream, error) {
	found, _, err := state.Find(name)
	if err != nil {
		return nil, nil, err
	}
	description, err := found.Description()
	if err != nil {
		return nil, nil, err
	}
	var targets []state.Cluster
	var streams []traffic.Stream
	for _, name := range names {
		cluster, err := description.Cluster(name)
		if err != nil {
			return nil, nil, err
		}
		if address(cluster) == "" {
			return nil, nil, fmt.Errorf("cluster %s has no such data plane", name)
		}
		stream := template
		stream.Cluster, stream.URL = name, address(cluster)+path
		targets, streams = append(targets, cluster), append(streams, stream)
	}
	return targets, streams, nil
}

// sendAll runs this program once inside each cluster's network. A worker stops when its standard input ends, so that
// none is left behind, however this process ends.
func sendAll(ctx context.Context, targets []state.Cluster, streams []traffic.Stream, path string) error {
	// Appending, so that the workers' lines never overwrite each other.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make([]error, len(targets))
	var all sync.WaitGroup
	for i := range targets {
		all.Go(func() {
			if failures[i] = send(ctx, targets[i], streams[i], file); failures[i] != nil {
				cancel()
			}
		})
	}
	log.Progress("sending %g requests per second to each of %d clusters", streams[0].Rate, len(targets))
	all.Wait()
	return errors.Join(failures...)
}

func send(ctx context.Context, target state.Cluster, stream traffic.Stream, file *os.File) error {
	content, err := json.Marshal(stream)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	worker := exec.Command("nsenter", "--net="+target.Netns, "--", self, "traffic-worker", string(content))
	// A file, not a pipe: the worker writes to it itself, whole lines, each behind the last one of the others.
	worker.Stdout, worker.Stderr = file, os.Stderr
	input, err := worker.StdinPipe()
	if err != nil {
		return err
	}
	// Ctrl-C in a terminal reaches the whole process group; the worker is stopped by its input alone.
	worker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := worker.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Wait() }()
	select {
	case err := <-ended:
		return fmt.Errorf("the worker in %s ended by itself: %w", target.Name, err)
	case <-ctx.Done():
		input.Close()
		return <-ended
	}
}

// runTrafficWorker is the part of `lab traffic` inside a cluster's network.
func runTrafficWorker(_ context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("this is for the lab's own use")
	}
	var stream traffic.Stream
	if err := json.Unmarshal([]byte(args[0]), &stream); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	// One core is plenty for thousands of requests a second, and the rest of the machine is the clusters'.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return stream.Run(ctx, os.Stdout)
}

func runTrafficReport(_ context.Context, args []string) error {
	set := flag.NewFlagSet("lab traffic-report", flag.ContinueOnError)
	from := set.Int64("from", 0, "first millisecond that counts")
	to := set.Int64("to", 0, "first millisecond that does not count any more")
	// The file may stand before the flags.
	var file string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		file, args = args[0], args[1:]
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	if file == "" {
		file = set.Arg(0)
	}
	if file == "" {
		return errors.New("say which file")
	}
	return printReport(file, *from, *to)
}

func printReport(path string, from, to int64) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	report, err := traffic.Read(file, from, to)
	if err != nil {
		return err
	}
	fmt.Print(report)
	return nil
}

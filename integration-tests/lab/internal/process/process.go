// Package process starts the lab's background processes and stops exactly those again.
//
// A process is known in two ways: by a record of its id and start time, written when it starts, and by a marker in
// its environment. The start time keeps a recycled id from being killed; the marker finds what was started in the
// instant before the lab command itself was killed, and what processes of the lab started (containerd's shims).
package process

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// marker is the name of the environment variable that every process of a lab carries; its value is the lab's folder.
const marker = "BELLWETHER_LAB_DIRECTORY"

// Record is what is remembered of a process.
type Record struct {
	Cluster string `json:"cluster"`
	Name    string `json:"name"`
	PID     int    `json:"pid"`
	Start   uint64 `json:"start"`
}

// Spec is what to start.
type Spec struct {
	Cluster string
	Name    string
	// Netns is the path of the network namespace to run in.
	Netns string
	Path  string
	Args  []string
	Env   []string
	// Log is the file that receives standard output and error.
	Log string
}

// Process is a started process, as seen by the lab command that started it.
type Process struct {
	Record
	Log    string
	exited chan struct{}
}

// Exited tells whether the process has ended; nothing the lab starts is meant to end by itself.
func (p *Process) Exited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// LastLines is the end of the process's log, for the message that says that it has ended.
func (p *Process) LastLines() string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return p.Log + " ends with\n" + strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// Recorder starts processes of one lab and writes them down.
type Recorder struct {
	directory string
	mutex     sync.Mutex
}

// NewRecorder makes a recorder for the lab in this folder.
func NewRecorder(directory string) *Recorder { return &Recorder{directory: directory} }

func recordsFile(directory string) string { return filepath.Join(directory, "processes.jsonl") }

// Start starts a process in a session of its own, so that it outlives the lab command and its terminal.
func (r *Recorder) Start(spec Spec) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(spec.Log), 0o755); err != nil {
		return nil, err
	}
	output, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()

	command := inNamespace(spec.Netns, spec.Path, spec.Args)
	command.Env = append(append(os.Environ(), spec.Env...), marker+"="+r.directory)
	command.Stdout, command.Stderr = output, output
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s of %s: %w", spec.Name, spec.Cluster, err)
	}
	process := &Process{
		Record: Record{Cluster: spec.Cluster, Name: spec.Name, PID: command.Process.Pid},
		Log:    spec.Log,
		exited: make(chan struct{}),
	}
	process.Record.Start, _ = startTime(process.PID)
	go func() {
		_ = command.Wait()
		close(process.exited)
	}()
	return process, r.write(process.Record)
}

// inNamespace uses nsenter rather than `ip netns exec`: the latter remounts /sys, which hides the cgroup mounts from
// the kubelet. nsenter replaces itself, so that its process id is the one of the program.
func inNamespace(netns, path string, args []string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + netns, "--", path}, args...)...)
}

func (r *Recorder) write(record Record) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	line, err := json.Marshal(record)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(recordsFile(r.directory), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.Write(append(line, '\n'))
	return err
}

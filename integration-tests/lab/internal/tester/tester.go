// Package tester runs the commands that hooks post: the tester service that a hook with the metadata
// {type: bash, cmd: …} speaks to. It runs on the host, and trusts whoever reaches it: it is for labs alone.
package tester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// mostAsked bounds what is read of one call, in bytes.
const mostAsked = 64 << 10

// Limits bound what one tester does.
type Limits struct {
	// Timeout is how long one command may run. Then it is killed with everything that it started.
	Timeout time.Duration
	// MostOutput is how many bytes of a command's output are kept and answered.
	MostOutput int
	// MostAtOnce is how many commands run at the same time; a call beyond is refused.
	MostAtOnce int
}

// call is what it reads of a hook's body.
type call struct {
	Metadata struct {
		Type string `json:"type"`
		Cmd  string `json:"cmd"`
	} `json:"metadata"`
}

type tester struct {
	limits Limits
	places chan struct{}
}

// Handler answers each call with what the command said: 200 when it succeeded, 500 when it failed, 504 when it took too
// long, 503 when too many run, 400 when the call has no command that it runs.
func Handler(limits Limits) http.Handler {
	t := &tester{limits, make(chan struct{}, limits.MostAtOnce)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", t.answer)
	return mux
}

func (t *tester) answer(w http.ResponseWriter, r *http.Request) {
	var asked call
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostAsked)).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if asked.Metadata.Type != "bash" || asked.Metadata.Cmd == "" {
		text := fmt.Sprintf("metadata.type is %q: say bash, and the command in metadata.cmd", asked.Metadata.Type)
		http.Error(w, text, http.StatusBadRequest)
		return
	}
	select {
	case t.places <- struct{}{}:
		defer func() { <-t.places }()
	default:
		http.Error(w, "too many commands run already", http.StatusServiceUnavailable)
		return
	}
	output, err := t.run(r.Context(), asked.Metadata.Cmd)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		http.Error(w, fmt.Sprintf("%s\nstopped after %s", output, t.limits.Timeout), http.StatusGatewayTimeout)
	case err != nil:
		http.Error(w, fmt.Sprintf("%s\n%v", output, err), http.StatusInternalServerError)
	default:
		_, _ = w.Write(output)
	}
}

// run runs the command in a process group of its own, so that nothing which it started outlives it. Who asked and went
// away needs no answer: the command is stopped then, too.
func (t *tester) run(ctx context.Context, text string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, t.limits.Timeout)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-c", text)
	command.Dir = os.TempDir()
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return killGroup(command) }
	// What has left the group may still hold the output open.
	command.WaitDelay = time.Second
	output := &kept{most: t.limits.MostOutput}
	command.Stdout, command.Stderr = output, output
	err := command.Run()
	if command.Process != nil {
		_ = killGroup(command)
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return output.bytes, err
}

func killGroup(command *exec.Cmd) error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }

// kept is the beginning of an output.
type kept struct {
	bytes []byte
	most  int
}

func (k *kept) Write(more []byte) (int, error) {
	room := min(len(more), k.most-len(k.bytes))
	k.bytes = append(k.bytes, more[:room]...)
	return len(more), nil
}

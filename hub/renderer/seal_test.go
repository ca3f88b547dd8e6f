package main

import (
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func listen(t *testing.T, network, address string) string {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

func TestASealedProcessAndItsProgramsReachNobody(t *testing.T) {
	network := listen(t, "tcp", "127.0.0.1:0")
	beside := listen(t, "unix", filepath.Join(t.TempDir(), "database"))
	child := exec.Command(os.Args[0], "-test.run=^TestWithinASealedProcess$", "-test.v", network, beside)
	child.Env = []string{"PATH=/usr/bin:/bin"}
	said, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "--- PASS: TestWithinASealedProcess") {
		t.Fatalf("%v: %s", err, said)
	}
}

// TestWithinASealedProcess is for a process that the test above starts: it is sealed for good.
func TestWithinASealedProcess(t *testing.T) {
	if flag.NArg() != 2 {
		t.Skip("it is run by TestASealedProcessAndItsProgramsReachNobody")
	}
	places := map[string]string{"tcp": flag.Arg(0), "unix": flag.Arg(1)}
	reach := func(network string) error {
		conn, err := net.Dial(network, places[network])
		if err == nil {
			conn.Close()
		}
		return err
	}
	for network := range places {
		if err := reach(network); err != nil {
			t.Fatalf("before it is sealed: %s: %v", network, err)
		}
	}
	if err := seal(); err != nil {
		t.Fatal(err)
	}
	for network := range places {
		if err := reach(network); !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s: want EPERM, got %v", network, err)
		}
	}
	script := "echo started; exec 3<>/dev/tcp/" + strings.Replace(places["tcp"], ":", "/", 1)
	said, err := exec.Command("/bin/bash", "-c", script).CombinedOutput()
	if err == nil || !strings.HasPrefix(string(said), "started\n") || !strings.Contains(string(said), "not permitted") {
		t.Errorf("a program: %v: %s", err, said)
	}
}

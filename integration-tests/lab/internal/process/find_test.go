package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestTheStartTimeIsReadBehindAnAwkwardProgramName(t *testing.T) {
	stat := "42 (a) (b c) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 10 18446744073709551615"
	start, err := parseStartTime(stat)
	if err != nil || start != 98765 {
		t.Fatalf("got %d, %v", start, err)
	}
}

func TestAProcessThatWaitsToBeReapedCountsAsGone(t *testing.T) {
	stat := "42 (x) Z 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 0 0 0"
	if _, err := parseStartTime(stat); !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("got %v", err)
	}
}

func TestARecycledProcessIdIsNotTakenForTheRecordedProcess(t *testing.T) {
	own, ok := At(os.Getpid())
	if !ok || !own.Alive() {
		t.Fatal("this very process must be found alive")
	}
	own.Start--
	if own.Alive() {
		t.Fatal("another start time means another process")
	}
}

func TestMarkedProcessesAreFoundWithoutARecord(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "lab")
	command := exec.Command("sleep", "60")
	command.Env = append(os.Environ(), marker+"="+directory)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = command.Wait(); close(done) }()
	found := Of(directory)
	if len(found) != 1 || found[0].PID != command.Process.Pid {
		t.Fatalf("got %+v", found)
	}
	if err := Kill(found); err != nil {
		t.Fatal(err)
	}
	<-done
	if len(Of(directory)) != 0 {
		t.Fatal("nothing may be left")
	}
}

func TestARecordCutShortByACrashIsLeftOut(t *testing.T) {
	directory := t.TempDir()
	content := `{"cluster":"c1","name":"etcd","pid":12,"start":3}` + "\n" + `{"cluster":"c1","na`
	if err := os.WriteFile(recordsFile(directory), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if records := Records(directory); len(records) != 1 || records[0].Name != "etcd" {
		t.Fatalf("got %+v", records)
	}
}

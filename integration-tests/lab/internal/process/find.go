package process

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTime reads when a process started, in clock ticks since boot: field 22 of /proc/PID/stat. It fails for
// processes that are gone or only wait to be reaped.
func startTime(pid int) (uint64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(string(content))
}

// parseStartTime counts fields from behind the program's name, which may itself hold spaces and parentheses.
func parseStartTime(stat string) (uint64, error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("not a process status: %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	const state, start = 0, 19
	if len(fields) <= start {
		return 0, fmt.Errorf("a process status with too few fields: %q", stat)
	}
	if fields[state] == "Z" || fields[state] == "X" {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(fields[start], 10, 64)
}

// Alive tells whether the recorded process, and not another one with the same id, is running.
func (r Record) Alive() bool {
	start, err := startTime(r.PID)
	return err == nil && start == r.Start
}

// Records reads what was started for the lab in this folder. A last line cut short by a crash is left out, and so is a
// process that was started again later.
func Records(directory string) []Record {
	latest := map[[2]string]Record{}
	for _, record := range allRecords(directory) {
		latest[[2]string{record.Cluster, record.Name}] = record
	}
	records := make([]Record, 0, len(latest))
	for _, record := range latest {
		records = append(records, record)
	}
	return records
}

func allRecords(directory string) []Record {
	content, err := os.ReadFile(recordsFile(directory))
	if err != nil {
		return nil
	}
	var records []Record
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		var record Record
		if json.Unmarshal(lines.Bytes(), &record) == nil && record.PID > 1 {
			records = append(records, record)
		}
	}
	return records
}

// marked lists all processes that carry the marker of the lab in this folder.
func marked(directory string) []Record {
	wanted := []byte(marker + "=" + directory)
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []Record
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, variable := range bytes.Split(content, []byte{0}) {
			if !bytes.Equal(variable, wanted) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if start, err := startTime(pid); err == nil {
				found = append(found, Record{Name: "marked", PID: pid, Start: start})
			}
		}
	}
	return found
}

// Of lists the running processes of the lab in this folder, each once.
func Of(directory string) []Record {
	byPID := map[int]Record{}
	for _, record := range append(marked(directory), allRecords(directory)...) {
		if record.PID != os.Getpid() && record.Alive() {
			byPID[record.PID] = record
		}
	}
	records := make([]Record, 0, len(byPID))
	for _, record := range byPID {
		records = append(records, record)
	}
	return records
}

// Kill ends these processes and waits until they are gone.
func Kill(records []Record) error {
	for _, record := range records {
		if record.Alive() {
			_ = syscall.Kill(record.PID, syscall.SIGKILL)
		}
	}
	deadline := time.Now().Add(15 * time.Second)
	for {
		left := 0
		for _, record := range records {
			if record.Alive() {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes do not end", left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// At identifies the process that has this id now.
func At(pid int) (Record, bool) {
	start, err := startTime(pid)
	return Record{PID: pid, Start: start}, err == nil
}

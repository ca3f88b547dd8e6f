package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/network"
	"bellwether.local/lab/internal/process"
	"bellwether.local/lab/internal/state"
)

// ownership is a file that tells a folder of a lab from any other.
const ownership = ".bellwether-lab"

// Down stops a lab and removes everything of it, however little is left.
func Down(name string, keepLogs bool) error {
	release, err := state.Lock(name)
	if err != nil {
		return err
	}
	defer release()
	lab, _, err := state.Find(name)
	if err != nil {
		return err
	}
	if err := remove(lab, keepLogs); err != nil {
		return err
	}
	log.Progress("lab %s is down", name)
	return nil
}

// remove goes from the pods outwards. Pods outlive kubelet and containerd and keep their addresses, so that a next
// lab would meet them; folders go last, when nothing is mounted below them any more.
func remove(lab state.Lab, keepLogs bool) error {
	running := process.Of(lab.Directory)
	if len(running) > 0 {
		log.Progress("lab %s: stopping %d processes", lab.Name, len(running))
	}
	// Without the kubelet nothing starts containers again.
	if err := process.Kill(named(running, "kubelet")); err != nil {
		return err
	}
	// Read while containerd may still run: it removes the folder of a container that has ended.
	containers := tasks(lab)
	if err := killContainers(containers); err != nil {
		return err
	}
	if err := process.Kill(process.Of(lab.Directory)); err != nil {
		return err
	}
	// A container that was being created while the others were killed.
	containers = append(containers, tasks(lab)...)
	if err := killContainers(containers); err != nil {
		return err
	}
	removeTraces(lab.Name, containers)
	if err := unmountBelow(lab.Directory); err != nil {
		return err
	}
	if lab.Network != 0 {
		if err := network.Remove(lab.Name, lab.Network); err != nil {
			return err
		}
	}
	if err := removeDirectory(lab.Directory, keepLogs); err != nil {
		return err
	}
	return state.Forget(lab.Name)
}

func named(records []process.Record, name string) []process.Record {
	var found []process.Record
	for _, record := range records {
		if record.Name == name {
			found = append(found, record)
		}
	}
	return found
}

// unmountBelow unmounts what containerd and the kubelet left, deepest first.
func unmountBelow(directory string) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer file.Close()
	var mounts []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], directory+"/") {
			mounts = append(mounts, strings.ReplaceAll(fields[4], `\040`, " "))
		}
	}
	sort.Slice(mounts, func(i, j int) bool { return len(mounts[i]) > len(mounts[j]) })
	for _, mount := range mounts {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("unmount %s: %w", mount, err)
		}
	}
	return lines.Err()
}

// removeDirectory removes the lab's folder, or with keepLogs everything in it but the logs.
func removeDirectory(directory string, keepLogs bool) error {
	if _, err := os.Stat(filepath.Join(directory, ownership)); err != nil {
		return nil
	}
	if !keepLogs {
		return os.RemoveAll(directory)
	}
	entries, err := filepath.Glob(filepath.Join(directory, "*", "*"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if filepath.Base(entry) != "log" {
			if err := os.RemoveAll(entry); err != nil {
				return err
			}
		}
	}
	for _, file := range []string{"lab.json", "processes.jsonl", "images.tar"} {
		_ = os.Remove(filepath.Join(directory, file))
	}
	return nil
}

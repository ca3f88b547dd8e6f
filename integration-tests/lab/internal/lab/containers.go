package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bellwether.local/lab/internal/cluster"
	"bellwether.local/lab/internal/process"
	"bellwether.local/lab/internal/state"
)

// controlGroups lists the control groups of the lab's containers, on either version of the kernel's interface. The
// kubelet puts all containers below one group whatever it is told (as long as it makes no groups per class of pods),
// those of other labs too: the containers' ids tell them apart.
func controlGroups(tasks []string) []string {
	var found []string
	for _, task := range tasks {
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			groups, _ := filepath.Glob(filepath.Join(mount, "k8s.io", filepath.Base(task)))
			found = append(found, groups...)
		}
	}
	return found
}

func tasks(lab state.Lab) []string {
	found, _ := filepath.Glob(cluster.TasksPattern(lab.Directory))
	return found
}

// killContainers kills everything inside the containers' control groups until nothing is left there.
func killContainers(tasks []string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		var inside []process.Record
		for _, group := range controlGroups(tasks) {
			_ = filepath.WalkDir(group, func(path string, _ os.DirEntry, err error) error {
				if err == nil && filepath.Base(path) == "cgroup.procs" {
					inside = append(inside, members(path)...)
				}
				return nil
			})
		}
		if len(inside) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d container processes do not end", len(inside))
		}
		if err := process.Kill(inside); err != nil {
			return err
		}
	}
}

func members(file string) []process.Record {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var records []process.Record
	for _, field := range strings.Fields(string(content)) {
		pid, err := strconv.Atoi(field)
		if err != nil || pid <= 1 {
			continue
		}
		if record, alive := process.At(pid); alive {
			records = append(records, record)
		}
	}
	return records
}

// removeTraces removes what containers leave outside the lab's folder, in places that containerd, runc and CNI share
// with everything else on the machine.
func removeTraces(lab string, tasks []string) {
	results, _ := filepath.Glob("/var/lib/cni/results/" + cluster.CNINetwork(lab, "*"))
	for _, task := range tasks {
		id := filepath.Base(task)
		results = append(results, "/var/lib/cni/results/cni-loopback-"+id+"-lo", "/run/containerd/runc/k8s.io/"+id)
		if address, err := os.ReadFile(filepath.Join(task, "address")); err == nil {
			results = append(results, strings.TrimPrefix(strings.TrimSpace(string(address)), "unix://"))
		}
	}
	for _, result := range results {
		_ = os.RemoveAll(result)
	}
	removeControlGroups(tasks)
}

// removeControlGroups gives the machine's first process a moment to reap what was killed: until then a group is
// busy. One that stays busy does no harm.
func removeControlGroups(tasks []string) {
	for range 60 {
		groups := controlGroups(tasks)
		for _, group := range groups {
			var folders []string
			_ = filepath.WalkDir(group, func(path string, entry os.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			for i := len(folders) - 1; i >= 0; i-- {
				_ = os.Remove(folders[i])
			}
		}
		if len(groups) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

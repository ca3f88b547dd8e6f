package main

import (
	"fmt"
	"runtime/debug"
	"syscall"
)

// Room beside the heap: the program itself, stacks, and what the runtime reserves.
const besideHeapMiB = 256

// limit bounds this process. Beyond the soft limit the runtime collects harder; beyond the hard one it dies, and the
// hub says which limit that was.
func limit(memoryMiB, cpuSeconds uint64) error {
	debug.SetMemoryLimit(int64(memoryMiB << 20))
	hard := (memoryMiB + besideHeapMiB) << 20
	for _, one := range []struct {
		what     string
		resource int
		value    uint64
	}{
		{"memory", syscall.RLIMIT_DATA, hard},
		{"processor time", syscall.RLIMIT_CPU, cpuSeconds},
		{"core files", syscall.RLIMIT_CORE, 0},
		{"files", syscall.RLIMIT_NOFILE, 64},
		{"written files", syscall.RLIMIT_FSIZE, 0},
	} {
		if err := syscall.Setrlimit(one.resource, &syscall.Rlimit{Cur: one.value, Max: one.value}); err != nil {
			return fmt.Errorf("failed to limit %s: %w", one.what, err)
		}
	}
	return nil
}

package main

import (
	"fmt"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
)

// sealedOff are the system calls by which a process would find somebody to talk to: sockets of any family, which also
// reach the hub's database by its file; what does such calls on its behalf; and what takes an open socket, or memory,
// out of another process of the same user.
var sealedOff = []string{
	"socket", "connect", "bind", "listen", "accept", "accept4",
	"io_uring_setup", "io_uring_enter", "io_uring_register",
	"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd",
}

// seal takes the network away from this process and from whatever it starts, for good, with the kernel's help and
// without any right: where the hub may not start it without a network, this is what does it. Everything else that the
// machine's own architecture has stays; another one, such as i386 on x86-64, would have other numbers for the same
// calls, and has none.
func seal() error {
	machine, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("failed to take the network away: %w", err)
	}
	var rest []string
	for _, name := range machine.SyscallNumbers {
		if !slices.Contains(sealedOff, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	err = seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls:      []seccomp.SyscallGroup{{Names: rest, Action: seccomp.ActionAllow}},
		},
	})
	if err != nil {
		return fmt.Errorf("failed to take the network away: %w", err)
	}
	return nil
}

// Package packages installs the Debian packages that a lab and the product's tests need.
package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"bellwether.local/lab/internal/log"
)

// needed are the packages and, for each, a file that tells that it is there.
var needed = [][2]string{
	{"containerd", "/usr/bin/containerd"},
	{"runc", "/usr/sbin/runc"},
	{"containernetworking-plugins", "/usr/lib/cni/ptp"},
	{"iproute2", "/usr/bin/ip"},
	{"nftables", "/usr/sbin/nft"},
	{"conntrack", "/usr/sbin/conntrack"},
	{"util-linux", "/usr/bin/nsenter"},
	{"mount", "/usr/bin/mount"},
	{"prometheus", "/usr/bin/prometheus"},
	{"nginx", "/usr/sbin/nginx"},
	{"python3-pip", "/usr/bin/pip3"},
	{"postgresql", "/usr/lib/postgresql/*/bin/postgres"},
	{"openssh-server", "/usr/sbin/sshd"},
	{"docker-registry", "/usr/bin/docker-registry"},
}

// services are the system services that these packages bring, by package. Neither a lab nor the tests use them: both
// start processes of their own.
var services = map[string][]string{
	"containerd":      {"containerd"},
	"prometheus":      {"prometheus", "prometheus-node-exporter"},
	"nginx":           {"nginx"},
	"postgresql":      {"postgresql"},
	"openssh-server":  {"ssh"},
	"docker-registry": {"docker-registry"},
}

// Missing lists the packages that are not installed.
func Missing() []string {
	var missing []string
	for _, entry := range needed {
		if files, _ := filepath.Glob(entry[1]); len(files) == 0 {
			missing = append(missing, entry[0])
		}
	}
	return missing
}

// Install installs what is missing and leaves no service running that was not running before.
func Install() error {
	missing := Missing()
	if len(missing) == 0 {
		log.Progress("all packages are installed")
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("these Debian packages are missing: %[1]s\nrun this command as root, or as root: "+
			"apt-get install --no-install-recommends %[1]s", strings.Join(missing, " "))
	}
	restore, err := forbidServices()
	if err != nil {
		return err
	}
	defer restore()
	log.Progress("apt-get update")
	if err := apt("update"); err != nil {
		return err
	}
	log.Progress("apt-get install %s", strings.Join(missing, " "))
	if err := apt(append([]string{"install", "--yes", "--no-install-recommends"}, missing...)...); err != nil {
		return err
	}
	disableServices(missing)
	if left := Missing(); len(left) > 0 {
		return fmt.Errorf("still missing after the installation: %s", strings.Join(left, " "))
	}
	log.Progress("installed; no system service was started")
	return nil
}

// apt shows what apt-get says only when it fails.
func apt(args ...string) error {
	var output bytes.Buffer
	command := exec.Command("apt-get", append([]string{"-q"}, args...)...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, output.String())
	}
	return nil
}

// forbidServices uses Debian's own switch against starting services during an installation. A switch that is there
// already is the machine owner's, and stays.
func forbidServices() (restore func(), err error) {
	const policy = "/usr/sbin/policy-rc.d"
	file, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if os.IsExist(err) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	_, err = file.WriteString("#!/bin/sh\n# Made by `lab deps` for the time of an installation.\nexit 101\n")
	return func() { os.Remove(policy) }, err
}

// disableServices stops and disables the services of packages that were just installed, so that they do not start
// with the machine either. Where there is no systemd, nothing starts them.
func disableServices(installed []string) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return
	}
	for _, name := range installed {
		for _, service := range services[name] {
			if exec.Command("systemctl", "disable", "--now", service).Run() == nil {
				log.Progress("service %s is stopped and disabled", service)
			}
		}
	}
}

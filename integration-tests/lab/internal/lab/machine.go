package lab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/packages"
)

// requirements are what a lab needs of the machine, told before anything is started.
func requirements() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab makes network namespaces and runs containers: run it as root")
	}
	if missing := packages.Missing(); len(missing) > 0 {
		return fmt.Errorf("these Debian packages are missing: %s; `lab deps` installs them", strings.Join(missing, " "))
	}
	return raiseFileWatchers()
}

// raiseFileWatchers raises the number of file watchers that root may have. The usual 128 are used up by two labs of
// three real clusters, and what starts then fails with "too many open files".
func raiseFileWatchers() error {
	const setting, wanted = "/proc/sys/fs/inotify/max_user_instances", 4096
	content, err := os.ReadFile(setting)
	if err != nil {
		return err
	}
	if value, err := strconv.Atoi(strings.TrimSpace(string(content))); err != nil || value >= wanted {
		return err
	}
	log.Progress("raising fs.inotify.max_user_instances from %s to %d", strings.TrimSpace(string(content)), wanted)
	return os.WriteFile(setting, []byte(strconv.Itoa(wanted)), 0o644)
}

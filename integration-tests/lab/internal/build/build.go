// Package build builds the programs a lab runs from their Go modules, and lays out what is taken from those modules
// as it is.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"bellwether.local/lab/internal/log"
)

// Output is the folder of everything built.
type Output struct{ source, directory string }

// At is the output of the lab sources in this folder.
func At(source string) Output { return Output{source, filepath.Join(source, ".build")} }

// Program is the path of a built program.
func (o Output) Program(name string) string { return filepath.Join(o.directory, "bin", name) }

// File is the path of another built file.
func (o Output) File(name string) string { return filepath.Join(o.directory, name) }

// step is one program and what it is built from.
type step struct {
	program string
	// module is the folder of the go.mod, relative to the lab's sources; sources are the folders, relative to the
	// module, whose change means building again.
	module  string
	sources []string
	pkg     string
	ldflags string
	// patience is said of what takes long the first time.
	patience string
	// after lays out files that come with the program.
	after func(Output) error
}

const minutes = " (minutes the first time, seconds later)"

const kubernetesVersion = "k8s.io/component-base/version.git"

var steps = []step{
	{program: "pause", module: ".", sources: []string{"pause"}, pkg: "./pause"},
	{program: "demoapp", module: ".", sources: []string{"demoapp"}, pkg: "./demoapp"},
	{
		program: "nginx-canary-stand-in", module: ".", sources: []string{"nginxcanary", "internal/kube"},
		pkg: "./nginxcanary",
	},
	{
		program: "kubernetes", module: "kubernetes", sources: []string{"."}, pkg: ".", patience: minutes,
		// Without a version, clients fail to parse what the API server says of itself.
		ldflags: "-X " + kubernetesVersion + "Version=v1.36.3 -X " + kubernetesVersion + "Major=1 -X " + kubernetesVersion + "Minor=36",
		after:   linkComponents,
	},
	{
		program: "traefik", module: "traefik", sources: []string{"."}, pkg: "github.com/traefik/traefik/v3/cmd/traefik",
		patience: minutes,
		ldflags:  "-X github.com/traefik/traefik/v3/pkg/version.Version=v3.6.12",
		after:    copyGatewayDefinitions,
	},
	{
		program: "kwok", module: "kwok", sources: []string{"."}, pkg: "sigs.k8s.io/kwok/cmd/kwok",
		patience: minutes,
		after:    copyKwokStages,
	},
}

// contourStep is built for the labs that ask for it.
var contourStep = step{
	program: "contour", module: "contour", sources: []string{"."}, pkg: "github.com/projectcontour/contour/cmd/contour",
	patience: minutes,
	ldflags:  "-X github.com/projectcontour/contour/internal/build.Version=v1.33.8",
}

// All builds what has changed since the last time, Contour and Envoy among it where they are wanted.
func All(output Output, contour bool) error {
	wanted := steps
	if contour {
		wanted = append(slices.Clone(steps), contourStep)
	}
	for i, s := range wanted {
		if err := s.run(output, fmt.Sprintf("build %d/%d", i+1, len(wanted))); err != nil {
			return fmt.Errorf("build %s: %w", s.program, err)
		}
	}
	if contour {
		return takeEnvoy(output, "build")
	}
	return nil
}

func (s step) run(output Output, title string) error {
	stamp, err := s.stamp(output)
	if err != nil {
		return err
	}
	stampFile := output.File(s.program + ".stamp")
	if old, err := os.ReadFile(stampFile); err == nil && string(old) == stamp {
		if _, err := os.Stat(output.Program(s.program)); err == nil {
			return nil
		}
	}
	log.Progress("%s: %s%s", title, s.program, s.patience)
	begin := time.Now()
	if err := s.compile(output); err != nil {
		return err
	}
	if s.after != nil {
		if err := s.after(output); err != nil {
			return err
		}
	}
	log.Progress("%s: %s built in %.1fs", title, s.program, time.Since(begin).Seconds())
	return os.WriteFile(stampFile, []byte(stamp), 0o644)
}

func (s step) compile(output Output) error {
	if err := os.MkdirAll(filepath.Dir(output.Program("")), 0o755); err != nil {
		return err
	}
	// Built beside and renamed: a running lab keeps the program it started with.
	target := output.Program(s.program) + ".new"
	// Two compile jobs at a time: the largest single one takes 3 GB of memory.
	command := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-p", "2",
		"-ldflags", "-s -w "+s.ldflags, "-o", target, s.pkg)
	command.Dir = filepath.Join(output.source, s.module)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=local")
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Run(); err != nil {
		return err
	}
	return os.Rename(target, output.Program(s.program))
}

// stamp sums up everything the program is made from.
func (s step) stamp(output Output) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH, s.pkg, s.ldflags)
	module := filepath.Join(output.source, s.module)
	add := func(path string) error {
		content, err := os.ReadFile(path)
		if err == nil {
			fmt.Fprintln(sum, filepath.Base(path), len(content))
			sum.Write(content)
		}
		return err
	}
	if err := add(filepath.Join(module, "go.mod")); err != nil {
		return "", err
	}
	for _, source := range s.sources {
		err := filepath.WalkDir(filepath.Join(module, source), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !(strings.HasSuffix(path, ".go") || entry.Name() == "go.sum") {
				return err
			}
			return add(path)
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

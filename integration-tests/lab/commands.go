package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"bellwether.local/lab/internal/build"
	"bellwether.local/lab/internal/definitions"
	"bellwether.local/lab/internal/image"
	"bellwether.local/lab/internal/lab"
	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/network"
	"bellwether.local/lab/internal/packages"
	"bellwether.local/lab/internal/state"
)

func runDeps(context.Context, []string) error { return packages.Install() }

func runBuild(_ context.Context, args []string) error {
	set := flag.NewFlagSet("lab build", flag.ContinueOnError)
	contour := set.Bool("contour", false, "build Contour and take Envoy too")
	if err := set.Parse(args); err != nil {
		return err
	}
	output, err := output()
	if err != nil {
		return err
	}
	if err := build.All(output, *contour); err != nil {
		return err
	}
	log.Progress("everything is built")
	return nil
}

func runUp(ctx context.Context, args []string) error {
	set, name := flags("up")
	var settings state.Settings
	set.IntVar(&settings.Real, "real", 0, "number of real clusters")
	set.IntVar(&settings.ControlPlane, "control-plane", 0, "number of clusters without pods")
	set.IntVar(&settings.KwokNodes, "kwok-nodes", 3, "simulated nodes of each cluster without pods")
	scrape := set.Duration("scrape-interval", time.Second, "how often Prometheus reads the gateway")
	throttle := set.Duration("traefik-throttle", 100*time.Millisecond, "how long the gateway waits between reloads")
	crds := set.String("crds", "", "sets of custom resource definitions to install: "+strings.Join(definitions.Names(), ", "))
	set.BoolVar(&settings.Nginx, "nginx", false, "run nginx-canary-stand-in, a second data plane, in real clusters")
	set.BoolVar(&settings.Contour, "contour", false, "run Contour and its Envoy, a further data plane, in real clusters")
	directory := set.String("dir", "", "folder of the lab (default /var/lib/bellwether-lab/NAME)")
	if err := set.Parse(args); err != nil {
		return err
	}
	if settings.Contour {
		// Contour does not start without its own kinds.
		*crds += "," + definitions.Contour
	}
	var err error
	if settings.Definitions, err = definitions.Parse(*crds); err != nil {
		return err
	}
	settings.ScrapeInterval = fmt.Sprintf("%dms", scrape.Milliseconds())
	settings.TraefikThrottle = throttle.String()
	output, err := output()
	if err != nil {
		return err
	}
	description, err := lab.Up(ctx, *name, *directory, settings, output)
	if err != nil {
		return err
	}
	fmt.Print(lab.Table(description))
	return nil
}

func runDown(_ context.Context, args []string) error {
	set, name := flags("down")
	keepLogs := set.Bool("keep-logs", false, "leave the processes' logs in the lab's folder")
	if err := set.Parse(args); err != nil {
		return err
	}
	return lab.Down(*name, *keepLogs)
}

func runStatus(ctx context.Context, args []string) error {
	set, name := flags("status")
	if err := set.Parse(args); err != nil {
		return err
	}
	text, well, err := lab.Status(ctx, *name)
	if err != nil {
		return err
	}
	fmt.Print(text)
	if !well {
		return failure(1)
	}
	return nil
}

func runLink(_ context.Context, args []string) error {
	if len(args) == 0 || (args[0] != "cut" && args[0] != "heal") {
		return errors.New("say `lab link cut` or `lab link heal`")
	}
	set, name := flags("link " + args[0])
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	found, _, err := state.Find(*name)
	if err != nil {
		return err
	}
	description, err := found.Description()
	if err != nil {
		return err
	}
	if set.NArg() == 0 {
		return errors.New("say which cluster")
	}
	for _, cluster := range set.Args() {
		if _, err := description.Cluster(cluster); err != nil {
			return err
		}
		if err := network.SetLink(found.Network, cluster, args[0] == "heal"); err != nil {
			return err
		}
	}
	return nil
}

func runImage(ctx context.Context, args []string) error {
	set, name := flags("image")
	tag := set.String("tag", "", "name of the image")
	binary := set.String("binary", "", "program that the image runs")
	// What follows is the program's, and may look like flags of this command.
	var programArgs []string
	if i := slices.Index(args, "--entrypoint-args"); i >= 0 {
		args, programArgs = args[:i], args[i+1:]
	}
	if err := set.Parse(args); err != nil {
		return err
	}
	if *tag == "" || *binary == "" || set.NArg() > 0 {
		return errors.New("give --tag and --binary, and arguments of the program behind --entrypoint-args")
	}
	made, err := image.Program(*tag, *binary, programArgs, nil)
	if err != nil {
		return err
	}
	return lab.Import(ctx, *name, made)
}

// inCluster parses NAME, CLUSTER and the rest, for commands that run something in a cluster.
func inCluster(command string, args []string) (state.Cluster, []string, error) {
	set, name := flags(command)
	if err := set.Parse(args); err != nil {
		return state.Cluster{}, nil, err
	}
	if set.NArg() == 0 {
		return state.Cluster{}, nil, errors.New("say which cluster")
	}
	found, _, err := state.Find(*name)
	if err != nil {
		return state.Cluster{}, nil, err
	}
	description, err := found.Description()
	if err != nil {
		return state.Cluster{}, nil, err
	}
	cluster, err := description.Cluster(set.Arg(0))
	rest := set.Args()[1:]
	if len(rest) > 0 && rest[0] == "--" {
		rest = rest[1:]
	}
	return cluster, rest, err
}

// runKubectl runs inside the cluster's network, so that it works while the cluster is cut off from the host.
func runKubectl(_ context.Context, args []string) error {
	cluster, rest, err := inCluster("kubectl", args)
	if err != nil {
		return err
	}
	output, err := output()
	if err != nil {
		return err
	}
	return become(cluster, append([]string{output.Program("kubectl"), "--kubeconfig=" + cluster.Kubeconfig}, rest...))
}

func runExec(_ context.Context, args []string) error {
	cluster, rest, err := inCluster("exec", args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return errors.New("say what to run, behind --")
	}
	return become(cluster, rest)
}

// become replaces this process, so that signals and the exit status are those of the command itself.
func become(cluster state.Cluster, command []string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return err
	}
	args := append([]string{filepath.Base(nsenter), "--net=" + cluster.Netns, "--"}, command...)
	return syscall.Exec(nsenter, args, os.Environ())
}

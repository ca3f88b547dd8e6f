// The lab: several real Kubernetes clusters on one machine, for tests and demonstrations.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"bellwether.local/lab/internal/build"
)

const usage = `lab starts Kubernetes clusters on this machine, for tests and demonstrations.

  lab deps                                  install the Debian packages that are missing
  lab build [--contour]                     build everything a lab runs (minutes the first time)
  lab up --name NAME --real R --control-plane C [--dir DIR] [--kwok-nodes N]
         [--scrape-interval 1s] [--traefik-throttle 100ms]
         [--crds SET,…]                     definitions to install: apisix, app-mesh, contour,
                                            gateway-experimental, gloo, istio, keda, knative,
                                            kruise, kuma, linkerd, traefik
         [--nginx]                          a second data plane: nginx-canary-stand-in
         [--contour]                        a further data plane: Contour with Envoy
  lab down --name NAME [--keep-logs]
  lab status --name NAME
  lab link cut|heal --name NAME CLUSTER     cut a cluster off from the host, or connect it again
  lab image --name NAME --tag REF --binary PATH [--entrypoint-args ARG…]
  lab kubectl --name NAME CLUSTER ARG…
  lab exec --name NAME CLUSTER -- COMMAND…  run a command inside a cluster's network
  lab traffic --name NAME --clusters c1,c2 --host HOST [--path /] [--method GET] --rate N
         [--through gateway|nginx|contour] [--keepalive on|off|both] --out FILE [--duration D] [--header 'k: v'] [--timeout D]
  lab traffic-report FILE [--from MS --to MS]
  lab tester --listen ADDRESS [--timeout D]  run the commands that hooks post, until standard input ends
`

// commands are the subcommands. One of them is for the lab itself: it is what runs inside a cluster's network.
var commands = map[string]func(context.Context, []string) error{
	"deps":           runDeps,
	"build":          runBuild,
	"up":             runUp,
	"down":           runDown,
	"status":         runStatus,
	"link":           runLink,
	"image":          runImage,
	"kubectl":        runKubectl,
	"exec":           runExec,
	"tester":         runTester,
	"traffic":        runTraffic,
	"traffic-report": runTrafficReport,
	"traffic-worker": runTrafficWorker,
}

// failure ends the command with a status of its own and without another message.
type failure int

func (f failure) Error() string { return fmt.Sprintf("exit status %d", int(f)) }

func main() {
	if len(os.Args) < 2 || os.Args[1] == "help" || os.Args[1] == "--help" || os.Args[1] == "-h" {
		fmt.Print(usage)
		return
	}
	command, known := commands[os.Args[1]]
	if !known {
		fmt.Fprintf(os.Stderr, "lab: there is no command %q\n\n%s", os.Args[1], usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := command(ctx, os.Args[2:])
	stop()
	var status failure
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &status):
		os.Exit(int(status))
	default:
		fmt.Fprintf(os.Stderr, "lab %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

// output is where builds go: beside the sources, whose place the wrapper tells.
func output() (build.Output, error) {
	source := os.Getenv("BELLWETHER_LAB_SOURCE")
	if source == "" {
		return build.Output{}, errors.New("run the lab by lab.sh: it tells where the sources are")
	}
	return build.At(source), nil
}

// flags makes the flag set of a subcommand, with the lab's name where it takes one.
func flags(name string) (*flag.FlagSet, *string) {
	set := flag.NewFlagSet("lab "+name, flag.ContinueOnError)
	return set, set.String("name", "", "name of the lab")
}

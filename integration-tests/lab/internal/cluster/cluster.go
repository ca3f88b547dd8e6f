// Package cluster starts the processes of one cluster, each with the settings that a shared machine asks for.
package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bellwether.local/lab/internal/build"
	"bellwether.local/lab/internal/kube"
	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/network"
	"bellwether.local/lab/internal/pki"
	"bellwether.local/lab/internal/plan"
	"bellwether.local/lab/internal/process"
	"bellwether.local/lab/internal/state"
)

// Cluster is one cluster that is being started.
type Cluster struct {
	plan.Cluster
	Lab      state.Lab
	Settings state.Settings
	Output   build.Output
	Recorder *process.Recorder
	// Images is the archive with the lab's own images.
	Images string

	authority *pki.Authority
	client    *kube.Client

	kubelet       *process.Process
	kubeletStarts int
}

// Directory is the folder with everything of the cluster.
func (c *Cluster) Directory() string { return filepath.Join(c.Lab.Directory, c.Name) }

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.Directory()}, parts...)...)
}

func (c *Cluster) server() string { return fmt.Sprintf("https://%s:6443", c.Node) }

// ContainerdSocket is where the cluster's containerd listens.
func ContainerdSocket(labDirectory, cluster string) string {
	return filepath.Join(labDirectory, cluster, "containerd.sock")
}

// TasksPattern matches one folder for each container that a cluster of the lab has started, named by the container's
// id. It outlives containerd, and with it what runs can be found and stopped when containerd is dead.
func TasksPattern(labDirectory string) string {
	return filepath.Join(labDirectory, "*", "containerd-state", "io.containerd.runtime.v2.task", "k8s.io", "*")
}

// CNINetwork is the name of the cluster's pod network, under which CNI keeps what it did.
func CNINetwork(lab, cluster string) string { return "bellwether-lab-" + lab + "-" + cluster }

// Describe is what lab.json says of the cluster.
func (c *Cluster) Describe() state.Cluster {
	described := state.Cluster{
		Name: c.Name, Kind: c.Kind, Kubeconfig: c.path("kubeconfig"), APIServer: c.server(),
		NodeAddress: c.Node.String(), Netns: network.NamespaceFile(c.Lab.Name, c.Name),
	}
	if c.Kind == plan.Real {
		described.GatewayURL = fmt.Sprintf("http://%s:%d", c.Node, gatewayPort)
		described.PrometheusURL = fmt.Sprintf("http://%s:%d", c.Node, prometheusPort)
		if c.Settings.Nginx {
			described.NginxURL = fmt.Sprintf("http://%s:%d", c.Node, nginxPort)
		}
		if c.Settings.Contour {
			described.ContourURL = fmt.Sprintf("http://%s:%d", c.Node, contourPort)
		}
	}
	return described
}

// Start starts everything and waits until the cluster is usable.
func (c *Cluster) Start(ctx context.Context) error {
	if err := c.makeCredentials(); err != nil {
		return err
	}
	parts := []func(context.Context) error{c.startControlPlane, c.startSimulatedNodes, c.installRequested, c.waitForServiceAccount}
	if c.Kind == plan.Real {
		parts = []func(context.Context) error{c.startContainerd, c.startControlPlane, c.startNode, c.startGateway, c.startNginx, c.startContour, c.startPrometheus, c.waitForReal}
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

func (c *Cluster) waitForReal(ctx context.Context) error {
	for _, wait := range []func(context.Context) error{c.waitForNodes(1, c.keepKubelet), c.waitForServiceAccount, c.waitForGateway, c.waitForNginx, c.waitForContour, c.waitForPrometheus} {
		if err := wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// start runs a program of the lab's own build, or one of the system when the name is a path.
func (c *Cluster) start(name string, args []string, env ...string) (*process.Process, error) {
	program := name
	if !filepath.IsAbs(name) {
		program = c.Output.Program(name)
	}
	return c.Recorder.Start(process.Spec{
		Cluster: c.Name,
		Name:    filepath.Base(name),
		Netns:   network.NamespaceFile(c.Lab.Name, c.Name),
		Path:    program,
		Args:    args,
		Env:     env,
		Log:     c.path("log", filepath.Base(name)+".log"),
	})
}

// wait asks again and again until the answer is yes, and says every few seconds what it waits for. It gives up at
// once when check, which may be nil, finds that waiting is in vain.
func (c *Cluster) wait(ctx context.Context, what string, check func() error, ready func(context.Context) (bool, error)) error {
	begin, said := time.Now(), time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		done, err := ready(attempt)
		cancel()
		if done {
			return nil
		}
		if check != nil {
			if err := check(); err != nil {
				return fmt.Errorf("waiting for %s: %w", what, err)
			}
		}
		if time.Since(begin) > 2*time.Minute {
			return fmt.Errorf("waited in vain for %s; last error: %v; logs are in %s", what, err, c.path("log"))
		}
		if time.Since(said) > 5*time.Second {
			log.Progress("%s: still waiting for %s", c.Name, what)
			said = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// running is a check that these processes have not ended.
func running(processes ...*process.Process) func() error {
	return func() error {
		for _, p := range processes {
			if p.Exited() {
				return fmt.Errorf("%s has ended: %s", p.Name, p.LastLines())
			}
		}
		return nil
	}
}

func (c *Cluster) waitForNodes(number int, check func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		log.Progress("%s: waiting for %d Ready nodes", c.Name, number)
		return c.wait(ctx, "nodes to be Ready", check, func(ctx context.Context) (bool, error) {
			ready, err := c.client.ReadyNodes(ctx)
			return ready >= number, err
		})
	}
}

// waitForServiceAccount waits for the account that pods are admitted with: until it is there, creating one fails.
func (c *Cluster) waitForServiceAccount(ctx context.Context) error {
	return c.wait(ctx, "the default service account", nil, func(ctx context.Context) (bool, error) {
		_, err := c.client.Do(ctx, "GET", "/api/v1/namespaces/default/serviceaccounts/default", "", nil)
		return err == nil, err
	})
}

// write writes a configuration file into the cluster's folder and gives its path.
func (c *Cluster) write(name, content string) (string, error) {
	path := c.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(content), 0o644)
}

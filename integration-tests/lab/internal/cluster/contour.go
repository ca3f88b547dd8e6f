package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"

	"bellwether.local/lab/internal/log"
)

const (
	// contourPort is where Envoy serves HTTPProxies, envoyStatsPort where it serves its metrics.
	contourPort    = 8004
	envoyStatsPort = 8005
	// contourXDSPort is where Contour tells Envoy what to do, contourOwnPort where it speaks of itself.
	contourXDSPort = 8006
	contourOwnPort = 8007
)

// startContour runs Contour and the Envoy that it configures where the lab was asked for them.
func (c *Cluster) startContour(context.Context) error {
	if !c.Settings.Contour {
		return nil
	}
	_, err := c.start("contour", []string{
		"serve",
		"--kubeconfig=" + c.path("kubeconfig"),
		// One Contour in a network of its own: nothing is there to elect a leader from, or to hide from.
		"--disable-leader-election",
		"--insecure",
		"--xds-address=127.0.0.1",
		fmt.Sprintf("--xds-port=%d", contourXDSPort),
		"--http-address=127.0.0.1",
		fmt.Sprintf("--http-port=%d", contourOwnPort),
		"--health-address=127.0.0.1",
		fmt.Sprintf("--health-port=%d", contourOwnPort),
		"--envoy-service-http-address=" + c.Node.String(),
		fmt.Sprintf("--envoy-service-http-port=%d", contourPort),
		"--stats-address=" + c.Node.String(),
		fmt.Sprintf("--stats-port=%d", envoyStatsPort),
	})
	if err != nil {
		return err
	}
	config, err := c.envoyBootstrap()
	if err != nil {
		return err
	}
	_, err = c.start("envoy", []string{
		"--config-path", config,
		"--service-cluster", "contour",
		"--service-node", c.Name,
		"--concurrency", "2",
		// It shares memory by a number that is the same for every Envoy of the machine.
		"--disable-hot-restart",
		"--log-level", "warning",
	})
	return err
}

// envoyBootstrap lets Contour write the configuration by which Envoy finds it.
func (c *Cluster) envoyBootstrap() (string, error) {
	config := c.path("envoy", "bootstrap.json")
	if err := os.MkdirAll(c.path("envoy"), 0o755); err != nil {
		return "", err
	}
	command := exec.Command(c.Output.Program("contour"), "bootstrap", config,
		"--admin-address="+c.path("envoy", "admin.sock"),
		"--xds-address=127.0.0.1", fmt.Sprintf("--xds-port=%d", contourXDSPort))
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("contour bootstrap: %w\n%s", err, output)
	}
	return config, nil
}

// waitForContour waits for an answer of Envoy on a listener that it has from Contour. There is none for requests
// before the first HTTPProxy.
func (c *Cluster) waitForContour(ctx context.Context) error {
	if !c.Settings.Contour {
		return nil
	}
	log.Progress("%s: waiting for Contour", c.Name)
	return c.wait(ctx, "Contour", nil, func(ctx context.Context) (bool, error) {
		return answers(ctx, fmt.Sprintf("http://%s:%d/ready", c.Node, envoyStatsPort), http.StatusOK)
	})
}

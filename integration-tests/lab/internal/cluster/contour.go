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
	// contourPort is where Envoy serves HTTPProxies and Contour's Gateway, envoyStatsPort where it serves its metrics.
	contourPort    = 8004
	envoyStatsPort = 8005
	// contourListenerPort is that of the Gateway's listener: Contour lets Envoy listen 8000 above it, on a port that
	// needs no privilege.
	contourListenerPort = contourPort - 8000
	// contourXDSPort is where Contour tells Envoy what to do, contourOwnPort where it speaks of itself.
	contourXDSPort = 8006
	contourOwnPort = 8007
)

const contourGatewayClass = `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: contour}
spec: {controllerName: projectcontour.io/gateway-controller}
`

// HTTPProxies are served by its listener too.
const contourGateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: contour, namespace: gateway}
spec:
  gatewayClassName: contour
  listeners:
  - name: http
    protocol: HTTP
    port: %d
    allowedRoutes: {namespaces: {from: All}}
`

// contourConfig names the one Gateway that this Contour serves. Unless it is told otherwise, Envoy refuses what comes
// while 2,048 requests wait for a Service (1,024 connections and as many requests without one): two seconds and a half
// in which a busy machine's pods do not get to answer, at 800 requests a second. Here they wait, as at the other
// gateways; whoever sends them sees how long.
const contourConfig = `gateway:
  gatewayRef: {namespace: gateway, name: contour}
cluster:
  circuit-breakers: {max-connections: 65536, max-pending-requests: 65536, max-requests: 65536}
`

// startContour runs Contour and the Envoy that it configures where the lab was asked for them. It comes after the
// Gateway API and the gateway's namespace.
func (c *Cluster) startContour(ctx context.Context) error {
	if !c.Settings.Contour {
		return nil
	}
	objects := [][2]string{
		{gatewayObjects + "/gatewayclasses/contour", contourGatewayClass},
		{gatewayObjects + "/namespaces/gateway/gateways/contour", fmt.Sprintf(contourGateway, contourListenerPort)},
	}
	for _, object := range objects {
		if err := c.client.Apply(ctx, object[0], object[1]); err != nil {
			return err
		}
	}
	settings, err := c.write("contour.yaml", contourConfig)
	if err != nil {
		return err
	}
	_, err = c.start("contour", []string{
		"serve",
		"--kubeconfig=" + c.path("kubeconfig"),
		"--config-path=" + settings,
		// Not in every channel of the Gateway API; what is served are HTTPRoutes and GRPCRoutes.
		"--disable-feature=backendtlspolicies",
		"--disable-feature=tcproutes",
		"--disable-feature=tlsroutes",
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

// waitForContour waits for the status of its Gateway, and for an answer of Envoy on a listener that it has from
// Contour. There is none for requests before the first HTTPProxy or route.
func (c *Cluster) waitForContour(ctx context.Context) error {
	if !c.Settings.Contour {
		return nil
	}
	log.Progress("%s: waiting for Contour", c.Name)
	err := c.wait(ctx, "Contour's Gateway to be programmed", nil, func(ctx context.Context) (bool, error) {
		return c.client.HasCondition(ctx, gatewayObjects+"/namespaces/gateway/gateways/contour", "Programmed")
	})
	if err != nil {
		return err
	}
	return c.wait(ctx, "Contour", nil, func(ctx context.Context) (bool, error) {
		return answers(ctx, fmt.Sprintf("http://%s:%d/ready", c.Node, envoyStatsPort), http.StatusOK)
	})
}

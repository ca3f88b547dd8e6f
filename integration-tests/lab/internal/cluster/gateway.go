package cluster

import (
	"context"
	"fmt"
	"net/http"

	"bellwether.local/lab/internal/definitions"
	"bellwether.local/lab/internal/log"
)

const (
	// gatewayPort is the port of Traefik's entry point and of the Gateway's listener: Traefik joins the two by it.
	gatewayPort = 8000
	// traefikPort serves Traefik's own metrics.
	traefikPort = 8001
)

const gatewayObjects = "/apis/gateway.networking.k8s.io/v1"

const gatewayClass = `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: traefik}
spec: {controllerName: traefik.io/gateway-controller}
`

const gateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway, namespace: gateway}
spec:
  gatewayClassName: traefik
  listeners:
  - name: http
    protocol: HTTP
    port: %d
    allowedRoutes: {namespaces: {from: All}}
`

// startGateway installs the Gateway API and runs Traefik as a process of the node: a pod more would only make the
// start slower.
func (c *Cluster) startGateway(ctx context.Context) error {
	standard, err := c.gatewayDefinitions()
	if err != nil {
		return err
	}
	if err := c.install(ctx, standard); err != nil {
		return err
	}
	// After the standard ones: a set may hold the same definitions with more in them.
	if err := c.installRequested(ctx); err != nil {
		return err
	}
	traefik, err := c.start("traefik", append(c.traefikProviders(), []string{
		fmt.Sprintf("--entryPoints.web.address=:%d", gatewayPort),
		fmt.Sprintf("--entryPoints.metrics.address=:%d", traefikPort),
		"--metrics.prometheus=true",
		"--metrics.prometheus.entryPoint=metrics",
		"--metrics.prometheus.addEntryPointsLabels=true",
		"--metrics.prometheus.addRoutersLabels=true",
		"--metrics.prometheus.addServicesLabels=true",
		"--metrics.prometheus.buckets=0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5",
		"--global.checkNewVersion=false",
		"--global.sendAnonymousUsage=false",
		"--log.level=INFO",
	}...), "KUBECONFIG="+c.path("kubeconfig"))
	if err != nil {
		return err
	}
	objects := [][2]string{
		{gatewayObjects + "/gatewayclasses/traefik", gatewayClass},
		{"/api/v1/namespaces/gateway", "apiVersion: v1\nkind: Namespace\nmetadata: {name: gateway}\n"},
		{gatewayObjects + "/namespaces/gateway/gateways/gateway", fmt.Sprintf(gateway, gatewayPort)},
	}
	for _, object := range objects {
		// A definition is served a moment after it is established.
		err := c.wait(ctx, "the Gateway API", running(traefik), func(ctx context.Context) (bool, error) {
			err := c.client.Apply(ctx, object[0], object[1])
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// traefikProviders says what Traefik reads: the Gateway API, and its own kinds where they are defined.
func (c *Cluster) traefikProviders() []string {
	providers := []string{
		"--providers.providersThrottleDuration=" + c.Settings.TraefikThrottle,
		"--providers.kubernetesgateway=true",
		"--providers.kubernetesgateway.statusaddress.ip=" + c.Node.String(),
	}
	if definitions.Has(c.Settings.Definitions, "gateway-experimental") {
		providers = append(providers, "--providers.kubernetesgateway.experimentalchannel=true")
	}
	if definitions.Has(c.Settings.Definitions, definitions.Traefik) {
		providers = append(providers, "--providers.kubernetescrd=true")
	}
	return providers
}

// waitForGateway waits for the status of the Gateway and for an answer of Traefik itself: it writes status before it
// loads the configuration.
func (c *Cluster) waitForGateway(ctx context.Context) error {
	log.Progress("%s: waiting for the gateway", c.Name)
	err := c.wait(ctx, "the gateway to be programmed", nil, func(ctx context.Context) (bool, error) {
		return c.client.HasCondition(ctx, gatewayObjects+"/namespaces/gateway/gateways/gateway", "Programmed")
	})
	if err != nil {
		return err
	}
	return c.wait(ctx, "an answer of the gateway", nil, func(ctx context.Context) (bool, error) {
		return answers(ctx, fmt.Sprintf("http://%s:%d/", c.Node, gatewayPort), http.StatusNotFound)
	})
}

// answers asks from the host; nothing but the node's own address is reachable from there.
func answers(ctx context.Context, url string, wanted int) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != wanted {
		return false, fmt.Errorf("%s: %s", url, response.Status)
	}
	return true, nil
}

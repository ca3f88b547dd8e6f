package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"bellwether.local/lab/internal/build"
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
	if err := c.installDefinitions(ctx); err != nil {
		return err
	}
	traefik, err := c.start("traefik", []string{
		fmt.Sprintf("--entryPoints.web.address=:%d", gatewayPort),
		fmt.Sprintf("--entryPoints.metrics.address=:%d", traefikPort),
		"--providers.kubernetesgateway=true",
		"--providers.kubernetesgateway.statusaddress.ip=" + c.Node.String(),
		"--providers.providersThrottleDuration=" + c.Settings.TraefikThrottle,
		"--metrics.prometheus=true",
		"--metrics.prometheus.entryPoint=metrics",
		"--metrics.prometheus.addEntryPointsLabels=true",
		"--metrics.prometheus.addRoutersLabels=true",
		"--metrics.prometheus.addServicesLabels=true",
		"--metrics.prometheus.buckets=0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5",
		"--global.checkNewVersion=false",
		"--global.sendAnonymousUsage=false",
		"--log.level=INFO",
	}, "KUBECONFIG="+c.path("kubeconfig"))
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

var definitionName = regexp.MustCompile(`(?m)^  name: (\S+)$`)

func (c *Cluster) installDefinitions(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(c.Output.File(build.GatewayDefinitions), "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there are no Gateway API definitions, run `lab build`: %w", err)
	}
	var paths []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name := definitionName.FindSubmatch(content)
		if name == nil {
			return fmt.Errorf("%s is not a definition", file)
		}
		path := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + string(name[1])
		if err := c.client.Apply(ctx, path, string(content)); err != nil {
			return err
		}
		paths = append(paths, path)
	}
	for _, path := range paths {
		err := c.wait(ctx, "the Gateway API's definitions", nil, func(ctx context.Context) (bool, error) {
			return c.client.HasCondition(ctx, path, "Established")
		})
		if err != nil {
			return err
		}
	}
	return nil
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

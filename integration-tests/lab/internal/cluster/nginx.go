package cluster

import (
	"context"
	"fmt"
	"net/http"

	"bellwether.local/lab/internal/log"
)

const (
	// nginxPort is where nginx serves Ingresses, nginxMetricsPort where the stand-in serves their metrics.
	nginxPort        = 8002
	nginxMetricsPort = 8003
)

const ingressClass = `apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: bellwether.local/nginx-canary-stand-in}
`

// startNginx runs the stand-in for the NGINX ingress controller where the lab was asked for it.
func (c *Cluster) startNginx(ctx context.Context) error {
	if !c.Settings.Nginx {
		return nil
	}
	if err := c.client.Apply(ctx, "/apis/networking.k8s.io/v1/ingressclasses/nginx", ingressClass); err != nil {
		return err
	}
	_, err := c.start("nginx-canary-stand-in", []string{
		"--server=" + c.server(),
		"--authority=" + c.authority.Path("ca.crt"),
		"--certificate=" + c.authority.Path("admin.crt"),
		"--key=" + c.authority.Path("admin.key"),
		"--directory=" + c.path("nginx"),
		"--address=" + c.Node.String(),
		fmt.Sprintf("--port=%d", nginxPort),
		fmt.Sprintf("--metrics-port=%d", nginxMetricsPort),
	})
	return err
}

func (c *Cluster) waitForNginx(ctx context.Context) error {
	if !c.Settings.Nginx {
		return nil
	}
	log.Progress("%s: waiting for nginx", c.Name)
	return c.wait(ctx, "nginx", nil, func(ctx context.Context) (bool, error) {
		return answers(ctx, fmt.Sprintf("http://%s:%d/", c.Node, nginxPort), http.StatusNotFound)
	})
}

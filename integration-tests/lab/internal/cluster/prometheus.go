package cluster

import (
	"context"
	"fmt"
	"net/http"

	"bellwether.local/lab/internal/log"
)

const prometheusPort = 9090

// prometheusConfig scrapes the gateway only: it is what gates measure, and anything more costs every second.
const prometheusConfig = `global:
  scrape_interval: %[1]s
  scrape_timeout: %[1]s
  external_labels: {cluster: %[2]s}
scrape_configs:
- job_name: gateway
  static_configs:
  - targets: ["127.0.0.1:%[3]d"]
`

const prometheusNginx = `- job_name: nginx
  static_configs:
  - targets: ["127.0.0.1:%d"]
`

const prometheusContour = `- job_name: contour
  metrics_path: /stats/prometheus
  static_configs:
  - targets: ["%s:%d"]
`

func (c *Cluster) startPrometheus(context.Context) error {
	content := fmt.Sprintf(prometheusConfig, c.Settings.ScrapeInterval, c.Name, traefikPort)
	if c.Settings.Nginx {
		content += fmt.Sprintf(prometheusNginx, nginxMetricsPort)
	}
	if c.Settings.Contour {
		content += fmt.Sprintf(prometheusContour, c.Node, envoyStatsPort)
	}
	config, err := c.write("prometheus.yml", content)
	if err != nil {
		return err
	}
	_, err = c.start("/usr/bin/prometheus", []string{
		"--config.file=" + config,
		"--storage.tsdb.path=" + c.path("prometheus"),
		"--storage.tsdb.retention.time=12h",
		fmt.Sprintf("--web.listen-address=%s:%d", c.Node, prometheusPort),
		"--log.level=warn",
	})
	return err
}

func (c *Cluster) waitForPrometheus(ctx context.Context) error {
	log.Progress("%s: waiting for Prometheus", c.Name)
	return c.wait(ctx, "Prometheus", nil, func(ctx context.Context) (bool, error) {
		return answers(ctx, fmt.Sprintf("http://%s:%d/-/ready", c.Node, prometheusPort), http.StatusOK)
	})
}

package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"bellwether.local/lab/internal/kube"
	"bellwether.local/lab/internal/network"
	"bellwether.local/lab/internal/plan"
	"bellwether.local/lab/internal/process"
	"bellwether.local/lab/internal/state"
)

// alreadyUp tells whether the lab runs, whole and with these settings. Links that were cut are healed for it.
func alreadyUp(ctx context.Context, lab state.Lab, settings state.Settings) (state.Description, bool) {
	description, err := lab.Description()
	if err != nil || description.Settings != settings {
		return description, false
	}
	for _, record := range process.Records(lab.Directory) {
		if !record.Alive() {
			return description, false
		}
	}
	for _, cluster := range description.Clusters {
		if network.SetLink(lab.Network, cluster.Name, true) != nil {
			return description, false
		}
	}
	for _, cluster := range description.Clusters {
		if !ready(ctx, lab, cluster, settings) {
			return description, false
		}
	}
	return description, true
}

// ready gives a link that was just healed a few seconds to carry packets again.
func ready(ctx context.Context, lab state.Lab, cluster state.Cluster, settings state.Settings) bool {
	wanted := 1
	if cluster.Kind == plan.ControlPlane {
		wanted = settings.KwokNodes
	}
	for range 10 {
		if nodes, err := readyNodes(ctx, lab, cluster); err == nil && nodes >= wanted {
			return true
		}
		time.Sleep(500 * time.Millisecond)
	}
	return false
}

func readyNodes(ctx context.Context, lab state.Lab, cluster state.Cluster) (int, error) {
	keys := filepath.Join(lab.Directory, cluster.Name, "pki")
	client, err := kube.New(cluster.APIServer, keys+"/ca.crt", keys+"/admin.crt", keys+"/admin.key")
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return client.ReadyNodes(ctx)
}

// Status tells how the lab is, and whether all of it is well.
func Status(ctx context.Context, name string) (string, bool, error) {
	lab, _, err := state.Find(name)
	if err != nil {
		return "", false, err
	}
	description, err := lab.Description()
	if err != nil {
		return "", false, err
	}
	var text strings.Builder
	well := true
	records := process.Records(lab.Directory)
	for _, cluster := range description.Clusters {
		line, ok := clusterStatus(ctx, lab, cluster, records)
		fmt.Fprintln(&text, line)
		well = well && ok
	}
	return text.String(), well, nil
}

func clusterStatus(ctx context.Context, lab state.Lab, cluster state.Cluster, records []process.Record) (string, bool) {
	var dead []string
	alive := 0
	for _, record := range records {
		switch {
		case record.Cluster != cluster.Name:
		case record.Alive():
			alive++
		default:
			dead = append(dead, record.Name)
		}
	}
	line := fmt.Sprintf("%-4s %-13s %-15s %2d processes", cluster.Name, cluster.Kind, cluster.NodeAddress, alive)
	if len(dead) > 0 {
		line += ", ended: " + strings.Join(dead, " ")
	}
	if !network.LinkIsUp(lab.Network, cluster.Name) {
		return line + ", link cut", false
	}
	nodes, err := readyNodes(ctx, lab, cluster)
	if err != nil {
		return line + ", API server: " + err.Error(), false
	}
	return line + fmt.Sprintf(", %d nodes Ready", nodes), len(dead) == 0
}

// Table is what people see of a lab that is up.
func Table(description state.Description) string {
	var text strings.Builder
	fmt.Fprintf(&text, "lab %s, the host is %s for its pods\n", description.Name, description.BridgeAddress)
	for _, cluster := range description.Clusters {
		fmt.Fprintf(&text, "%s (%s)\n  kubeconfig  %s\n  API server  %s\n", cluster.Name, cluster.Kind, cluster.Kubeconfig, cluster.APIServer)
		if cluster.Kind == plan.Real {
			fmt.Fprintf(&text, "  gateway     %s\n  prometheus  %s\n", cluster.GatewayURL, cluster.PrometheusURL)
		}
		if cluster.NginxURL != "" {
			fmt.Fprintf(&text, "  nginx       %s\n", cluster.NginxURL)
		}
		if cluster.ContourURL != "" {
			fmt.Fprintf(&text, "  contour     %s\n", cluster.ContourURL)
		}
	}
	return text.String()
}

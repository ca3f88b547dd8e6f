// Package network makes what connects the clusters of a lab: a bridge on the host, and per cluster a network
// namespace with one link to the bridge.
//
// There is no default route, no forwarding and no address translation on the host's side, so that nothing a lab
// sends can leave the machine.
package network

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"bellwether.local/lab/internal/plan"
)

// Namespace is the name of a cluster's network namespace.
func Namespace(lab, cluster string) string { return "bw-" + lab + "-" + cluster }

// NamespaceFile is where a cluster's network namespace can be entered.
func NamespaceFile(lab, cluster string) string {
	return filepath.Join("/run/netns", Namespace(lab, cluster))
}

func run(input string, name string, args ...string) error {
	command := exec.Command(name, args...)
	command.Stdin = strings.NewReader(input)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(output.String()))
	}
	return nil
}

// Create makes the bridge and the namespaces of all clusters.
func Create(lab string, network plan.Network, clusters []plan.Cluster) error {
	// Without a fixed hardware address the bridge takes over the lowest of its ports', and changes it when a port
	// is added: the clusters that are already there would talk to the old one for a while.
	bridge := fmt.Sprintf("link add %[1]s address 02:00:c6:%02[2]x:00:01 type bridge stp_state 0\n"+
		"addr add %[3]s/16 dev %[1]s\nlink set %[1]s up\n", network.Bridge(), int(network), network.BridgeAddress())
	if err := run(bridge, "ip", "-batch", "-"); err != nil {
		return err
	}
	for _, cluster := range clusters {
		if err := createNamespace(lab, network, cluster); err != nil {
			return fmt.Errorf("network of %s: %w", cluster.Name, err)
		}
	}
	return nil
}

func createNamespace(lab string, network plan.Network, cluster plan.Cluster) error {
	namespace, link := Namespace(lab, cluster.Name), network.Link(cluster.Name)
	outside := fmt.Sprintf("netns add %[1]s\nlink add %[2]s type veth peer name eth0 netns %[1]s\n"+
		"link set %[2]s master %[3]s up\n", namespace, link, network.Bridge())
	if err := run(outside, "ip", "-batch", "-"); err != nil {
		return err
	}
	// The route lets processes of the cluster that are not pods reach Services: it makes the packets pass
	// kube-proxy's rules, which have no address of that range on any interface.
	inside := fmt.Sprintf("link set lo up\naddr add %s/16 dev eth0\nlink set eth0 up\nroute add %s dev lo\n",
		cluster.Node, plan.ServiceRange)
	if err := run(inside, "ip", "-netns", namespace, "-batch", "-"); err != nil {
		return err
	}
	return configureNamespace(NamespaceFile(lab, cluster.Name))
}

// configureNamespace lets the cluster forward between its pods, and hides pod addresses behind the node's towards the
// bridge. Doing the latter by one rule here, and not by the CNI plugin per pod, makes pods start faster and needs no
// iptables.
func configureNamespace(file string) error {
	const forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
	if err := run("", "nsenter", "--net="+file, "sh", "-ec", forward); err != nil {
		return err
	}
	rules := fmt.Sprintf("table ip lab {\n chain postrouting {\n  type nat hook postrouting priority 110; policy accept;\n"+
		"  ip saddr %[1]s ip daddr != %[1]s oifname \"eth0\" masquerade\n }\n}\n", plan.PodRange)
	return run(rules, "nsenter", "--net="+file, "nft", "-f", "-")
}

// Remove deletes the namespaces of a lab and its bridge; what is not there is no error.
func Remove(lab string, network plan.Network) error {
	files, _ := filepath.Glob(NamespaceFile(lab, "*"))
	for _, file := range files {
		name := filepath.Base(file)
		if !belongsTo(name, lab) {
			continue
		}
		if err := run("", "ip", "netns", "delete", name); err != nil {
			return err
		}
	}
	links, _ := filepath.Glob("/sys/class/net/" + network.Bridge() + "-*")
	for _, link := range append(links, "/sys/class/net/"+network.Bridge()) {
		if _, err := os.Stat(link); err != nil {
			continue
		}
		// A link also goes by itself, a moment after its namespace.
		if err := run("", "ip", "link", "delete", filepath.Base(link)); err != nil {
			if _, gone := os.Stat(link); gone == nil {
				return err
			}
		}
	}
	return nil
}

// belongsTo tells the namespaces of lab "a" from those of a lab "a-b".
func belongsTo(namespace, lab string) bool {
	cluster := strings.TrimPrefix(namespace, Namespace(lab, ""))
	return cluster != namespace && !strings.Contains(cluster, "-")
}

// SetLink cuts a cluster off (up = false) or connects it again.
func SetLink(network plan.Network, cluster string, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	return run("", "ip", "link", "set", network.Link(cluster), state)
}

// LinkIsUp tells whether the cluster is connected.
func LinkIsUp(network plan.Network, cluster string) bool {
	state, err := os.ReadFile("/sys/class/net/" + network.Link(cluster) + "/operstate")
	return err == nil && strings.TrimSpace(string(state)) == "up"
}

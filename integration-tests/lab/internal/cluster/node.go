package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/plan"
)

// PauseImage is the image of every pod's sandbox.
const PauseImage = "bellwether.local/pause:1"

// containerdConfig gives containerd folders and a socket of the cluster's own. Network namespaces of pods go there
// too: in their usual place those of two labs could not be told apart when one is stopped.
const containerdConfig = `version = 2
root = "%[1]s/containerd"
state = "%[1]s/containerd-state"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "%[2]s"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[3]s"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`

// cniConfig links every pod to the node by a pair of its own. On a common bridge, an answer from one pod to another
// would bypass the rules that translated the Service address, unless the kernel filters bridged packets.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "%[1]s",
  "plugins": [{
    "type": "ptp",
    "ipMasq": false,
    "ipam": {
      "type": "host-local",
      "dataDir": "%[2]s/cni-data",
      "ranges": [[{"subnet": "%[3]s"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`

func (c *Cluster) startContainerd(context.Context) error {
	network := CNINetwork(c.Lab.Name, c.Name)
	if _, err := c.write("cni/10-lab.conflist", fmt.Sprintf(cniConfig, network, c.Directory(), plan.PodRange)); err != nil {
		return err
	}
	socket := ContainerdSocket(c.Lab.Directory, c.Name)
	config, err := c.write("containerd.toml", fmt.Sprintf(containerdConfig, c.Directory(), socket, PauseImage))
	if err != nil {
		return err
	}
	_, err = c.start("/usr/bin/containerd", []string{"--config", config})
	return err
}

// importImages waits for containerd, which started along with the control plane, and gives it the lab's images.
func (c *Cluster) importImages(ctx context.Context) error {
	socket := ContainerdSocket(c.Lab.Directory, c.Name)
	err := c.wait(ctx, "containerd", nil, func(context.Context) (bool, error) {
		connection, err := net.DialTimeout("unix", socket, time.Second)
		if err == nil {
			connection.Close()
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	return ImportImages(ctx, socket, c.Images)
}

// ImportImages imports an archive where the kubelet looks for images.
func ImportImages(ctx context.Context, socket, archive string) error {
	var output bytes.Buffer
	command := exec.CommandContext(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive)
	command.Stdout, command.Stderr = &output, &output
	if err := command.Run(); err != nil {
		return fmt.Errorf("import of %s: %w: %s", archive, err, output.String())
	}
	return nil
}

const kubeletFile = "kubelet.yaml"

// kubeletConfig: control groups per pod class, node reservations and disk eviction are what a kubelet does to a
// machine of its own; here several kubelets share one with everything else. Images are never collected, because
// there is no registry to pull them from again.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %[1]s/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: %[1]s/pki/kubelet.crt
tlsPrivateKeyFile: %[1]s/pki/kubelet.key
containerRuntimeEndpoint: unix://%[2]s
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failSwapOn: false
localStorageCapacityIsolation: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
evictionHard: {memory.available: 50Mi, nodefs.available: 1%%, nodefs.inodesFree: 1%%, imagefs.available: 1%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
maxPods: 200
podLogsDir: %[1]s/pod-logs
volumePluginDir: %[1]s/volume-plugins
resolvConf: %[1]s/resolv.conf
clusterDomain: cluster.local
kubeAPIQPS: 200
kubeAPIBurst: 400
`

// proxyConfig leaves the machine's connection tracking settings as they are: they are not the cluster's.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %[1]s
clusterCIDR: %[2]s
clientConnection: {kubeconfig: %[3]s/proxy.kubeconfig}
bindAddress: 0.0.0.0
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
`

func (c *Cluster) startNode(ctx context.Context) error {
	if _, err := c.write("resolv.conf", "# There is no cluster DNS: pods use addresses.\n"); err != nil {
		return err
	}
	// The kubelet refuses volumes and pods whose folders lie below one that others cannot pass through.
	if err := os.MkdirAll(c.path("kubelet"), 0o755); err != nil {
		return err
	}
	socket := ContainerdSocket(c.Lab.Directory, c.Name)
	if _, err := c.write(kubeletFile, fmt.Sprintf(kubeletConfig, c.Directory(), socket)); err != nil {
		return err
	}
	if err := c.importImages(ctx); err != nil {
		return err
	}
	if err := c.startKubelet(); err != nil {
		return err
	}
	// kube-proxy asks for the node's address and, when it is not there yet, waits long before it asks again.
	log.Progress("%s: waiting for the kubelet to register", c.Name)
	err := c.wait(ctx, "the kubelet to register", c.keepKubelet, func(ctx context.Context) (bool, error) {
		_, err := c.client.Do(ctx, "GET", "/api/v1/nodes/"+c.Name, "", nil)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	config, err := c.write("kube-proxy.yaml", fmt.Sprintf(proxyConfig, c.Name, plan.PodRange, c.Directory()))
	if err != nil {
		return err
	}
	_, err = c.start("kube-proxy", []string{"--config=" + config})
	return err
}

func (c *Cluster) startKubelet() (err error) {
	c.kubeletStarts++
	c.kubelet, err = c.start("kubelet", []string{
		"--config=" + c.path(kubeletFile),
		"--kubeconfig=" + c.path("node.kubeconfig"),
		"--root-dir=" + c.path("kubelet"),
		"--cert-dir=" + c.path("kubelet/pki"),
		"--hostname-override=" + c.Name,
		"--node-ip=" + c.Node.String(),
	})
	return err
}

// keepKubelet starts the kubelet again when it has ended, a few times. Kubelets keep the socket for device plugins at
// a fixed place, and two that start in the same instant can meet there: then one of them gives up.
func (c *Cluster) keepKubelet() error {
	err := running(c.kubelet)()
	if err == nil || c.kubeletStarts >= 3 {
		return err
	}
	log.Progress("%s: %v; starting it again", c.Name, err)
	return c.startKubelet()
}

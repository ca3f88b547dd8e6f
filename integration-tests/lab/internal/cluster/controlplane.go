package cluster

import (
	"context"
	"net"
	"net/http"
	"time"

	"bellwether.local/lab/internal/kube"
	"bellwether.local/lab/internal/log"
	"bellwether.local/lab/internal/pki"
	"bellwether.local/lab/internal/plan"
	"bellwether.local/lab/internal/process"
)

// clients are the client certificates of a cluster: file, user, group.
var clients = [][3]string{
	{"admin", "lab-admin", "system:masters"},
	{"controller-manager", "system:kube-controller-manager", ""},
	{"scheduler", "system:kube-scheduler", ""},
	{"proxy", "system:kube-proxy", ""},
	{"apiserver-kubelet", "lab-apiserver-kubelet", "system:masters"},
}

func (c *Cluster) makeCredentials() error {
	authority, err := pki.NewAuthority(c.path("pki"), c.Name)
	if err != nil {
		return err
	}
	c.authority = authority
	node := [3]string{"node", "system:node:" + c.Name, "system:nodes"}
	for _, client := range append([][3]string{node}, clients...) {
		if err := authority.Client(client[0], client[1], client[2]); err != nil {
			return err
		}
		kubeconfig := c.path(client[0] + ".kubeconfig")
		if client[0] == "admin" {
			kubeconfig = c.path("kubeconfig")
		}
		if err := authority.Kubeconfig(kubeconfig, c.Name, c.server(), client[0]); err != nil {
			return err
		}
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	addresses := []string{"127.0.0.1", c.Node.String(), plan.FirstServiceAddress}
	if err := authority.Server("apiserver", names, addresses); err != nil {
		return err
	}
	if err := authority.Server("kubelet", []string{c.Name}, []string{c.Node.String()}); err != nil {
		return err
	}
	if err := authority.SigningKey("service-account"); err != nil {
		return err
	}
	c.client, err = kube.New(c.server(), authority.Path("ca.crt"), authority.Path("admin.crt"), authority.Path("admin.key"))
	return err
}

func (c *Cluster) startControlPlane(ctx context.Context) error {
	etcd, err := c.startEtcd(ctx)
	if err != nil {
		return err
	}
	if err := c.writeAuditPolicy(); err != nil {
		return err
	}
	apiserver, err := c.start("kube-apiserver", append(c.apiserverArgs(), c.auditArgs()...))
	if err != nil {
		return err
	}
	log.Progress("%s: waiting for the API server", c.Name)
	err = c.wait(ctx, "the API server", running(etcd, apiserver), func(ctx context.Context) (bool, error) {
		_, err := c.client.Do(ctx, http.MethodGet, "/readyz", "", nil)
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if _, err := c.start("kube-controller-manager", c.controllerManagerArgs()); err != nil {
		return err
	}
	_, err = c.start("kube-scheduler", []string{
		"--kubeconfig=" + c.path("scheduler.kubeconfig"),
		"--authentication-kubeconfig=" + c.path("scheduler.kubeconfig"),
		"--authorization-kubeconfig=" + c.path("scheduler.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
	})
	return err
}

// startEtcd listens on loopback alone: that of the cluster's namespace, so that neither pods nor other clusters
// reach it and every cluster can use the same port.
func (c *Cluster) startEtcd(ctx context.Context) (*process.Process, error) {
	etcd, err := c.start("etcd", []string{
		"--name=lab",
		"--data-dir=" + c.path("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379,unix://" + c.path("etcd.sock"),
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=lab=http://127.0.0.1:2380",
		// Nothing of a lab is kept, and syncing is what etcd spends its time on.
		"--unsafe-no-fsync",
		"--log-level=warn",
	})
	if err != nil {
		return nil, err
	}
	return etcd, c.wait(ctx, "etcd", running(etcd), func(context.Context) (bool, error) {
		connection, err := net.DialTimeout("unix", c.path("etcd.sock"), time.Second)
		if err == nil {
			connection.Close()
		}
		return err == nil, err
	})
}

func (c *Cluster) apiserverArgs() []string {
	key := c.authority.Path
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		// Without a default route there is nothing to guess the address from.
		"--advertise-address=" + c.Node.String(),
		"--bind-address=0.0.0.0",
		"--secure-port=6443",
		"--client-ca-file=" + key("ca.crt"),
		"--tls-cert-file=" + key("apiserver.crt"),
		"--tls-private-key-file=" + key("apiserver.key"),
		"--kubelet-client-certificate=" + key("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + key("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file=" + key("service-account.pub"),
		"--service-account-signing-key-file=" + key("service-account.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range=" + plan.ServiceRange,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		// Webhooks are dialled by endpoint: the API server may be up before kube-proxy is.
		"--enable-aggregator-routing=true",
		"--profiling=false",
	}
}

func (c *Cluster) controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + c.path("controller-manager.kubeconfig"),
		"--authentication-kubeconfig=" + c.path("controller-manager.kubeconfig"),
		"--authorization-kubeconfig=" + c.path("controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--root-ca-file=" + c.authority.Path("ca.crt"),
		"--service-account-private-key-file=" + c.authority.Path("service-account.key"),
		"--cluster-signing-cert-file=" + c.authority.Path("ca.crt"),
		"--cluster-signing-key-file=" + c.authority.Path("ca.key"),
		"--use-service-account-credentials=true",
		"--service-cluster-ip-range=" + plan.ServiceRange,
		// The default of 20 requests per second makes a rollout of many pods wait for the client, not the cluster.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	}
}

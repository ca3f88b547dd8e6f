// Package plan says which addresses and names the parts of a lab have.
//
// Every lab owns one /16 of 198.18.0.0/15, the range set aside for benchmarks inside a machine, so that nothing of
// a lab can be mistaken for an address of the outside world. All clusters use the same service and pod ranges: each
// has a network namespace of its own.
package plan

import (
	"fmt"
	"net/netip"
)

const (
	// ServiceRange is the range of Service addresses of every cluster.
	ServiceRange = "10.96.0.0/16"
	// FirstServiceAddress is the address of the Service `kubernetes` in every cluster.
	FirstServiceAddress = "10.96.0.1"
	// PodRange is the range of pod addresses of every cluster.
	PodRange = "10.244.0.0/16"

	// MaximumReal and MaximumControlPlane are how many clusters the address plan has room for.
	MaximumReal         = 80
	MaximumControlPlane = 140

	firstRealHost         = 10
	firstControlPlaneHost = 100
)

// Kind says whether a cluster runs pods or only simulates them.
type Kind string

const (
	// Real clusters have a kubelet, containerd and pods.
	Real Kind = "real"
	// ControlPlane clusters have kwok in place of nodes.
	ControlPlane Kind = "control-plane"
)

// Network is one of the two address ranges a lab can have: the second number of its addresses.
type Network int

// Networks are the ranges there are.
var Networks = []Network{18, 19}

// ReservedNetworks are the ranges that belong to a lab of a certain name, so that the demo and the tests can always
// run at the same time.
var ReservedNetworks = map[string]Network{"demo": 18, "test": 19}

// Prefix is the range itself, as in 198.18.0.0/16.
func (n Network) Prefix() netip.Prefix {
	return netip.PrefixFrom(n.address(0, 0), 16)
}

// BridgeAddress is the host's own address in the range, which every pod of the lab reaches.
func (n Network) BridgeAddress() netip.Addr { return n.address(0, 1) }

// Bridge is the name of the bridge on the host.
func (n Network) Bridge() string { return fmt.Sprintf("bw%d", int(n)) }

// Link is the name of the host's end of a cluster's link; taking it down cuts the cluster off.
func (n Network) Link(cluster string) string { return fmt.Sprintf("bw%d-%s", int(n), cluster) }

func (n Network) address(third, fourth byte) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(n), third, fourth})
}

// Choose picks the range of a lab, given which lab holds which range now.
func Choose(lab string, held map[Network]string) (Network, error) {
	for network, holder := range held {
		if holder == lab {
			return network, nil
		}
	}
	if reserved, ok := ReservedNetworks[lab]; ok {
		if holder, taken := held[reserved]; taken {
			return 0, fmt.Errorf("the network %s of lab %q is held by lab %q: stop it with `lab down --name %s`",
				reserved.Prefix(), lab, holder, holder)
		}
		return reserved, nil
	}
	for _, network := range Networks {
		if _, taken := held[network]; !taken {
			return network, nil
		}
	}
	return 0, fmt.Errorf("both networks are taken, by the labs %q and %q: stop one of them with `lab down --name …`",
		held[Networks[0]], held[Networks[1]])
}

// Cluster is the plan of one cluster.
type Cluster struct {
	Name string
	Kind Kind
	Node netip.Addr
}

// Clusters plans the clusters c1… (real) and k1… (control plane) of a lab.
func Clusters(network Network, real, controlPlane int) ([]Cluster, error) {
	if real < 0 || controlPlane < 0 || real+controlPlane == 0 {
		return nil, fmt.Errorf("a lab needs at least one cluster: give --real or --control-plane")
	}
	if real > MaximumReal || controlPlane > MaximumControlPlane {
		return nil, fmt.Errorf("at most %d real and %d control-plane clusters fit one lab", MaximumReal, MaximumControlPlane)
	}
	clusters := make([]Cluster, 0, real+controlPlane)
	for i := 1; i <= real; i++ {
		clusters = append(clusters, Cluster{fmt.Sprintf("c%d", i), Real, network.address(0, byte(firstRealHost+i))})
	}
	for i := 1; i <= controlPlane; i++ {
		clusters = append(clusters, Cluster{fmt.Sprintf("k%d", i), ControlPlane, network.address(0, byte(firstControlPlaneHost+i))})
	}
	return clusters, nil
}

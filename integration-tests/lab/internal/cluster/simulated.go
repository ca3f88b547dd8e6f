package cluster

import (
	"context"
	"fmt"

	"bellwether.local/lab/internal/build"
)

const simulatedNode = `apiVersion: v1
kind: Node
metadata:
  name: %[1]s
  annotations: {node.alpha.kubernetes.io/ttl: "0", kwok.x-k8s.io/node: fake}
  labels:
    type: kwok
    kubernetes.io/hostname: %[1]s
    kubernetes.io/os: linux
    kubernetes.io/arch: amd64
`

const simulatedNodeStatus = `apiVersion: v1
kind: Node
metadata: {name: %[1]s}
status:
  allocatable: {cpu: "64", memory: 256Gi, pods: "1000"}
  capacity: {cpu: "64", memory: 256Gi, pods: "1000"}
  nodeInfo:
    architecture: amd64
    operatingSystem: linux
    kubeletVersion: kwok
    bootID: ""
    containerRuntimeVersion: ""
    kernelVersion: ""
    kubeProxyVersion: ""
    machineID: ""
    osImage: ""
    systemUUID: ""
`

// startSimulatedNodes registers nodes that do not exist and lets kwok play them.
func (c *Cluster) startSimulatedNodes(ctx context.Context) error {
	for i := 1; i <= c.Settings.KwokNodes; i++ {
		name := fmt.Sprintf("%s-node-%d", c.Name, i)
		path := "/api/v1/nodes/" + name
		if err := c.client.Apply(ctx, path, fmt.Sprintf(simulatedNode, name)); err != nil {
			return err
		}
		if err := c.client.Apply(ctx, path+"/status", fmt.Sprintf(simulatedNodeStatus, name)); err != nil {
			return err
		}
	}
	kwok, err := c.start("kwok", []string{
		"--kubeconfig=" + c.path("kubeconfig"),
		"--config=" + c.Output.File(build.KwokStages),
		"--manage-all-nodes=true",
		"--node-ip=" + c.Node.String(),
		"--cidr=10.244.0.1/16",
		"--node-lease-duration-seconds=40",
	})
	if err != nil {
		return err
	}
	return c.waitForNodes(c.Settings.KwokNodes, running(kwok))(ctx)
}

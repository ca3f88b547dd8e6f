package cluster

import "os"

// auditPolicy records who made each request, without bodies, but for the cluster's own components: what is left is
// agents and people, whose identity tests look at.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver", "system:kube-scheduler", "system:kube-controller-manager", "system:kube-proxy"]
- level: None
  userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/metrics"]
- level: Metadata
`

// writeAuditPolicy writes the policy where the API server reads it.
func (c *Cluster) writeAuditPolicy() error {
	return os.WriteFile(c.path("audit-policy.yaml"), []byte(auditPolicy), 0o600)
}

// auditArgs are the API server's arguments for the audit log.
func (c *Cluster) auditArgs() []string {
	return []string{
		"--audit-policy-file=" + c.path("audit-policy.yaml"),
		"--audit-log-path=" + c.path("log", "audit.log"),
		"--audit-log-maxsize=200",
		"--audit-log-maxbackup=1",
	}
}

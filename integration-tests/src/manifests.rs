//! The documents of the demo application, as a user would write them.

use std::fmt::Write as _;

/// What varies between applications of tests.
#[derive(Clone, Debug)]
pub struct Shop {
    /// Namespace in the member clusters, and the application's name.
    pub name: String,
    /// The image's tag: `v1`, `v2`, …
    pub version: String,
    /// Pods.
    pub replicas: u32,
    /// Seconds of the pods' preStop sleep; 0 = no hook at all.
    pub pre_stop_seconds: u32,
    /// The strategy, as YAML on one line.
    pub strategy: String,
    /// The analysis, as YAML on one line; empty = none.
    pub analysis: String,
    /// What deleting the Rollout does to its run; empty = nothing is written.
    pub on_deletion: String,
    /// The progress deadline.
    pub progress_deadline: String,
    /// The waves, as YAML on one line; empty = none.
    pub waves: String,
    /// Which clusters: the destination, as YAML on one line.
    pub destination: String,
    /// The Rollout's traffic providers, as YAML on one line.
    pub traffic: String,
    /// The objects that lead to the Service, as JSON; empty = an HTTPRoute for [`Self::host`].
    pub routes: Vec<serde_json::Value>,
    /// Further environment variables of the container.
    pub environment: Vec<(String, String)>,
    /// What ConfigMap `web` and Secret `web` hold, which the container takes into its environment;
    /// empty = there are none.
    pub config: Vec<(String, String)>,
    /// Further objects.
    pub objects: Vec<serde_json::Value>,
    /// Further lines for the Application's spec, two spaces deep.
    pub extra: String,
    /// Further lines for the Rollout's spec, two spaces deep.
    pub extra_rollout: String,
}

impl Shop {
    /// Makes an application of five pods that goes 20, 40, 60 in three clusters and two waves.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "v1".to_owned(),
            replicas: 5,
            pre_stop_seconds: 3,
            strategy: "{canary: {weights: [20, 40, 60]}}".to_owned(),
            analysis: METRICS.to_owned(),
            on_deletion: String::new(),
            progress_deadline: "120s".to_owned(),
            waves:
                "[{name: canary, selector: {matchLabels: {tier: canary}}, after: [{soak: 3s}]}, \
                    {name: rest, maxConcurrent: 2}]"
                    .to_owned(),
            destination: "{fleet: quickstart}".to_owned(),
            traffic: "[{gatewayApi: {httpRoutes: [web]}}]".to_owned(),
            routes: Vec::new(),
            environment: Vec::new(),
            config: Vec::new(),
            objects: Vec::new(),
            extra: String::new(),
            extra_rollout: String::new(),
        }
    }

    /// Returns the same application with another version.
    #[must_use]
    pub fn version(&self, version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..self.clone()
        }
    }

    /// The host that its route answers to.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.demo.example", self.name)
    }

    /// Returns the Application, with its Rollout as a document of its own.
    #[must_use]
    pub fn documents(&self) -> String {
        let mut text = format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
             metadata: {{name: {name}, namespace: default}}\nspec:\n  destination: {destination}\n  \
             targetNamespace: {name}\n",
            name = self.name,
            destination = self.destination,
        );
        if !self.waves.is_empty() {
            let _infallible = writeln!(text, "  waves: {}", self.waves);
        }
        text.push_str(&self.extra);
        text.push_str("  components:\n  - name: web\n    manifests:\n");
        for manifest in self.manifests() {
            let _infallible = writeln!(text, "    - {manifest}");
        }
        let _infallible = write!(text, "---\n{}", self.rollout());
        text
    }

    /// Returns the Rollout alone.
    #[must_use]
    pub fn rollout(&self) -> String {
        let mut text = format!(
            "apiVersion: bellwether.dev/v1alpha1\nkind: Rollout\n\
             metadata: {{name: {name}-web, namespace: default}}\nspec:\n  application: {name}\n  \
             workload: {{apiVersion: apps/v1, kind: Deployment, namespace: {name}, name: web}}\n  \
             service: {{name: web, port: 80}}\n  strategy: {strategy}\n  \
             traffic: {traffic}\n  progressDeadline: {deadline}\n",
            name = self.name,
            strategy = self.strategy,
            traffic = self.traffic,
            deadline = self.progress_deadline,
        );
        if !self.on_deletion.is_empty() {
            let _infallible = writeln!(text, "  onDeletion: {}", self.on_deletion);
        }
        if !self.analysis.is_empty() {
            let _infallible = writeln!(text, "  analysis: {}", self.analysis);
        }
        text.push_str(&self.extra_rollout);
        text
    }

    /// Returns the objects as JSON, which is YAML too.
    #[must_use]
    pub fn manifests(&self) -> Vec<serde_json::Value> {
        let mut environment: Vec<serde_json::Value> = self
            .environment
            .iter()
            .map(|(name, value)| serde_json::json!({"name": name, "value": value}))
            .collect();
        // One variable is always there, so that an edit of the list is a change like any other.
        environment.push(serde_json::json!({"name": "DEMO_GREETING", "value": "hello"}));
        let mut container = serde_json::json!({
            "name": "web",
            "image": format!("bellwether.local/demo:{}", self.version),
            "imagePullPolicy": "Never",
            "env": environment,
            "ports": [{"name": "http", "containerPort": 8080}],
            // A kubelet that waits for a core is no pod that does not answer.
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1,
                "timeoutSeconds": 5},
        });
        if self.pre_stop_seconds > 0 {
            container["lifecycle"] =
                serde_json::json!({"preStop": {"sleep": {"seconds": self.pre_stop_seconds}}});
        }
        let mut more = self.objects.clone();
        if !self.config.is_empty() {
            container["envFrom"] = serde_json::json!([
                {"configMapRef": {"name": "web"}}, {"secretRef": {"name": "web"}}]);
            more.extend(self.configuration());
        }
        let labels = serde_json::json!({"app": "web"});
        let mut manifests = vec![
            serde_json::json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": self.name, "labels": labels},
                "spec": {
                    "replicas": self.replicas,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"terminationGracePeriodSeconds": 10, "containers": [container]},
                    },
                },
            }),
            serde_json::json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": self.name},
                "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
            }),
        ];
        if self.routes.is_empty() {
            manifests.push(serde_json::json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "metadata": {"name": "web", "namespace": self.name},
                "spec": {
                    "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
                    "hostnames": [self.host()],
                    "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
                },
            }));
        }
        manifests.extend(self.routes.iter().cloned());
        manifests.extend(more);
        manifests
    }

    /// The ConfigMap and the Secret. The Secret holds the same under names of its own.
    fn configuration(&self) -> [serde_json::Value; 2] {
        let metadata = serde_json::json!({"name": "web", "namespace": self.name});
        let held = |prefix: &str| -> serde_json::Map<String, serde_json::Value> {
            self.config
                .iter()
                .map(|(name, value)| (format!("{prefix}{name}"), value.clone().into()))
                .collect()
        };
        [
            serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
                "data": held("")}),
            serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
                "type": "Opaque", "stringData": held("SECRET_")}),
        ]
    }
}

/// Success rate and latency from each cluster's Prometheus, checked every two seconds. The latency
/// is measured, and its limit is wide: tests share two cores with whatever else runs.
pub const METRICS: &str = "{interval: 2s, failureThreshold: 2, metrics: [\
    {name: request-success-rate, range: {min: \"99\"}, window: 10s, minRequests: 20}, \
    {name: request-duration, range: {max: \"5000\"}, window: 10s, minRequests: 20}]}";

/// The fleet of every registered cluster.
pub const FLEET: &str = "apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\n\
    metadata: {name: quickstart}\nspec: {selector: {matchLabels: {fleet: quickstart}}}\n";

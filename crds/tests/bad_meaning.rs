//! Fields that do not agree with each other, or with the objects beside them.

use bellwether_api::document::load;

/// The parts of an application that the tables change.
const APPLICATION: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: default}
spec:
  destination: {fleet: eu}
  waves: []
  components:
  - name: web
    rollout:
      workload: {apiVersion: apps/v1, kind: Deployment, name: web}
      service: {name: web, port: 80}
      traffic: [{gatewayApi: {httpRoutes: [web]}}]
      strategy: {canary: {stepWeight: 10}}
      analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}
    manifests:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec: {template: {metadata: {labels: {app: web, tier: front}}}}
    - {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{name: http, port: 80}]}}
    - apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: web}
      spec: {rules: [{backendRefs: [{name: web, port: 80}]}]}
";

/// Replaces texts of the application and compares the errors, paths without `in.yaml:`.
#[track_caller]
fn check(changes: &[(&str, &str)], expected: &[&str]) {
    let mut text = APPLICATION.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    let errors: Vec<String> = errors
        .iter()
        .map(|error| error.to_string().trim_start_matches("in.yaml:").to_owned())
        .collect();
    assert_eq!(errors, expected);
}

#[test]
fn the_application_itself_is_right() {
    check(&[], &[]);
}

#[test]
fn names() {
    check(
        &[
            (
                "name: shop, namespace: default",
                "name: My_Shop, namespace: Default",
            ),
            ("fleet: eu", "fleet: eu-, clusters: [a, \"\", a]"),
            ("- name: web\n", "- name: web\n    targetNamespace: -x\n"),
        ],
        &[
            "3:12 metadata.name: \"My_Shop\" is no name; use a-z, 0-9 and -, with a letter or digit \
             at both ends; did you mean \"my-shop\"?",
            "3:27 metadata.namespace: \"Default\" is no name; use a-z, 0-9 and -, with a letter or \
             digit at both ends; did you mean \"default\"?",
            "5:17 spec.destination.fleet: \"eu-\" is no name; use a-z, 0-9 and -, with a letter or \
             digit at both ends",
            "5:43 spec.destination.clusters[1]: a name is empty",
            "5:47 spec.destination.clusters[2]: \"a\" stands here twice; the first is at index 0",
            "9:5 spec.components[0].targetNamespace: \"-x\" is no name; use a-z, 0-9 and -, with a \
             letter or digit at both ends",
        ],
    );
    check(
        &[(
            "metadata: {name: shop, namespace: default}",
            "metadata: {name: shop, labels: {-a: b, c: ' '}}",
        )],
        &[
            "3:33 metadata.labels.-a: no valid label key",
            "3:40 metadata.labels.c: no valid label value; at most 63 letters, digits, -, _ and ., \
             with a letter or digit at both ends",
        ],
    );
}

#[test]
fn destinations_and_components() {
    check(
        &[("{fleet: eu}", "{}")],
        &["5:3 spec.destination: set at least one of fleet, selector, clusters"],
    );
    check(
        &[(
            "  - name: web\n",
            "  - name: web\n    manifests: []\n  - name: empty\n  - name: web\n",
        )],
        &[
            "9:5 spec.components[0].manifests: the component has no objects",
            "10:5 spec.components[1]: a component has exactly one source: manifests, helm, git, oci, \
             kustomize",
            "11:5 spec.components[2].name: two components are named \"web\"; the first is \
             components[0]",
        ],
    );
}

#[test]
fn waves_and_gates() {
    check(
        &[(
            "waves: []",
            "waves:
  - {name: one, clusters: [a, b], maxConcurrent: 0, maxFailures: 120%, after: [{soak: 0s}]}
  - {name: two, maxConcurrent: 101%, before: [{approval: {by: [x], count: 2}}, {approval: {count: 0}}]}
  - {name: one, clusters: [c, a], selector: {matchExpressions: [{key: a, operator: In}, {key: b, operator: Exists, values: [x]}]}}
  - {name: rest}",
        )],
        &[
            "7:35 spec.waves[0].maxConcurrent: 0 would never start a cluster; use at least 1",
            "7:53 spec.waves[0].maxFailures: a share is at most 100%",
            "7:81 spec.waves[0].after[0].soak: a soak of 0s waits for nothing; leave it out",
            "8:5 spec.waves[1]: wave \"two\" has no selector, clusters or percent, which only the \
             last wave may: it takes every cluster of no earlier wave",
            "8:17 spec.waves[1].maxConcurrent: a share is at most 100%",
            "8:68 spec.waves[1].before[0].approval.count: 2 must approve and only 1 may",
            "8:92 spec.waves[1].before[1].approval.count: an approval by nobody is no gate; use at \
             least 1",
            "9:6 spec.waves[2].name: two waves are named \"one\"; the first is waves[0]",
            "9:31 spec.waves[2].clusters[1]: cluster \"a\" is in wave \"one\" already",
            "9:65 spec.waves[2].selector.matchExpressions[0].values: In needs at least one value",
            "9:116 spec.waves[2].selector.matchExpressions[1].values: Exists takes no values",
        ],
    );
}

#[test]
fn strategies() {
    for (canary, expected) in [
        (
            "{}",
            &[
                "spec.components[0].rollout.strategy.canary: exactly one of stepWeight, weights, steps, manual must be set",
            ][..],
        ),
        (
            "{stepWeight: 0, weights: [0, 20, 20, 10], maxWeight: 0, stepWeightPromotion: 0}",
            &[
                "stepWeight: use at least 1",
                "weights: exactly one of stepWeight, weights, steps, manual may be set, found stepWeight and weights",
                "weights[0]: the first weight is above 0",
                "weights[2]: weights rise strictly; 20 follows 20",
                "weights[3]: weights rise strictly; 10 follows 20",
                "maxWeight: use at least 1",
                "stepWeightPromotion: use at least 1",
            ],
        ),
        (
            "{weights: [10], maxWeight: 50, advance: After}",
            &[
                "maxWeight: maxWeight ends the form stepWeight, which is not set",
                "advance: After needs a time and stands on single steps; use Auto or Manual here",
            ],
        ),
        (
            "{steps: [{weight: 0}, {weight: 10, replicas: 0, advance: After}, {weight: 20, replicas: 101%, after: 1m}, {name: a, weight: 30}, {name: a, weight: 40}]}",
            &[
                "steps[0].weight: a step has a weight above 0, or a match, a mirror or replicas",
                "steps[1].replicas: a step that takes traffic has at least 1 pod",
                "steps[1].advance: After needs a time; set after",
                "steps[2].replicas: a share is at most 100%",
                "steps[2].after: after is used with advance: After only",
                "steps[4].name: two steps are named \"a\"",
            ],
        ),
    ] {
        let text = APPLICATION.replace("{stepWeight: 10}", canary);
        let errors = load("in.yaml", text.as_bytes()).expect_err(canary);
        let errors: Vec<String> = errors
            .iter()
            .map(|error| format!("{}: {}", error.path, error.message))
            .map(|text| text.replace("spec.components[0].rollout.strategy.canary.", ""))
            .collect();
        assert_eq!(errors, expected, "{canary}");
    }
}

#[test]
fn metrics() {
    check(
        &[
            (
                "analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}",
                "analysis:
        interval: 500ms
        metrics:
        - {name: request-sucess-rate, range: {}}
        - {name: request-success-rate, range: {min: \"101\", max: \"100\"}, window: 2s, aggregation: P99}
        - {name: request-duration, range: {max: \"-1\"}, source: {type: Probe, address: 'http://x'}}
        - {name: request-duration, range: {max: \"1\"}, source: {type: Prometheus, address: 'prometheus:9090'}}",
            ),
            ("strategy:", "progressDeadline: 100ms\n      instances: {minReplicas: 0}\n      strategy:"),
        ],
        &[
            "13:7 spec.components[0].rollout.progressDeadline: use at least 1s",
            "14:19 spec.components[0].rollout.instances.minReplicas: a canary without pods cannot \
             take traffic; use at least 1",
            "17:9 spec.components[0].rollout.analysis.interval: use at least 1s",
            "19:12 spec.components[0].rollout.analysis.metrics[0].name: unknown metric \
             \"request-sucess-rate\"; use one of request-success-rate, request-duration, or set \
             template or query; did you mean \"request-success-rate\"?",
            "19:39 spec.components[0].rollout.analysis.metrics[0].range: set min, max or both",
            "20:40 spec.components[0].rollout.analysis.metrics[1].range: min 101 is above max 100: \
             nothing would pass",
            "20:48 spec.components[0].rollout.analysis.metrics[1].range.min: a success rate is a \
             percentage: at most 100",
            "20:73 spec.components[0].rollout.analysis.metrics[1].window: use at least 4s: a window \
             needs four scrapes",
            "20:85 spec.components[0].rollout.analysis.metrics[1].aggregation: request-success-rate \
             is a share; an aggregation belongs to request-duration",
            "21:44 spec.components[0].rollout.analysis.metrics[2].range.max: no value of this \
             metric is below 0: nothing would pass",
            "21:78 spec.components[0].rollout.analysis.metrics[2].source.address: a Probe asks the \
             canary's pods; it has no address",
            "22:11 spec.components[0].rollout.analysis.metrics[3]: the metric \"request-duration\" \
             stands here twice",
            "22:82 spec.components[0].rollout.analysis.metrics[3].source.address: an address starts \
             with http:// or https://",
        ],
    );
}

#[test]
fn the_word_that_takes_configuration_out() {
    let track = "metadata: {name: web}\n      spec: {template";
    let note = "metadata: {name: web, annotations: {bellwether.dev/track-config: ";
    let config = "    - {apiVersion: v1, kind: Service";
    let map = |value: &str| {
        format!(
            "    - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: env, annotations: \
             {{bellwether.dev/track-config: {value}}}}}}}\n{config}"
        )
    };
    check(&[(config, &map("disabled"))], &[]);
    let path =
        "spec.components[0].manifests[1].metadata.annotations[\"bellwether.dev/track-config\"]";
    check(
        &[(config, &map("\"false\""))],
        &[&format!(
            "20:77 {path}: its only value is \"disabled\"; leave it out to track the object"
        )],
    );
    check(
        &[(
            track,
            &format!("{note}disabled}}}}\n      spec: {{template"),
        )],
        &[
            "18:43 spec.components[0].manifests[0].metadata.annotations[\"bellwether.dev/track-config\"]: \
             only a ConfigMap or a Secret is tracked; take it off this Deployment",
        ],
    );
}

#[test]
fn workloads() {
    let path = "spec.components[0].rollout";
    check(
        &[(
            "kind: Deployment, name: web}",
            "kind: Deployment, name: wbe}",
        )],
        &[&format!(
            "10:57 {path}.workload.name: Deployment default/wbe is not among the manifests of \
             component \"web\"; did you mean \"web\"?"
        )],
    );
    check(
        &[(
            "apiVersion: apps/v1, kind: Deployment, name: web}",
            "apiVersion: apps/v1, kind: StatefulSet, name: web, namespace: other}",
        )],
        &[
            &format!(
                "10:7 {path}.workload: a rollout of StatefulSet web (apps/v1) with a copy beside it is \
                 not supported by this version of Bellwether; use strategy.batch, which updates it \
                 in place"
            ),
            &format!(
                "10:58 {path}.workload.name: StatefulSet other/web is not among the manifests of \
                 component \"web\""
            ),
        ],
    );
    for (group, kind, target) in [
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "kind: Deployment, name: web",
        ),
        ("keda.sh/v1alpha1", "ScaledObject", "name: web"),
    ] {
        let object = format!(
            "manifests:\n    - {{apiVersion: {group}, kind: {kind}, metadata: {{name: scaler}}, spec: {{scaleTargetRef: {{{target}}}}}}}"
        );
        check(&[("manifests:", &object)], &[]);
        let instances = |written: &str| format!("instances: {{{written}}}\n      strategy: ");
        let named = instances(&format!("autoscaler: {{kind: {kind}, name: scaler}}"));
        check(&[("manifests:", &object), ("strategy: ", &named)], &[]);
        let other = instances(&format!("autoscaler: {{kind: {kind}, name: other}}"));
        check(
            &[("manifests:", &object), ("strategy: ", &other)],
            &[&format!(
                "13:19 {path}.instances.autoscaler: Deployment web is scaled by {kind} scaler; name \
                 that one, or leave it out"
            )],
        );
        let fixed = instances("mode: FixedTotal");
        check(
            &[
                ("manifests:", &object),
                ("strategy: ", &fixed),
                ("spec: {template", "spec: {replicas: 3, template"),
            ],
            &[&format!(
                "13:19 {path}.instances.mode: {kind} scaler scales Deployment web, whose pods \
                 FixedTotal would take; use Surge"
            )],
        );
        let twice =
            object
                .replacen("name: scaler", "name: second", 1)
                .replacen("manifests:\n", "", 1);
        check(
            &[("manifests:", &format!("{object}\n{twice}"))],
            &[&format!(
                "10:7 {path}.workload: {kind} scaler and {kind} second both scale Deployment web; \
                 leave one"
            )],
        );
    }
    check(
        &[(
            "workload: {",
            "application: shop\n      component: web\n      workload: {",
        )],
        &[
            &format!(
                "10:7 {path}.application: leave it out here: the rollout belongs to the component \
                 that it stands in"
            ),
            &format!(
                "11:7 {path}.component: leave it out here: the rollout belongs to the component \
                 that it stands in"
            ),
        ],
    );
}

#[test]
fn services_that_cannot_be_pinned() {
    let service = "spec: {selector: {app: web}, ports: [{name: http, port: 80}]}";
    let path = "spec.components[0].rollout.service";
    for (spec, expected) in [
        (
            "spec: {ports: [{port: 80}]}",
            format!("11:7 {path}: Service web cannot be pinned to one version: it has no selector"),
        ),
        (
            "spec: {type: ExternalName, externalName: example.com}",
            format!(
                "11:7 {path}: Service web cannot be pinned to one version: it is of type ExternalName"
            ),
        ),
        (
            "spec: {selector: {app: other}, ports: [{port: 80}]}",
            format!(
                "11:7 {path}: Service web does not select the pods of Deployment web: its selector wants app=other"
            ),
        ),
        (
            "spec: {selector: {app: web}, ports: [{port: 81}, {name: admin, port: 82}]}",
            format!("11:28 {path}.port: Service web has no port 80; it has 81, 82 (admin)"),
        ),
    ] {
        check(&[(service, spec)], &[&expected]);
    }
    check(
        &[
            (
                "service: {name: web, port: 80}",
                "service: {name: wbe, port: 80}",
            ),
            ("backendRefs: [{name: web", "backendRefs: [{name: wbe"),
        ],
        &[&format!(
            "11:17 {path}.name: Service default/wbe is not among the application's manifests; did \
             you mean \"web\"?"
        )],
    );
    check(
        &[("      service: {name: web, port: 80}\n", "")],
        &[
            "11:7 spec.components[0].rollout.traffic: traffic is split behind a Service; set service \
           to the one that clients use",
        ],
    );
    let text = APPLICATION.replace(
        service,
        "spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}",
    );
    let loaded = load("in.yaml", text.as_bytes()).expect("a headless Service can be pinned");
    assert_eq!(
        loaded.warnings[0].to_string(),
        "in.yaml:11:7 spec.components[0].rollout.service: Service web is headless: clients that \
         resolve pods by DNS are not moved by weights"
    );
}

#[test]
fn routes() {
    let path = "spec.components[0].rollout.traffic[0].gatewayApi.httpRoutes";
    check(
        &[("httpRoutes: [web]", "httpRoutes: [wbe, web, web]")],
        &[
            &format!(
                "12:44 {path}[0]: HTTPRoute default/wbe is not among the application's manifests; \
                 did you mean \"web\"?"
            ),
            &format!("12:54 {path}[2]: HTTPRoute \"web\" stands here twice"),
        ],
    );
    check(
        &[("backendRefs: [{name: web", "backendRefs: [{name: other")],
        &[&format!(
            "12:44 {path}[0]: HTTPRoute web has no rule whose backend is Service web"
        )],
    );
    check(
        &[("httpRoutes: [web]", "httpRoutes: []")],
        &[&format!("12:31 {path}: name at least one route")],
    );
}

#[test]
fn providers() {
    let path = "spec.components[0].rollout.traffic[0]";
    let old = "{gatewayApi: {httpRoutes: [web]}}";
    for (new, expected) in [
        (
            "{gloo: {upstream: web}}",
            format!(
                "12:17 {path}.gloo.routeTable: name the RouteTable, or the VirtualService, whose \
                 routes lead to the Service: an Upstream is what they lead to, and splits nothing"
            ),
        ),
        (
            "{gloo: {routeTable: a, virtualService: b}}",
            format!("12:17 {path}.gloo: exactly one may be set; write a second item of traffic"),
        ),
        (
            "{knative: {}}",
            format!(
                "12:17 {path}.knative: knative is not supported by this version of Bellwether: \
                 Knative makes the Deployments of its revisions itself, and splits between them; \
                 use one of alb, apisix, appMesh, contour, gatewayApi, gloo, istio, kuma, linkerd, \
                 nginx, none, skipper, traefik"
            ),
        ),
        (
            "{traefik: {service: a, ingressRoute: b}}",
            format!("12:17 {path}.traefik: exactly one may be set; write a second item of traffic"),
        ),
        (
            "{istio: {destinationRule: web}}",
            format!("12:17 {path}.istio.virtualServices: name at least one route"),
        ),
        (
            "{nginx: {ingress: web}, namespace: edge}",
            format!(
                "12:17 {path}.nginx.ingress: Ingress names Services of its own namespace only; \
                 leave namespace out"
            ),
        ),
        (
            "{nginx: {ingress: web}, rules: [0, 0]}",
            format!("12:17 {path}.rules[1]: rule 0 stands here twice"),
        ),
        (
            "{ingress: web}",
            format!("12:17 {path}.ingress: unknown field; did you mean \"nginx\"?"),
        ),
        (
            "{kuma: {meshService: other}}",
            format!(
                "12:17 {path}.kuma.meshService: the MeshService of the rollout's Service is \"web\""
            ),
        ),
        (
            "{routeRef: {name: web}}",
            format!("12:17 {path}.routeRef: unknown field; did you mean \"apisix\"?"),
        ),
        (
            "{kubernetes: {}}",
            format!("12:17 {path}.kubernetes: unknown field; did you mean \"none\"?"),
        ),
        (
            "{gateway: {httpRoutes: [web]}}",
            format!("12:17 {path}.gateway: unknown field; did you mean \"gatewayApi\"?"),
        ),
        (
            "{nginx: {ingress: web}, create: {path: /}}",
            format!(
                "12:17 {path}.create: nginx.ingress (Ingress) is not created by this version of \
                 Bellwether; write it yourself, or use gatewayApi.httpRoutes or istio.virtualServices"
            ),
        ),
    ] {
        let text = APPLICATION.replacen(old, new, 1);
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        let message = |text: &str| text.split_once(' ').map(|(_, rest)| rest.to_owned());
        let found: Vec<Option<String>> = errors
            .iter()
            .map(|error| message(&error.to_string()))
            .collect();
        assert_eq!(found, [message(&expected)], "{new}");
    }
}

#[test]
fn routes_of_other_kinds() {
    let old = "{gatewayApi: {httpRoutes: [web]}}";
    let text = APPLICATION.replacen(old, "{nginx: {ingress: web}}", 1);
    let ingress = |service: &str| {
        format!(
            "{text}    - apiVersion: networking.k8s.io/v1
      kind: Ingress
      metadata: {{name: web}}
      spec: {{rules: [{{http: {{paths: [{{backend: {{service: {{name: {service}}}}}}}]}}}}]}}
"
        )
    };
    assert!(load("in.yaml", ingress("web").as_bytes()).is_ok());
    let errors = load("in.yaml", ingress("other").as_bytes()).expect_err("it leads elsewhere");
    assert_eq!(
        errors[0].to_string(),
        "in.yaml:12:26 spec.components[0].rollout.traffic[0].nginx.ingress: Ingress web has no rule \
         whose backend is Service web"
    );
    let text = APPLICATION.replacen(old, "{gloo: {routeTable: web, upstream: shop-http}}", 1);
    let leads = |upstream: &str| {
        let table = format!(
            "{text}    - apiVersion: gateway.solo.io/v1
      kind: RouteTable
      metadata: {{name: web}}
      spec: {{routes: [{{routeAction: {{single: {{upstream: {{name: {upstream}}}}}}}}}]}}
"
        );
        load("in.yaml", table.as_bytes()).is_ok()
    };
    assert!(leads("shop-http") && leads("default-web-80"));
    assert!(!leads("default-other-80"));
}

#[test]
fn objects_for_member_clusters() {
    check(
        &[(
            "manifests:",
            "manifests:
    - {kind: ConfigMap, metadata: {generateName: x-}}
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}
    - {apiVersion: v1, kind: List, metadata: {name: l}, items: []}
    - {apiVersion: bellwether.dev/v1alpha1, kind: RolloutTrack, metadata: {name: t}}",
        )],
        &[
            "16:7 spec.components[0].manifests[0].apiVersion: an object needs this field, a text \
             that is not empty",
            "16:25 spec.components[0].manifests[0].metadata.name: an object needs this field, a \
             text that is not empty",
            "16:36 spec.components[0].manifests[0].metadata.generateName: an object that is kept \
             needs a fixed name, not generateName",
            "18:7 spec.components[0].manifests[2]: ConfigMap a stands twice; the first is \
             spec.components[0].manifests[1]",
            "19:7 spec.components[0].manifests[3]: write the items of the list one by one",
            "20:8 spec.components[0].manifests[4].apiVersion: a RolloutTrack is read by the hub; it \
             is its own document, not an object for member clusters",
        ],
    );
}

#[test]
fn a_rollout_that_stands_alone() {
    let rollout = "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: shop-web, namespace: default}
spec:
  APPLICATION
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {name: web, port: admin}
  strategy: {canary: {stepWeight: 10}}
  analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}
";
    let errors = |text: &str| -> Vec<String> {
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        errors(&rollout.replace("APPLICATION\n", "\n")),
        [
            "in.yaml:4:1 spec.application: a Rollout that stands alone names the application that \
          renders its workload, or the destination whose clusters have it already"
        ]
    );
    // Alone it is right; beside its application it is compared with what that renders.
    let alone = rollout.replace("APPLICATION", "application: shop");
    assert_eq!(errors(&alone), Vec::<String>::new());
    assert_eq!(
        errors(&format!("{APPLICATION}---\n{alone}")),
        ["in.yaml:32:24 spec.service.port: Service web has no port \"admin\"; it has 80 (http)"]
    );
    let other = alone.replace("application: shop", "application: shop\n  component: wep");
    assert_eq!(
        errors(&format!("{APPLICATION}---\n{other}")),
        [
            "in.yaml:31:3 spec.component: the application has no component \"wep\"; did you mean \
          \"web\"?"
        ]
    );
}

#[test]
fn fleets_and_clusters() {
    let text = "apiVersion: bellwether.dev/v1alpha1
kind: Fleet
metadata: {name: eu, namespace: x}
spec: {defaults: {maxConcurrent: 0%, metrics: {address: 'http://'}, traffic: [{gatewayApi: {httpRoutes: [A]}}]}}
---
apiVersion: bellwether.dev/v1alpha1
kind: Cluster
metadata: {name: a}
spec: {metrics: {address: 'https://user:word@host'}}
";
    let errors = load("in.yaml", text.as_bytes()).expect_err("wrong");
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "in.yaml:3:22 metadata.namespace: a Fleet lives in no namespace; leave the field out",
            "in.yaml:4:19 spec.defaults.maxConcurrent: 0 would never start a cluster; use at least 1",
            "in.yaml:4:48 spec.defaults.metrics.address: the address names no host",
            "in.yaml:4:106 spec.defaults.traffic[0].gatewayApi.httpRoutes[0]: \"A\" is no name; use \
             a-z, 0-9 and -, with a letter or digit at both ends; did you mean \"a\"?",
            "in.yaml:9:18 spec.metrics.address: an address carries no user or password",
        ]
    );
    let empty = "{apiVersion: bellwether.dev/v1alpha1, kind: Fleet, metadata: {name: eu}}";
    let loaded = load("in.yaml", empty.as_bytes()).expect("an empty fleet is accepted");
    assert_eq!(
        loaded.warnings[0].message,
        "neither clusters nor selector is set: the fleet has no members"
    );
}

#[test]
fn hooks_that_are_never_called() {
    let hooks = "hooks:
      - {name: test, url: 'http://tester/'}
      - {type: ConfirmTrafficIncrease, name: rise, url: 'http://tester/'}
      - {type: PostRollout, name: done, url: 'http://tester/'}
      analysis: ";
    check(
        &[
            (
                "analysis: {metrics: [{name: request-success-rate, range: {min: \"99\"}}]}",
                hooks,
            ),
            ("      analysis: ", "      analysis: {skip: true}"),
        ],
        &[
            "15:9 spec.components[0].rollout.hooks[0].type: analysis.skip leaves out the steps: a \
             Rollout hook is never called",
            "16:10 spec.components[0].rollout.hooks[1].type: analysis.skip leaves out the steps: a \
             ConfirmTrafficIncrease hook is never called",
        ],
    );
    let by_hand = [
        ("canary: {stepWeight: 10}", "canary: {manual: {weight: 10}}"),
        (
            "analysis: {metrics:",
            "hooks: [{type: ConfirmTrafficIncrease, name: rise, url: 'http://tester/'}]
      analysis: {metrics:",
        ),
    ];
    check(
        &by_hand,
        &[
            "14:16 spec.components[0].rollout.hooks[0].type: canary.manual has its weight set by a \
             human, who is not asked again by a hook",
        ],
    );
}

#[test]
fn targets_of_hooks() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {type: PreRollout, name: none}
      - {type: ConfirmRollout, name: both, url: 'http://tester/', approval: {}}
      - {type: Rollout, name: check, approval: {}}
      - {type: ConfirmPromotion, name: few, approval: {by: [ann], count: 2}, rawBody: true, metadata: {data: a}}
      - {type: ConfirmPromotion, name: zero, approval: {count: 0}}
      - {type: ConfirmPromotion, name: right, approval: {by: [ann, bob], count: 2}}
      analysis: {metrics:",
        )],
        &[
            "15:9 spec.components[0].rollout.hooks[0]: the hook has no target: set url, or approval \
             for a gate that humans open",
            "16:9 spec.components[0].rollout.hooks[1]: a hook has one target: set one of url, \
             approval, load and job",
            "17:38 spec.components[0].rollout.hooks[2].approval: humans open gates, and a Rollout \
             hook holds none; use ConfirmRollout, ConfirmTrafficIncrease or ConfirmPromotion",
            "18:67 spec.components[0].rollout.hooks[3].approval.count: 1 may approve, 2 must",
            "18:78 spec.components[0].rollout.hooks[3].rawBody: nothing is posted for an approval",
            "18:93 spec.components[0].rollout.hooks[3].metadata: nothing is posted for an approval",
            "19:57 spec.components[0].rollout.hooks[4].approval.count: use at least 1",
        ],
    );
}

#[test]
fn loads() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: right}
      - {name: much, load: {rate: 5000, concurrency: 0, duration: 0s, url: 'https://web/', method: get}}
      - {type: PreRollout, name: early, load: {headers: {'a b': c}}}
      - {name: cmd, metadata: {cmd: 'hey http://web/'}}
      - {name: two, load: {protocol: HTTP2}}
      analysis: {metrics:",
        )],
        &[
            "16:29 spec.components[0].rollout.hooks[1].load.rate: use 1 to 1000",
            "16:41 spec.components[0].rollout.hooks[1].load.concurrency: use 1 to 50",
            "16:57 spec.components[0].rollout.hooks[1].load.duration: use at least 1s",
            "16:71 spec.components[0].rollout.hooks[1].load.url: load over https is not supported by \
             this version of Bellwether",
            "16:92 spec.components[0].rollout.hooks[1].load.method: a method is a word of capitals, \
             such as GET",
            "17:41 spec.components[0].rollout.hooks[2].load: load is made while a weight is judged, by \
             Rollout hooks; this one is a PreRollout hook",
            "17:58 spec.components[0].rollout.hooks[2].load.headers[\"a b\"]: a header has a name of \
             letters, digits and dashes, and a printable value",
            "18:21 spec.components[0].rollout.hooks[3].metadata: nothing is posted for a load",
            "19:28 spec.components[0].rollout.hooks[4].load.protocol: load over HTTP2 is not supported \
             by this version of Bellwether; use HTTP1",
        ],
    );
}

#[test]
fn jobs() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: right, job: {template: {spec: {containers: [{name: a, image: b}]}}}}
      - {name: empty, job: {template: {metadata: {labels: {app: web}}}}}
      - {type: Event, name: event, job: {template: {spec: {containers: [{name: a}]}}}, rawBody: true, metadata: {data: a}}
      analysis: {metrics:",
        )],
        &[
            "16:29 spec.components[0].rollout.hooks[1].job.template: the template has no \
             spec.containers",
            "16:51 spec.components[0].rollout.hooks[1].job.template.metadata.labels: leave labels out: \
             a Service may select pods by them",
            "17:36 spec.components[0].rollout.hooks[2].job: a Job is a test, and a Event hook is none; \
             use PreRollout or Rollout",
            "17:88 spec.components[0].rollout.hooks[2].rawBody: nothing is posted for a Job",
            "17:103 spec.components[0].rollout.hooks[2].metadata: nothing is posted for a Job",
        ],
    );
}

#[test]
fn hooks() {
    check(
        &[(
            "analysis: {metrics:",
            "hooks:
      - {name: load, url: 'http://tester/', metadata: {type: bash}}
      - {name: load, url: 'tester', timeout: 0s, retries: 11, rawBody: true, when: Failed}
      - {name: done, type: PostRollout, when: Failed, url: 'http://u:p@x', hmacSecretRef: {name: k}}
      analysis: {metrics:",
        )],
        &[
            "16:10 spec.components[0].rollout.hooks[1].name: two hooks are named \"load\"",
            "16:22 spec.components[0].rollout.hooks[1].url: an address starts with http:// or \
             https://",
            "16:37 spec.components[0].rollout.hooks[1].timeout: use more than 0s and at most 5m",
            "16:50 spec.components[0].rollout.hooks[1].retries: use at most 10",
            "16:63 spec.components[0].rollout.hooks[1].rawBody: rawBody posts metadata.data, which \
             is not set",
            "16:78 spec.components[0].rollout.hooks[1].when: when belongs to hooks of type \
             PostRollout",
            "17:55 spec.components[0].rollout.hooks[2].url: an address carries no user or password",
            "17:76 spec.components[0].rollout.hooks[2].hmacSecretRef.key: name the key of the Secret",
        ],
    );
}

#[test]
fn a_rollout_of_somebody_elses_workload_says_where_and_asks_for_no_more_than_that() {
    let rollout = |more: &str| {
        format!(
            "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: shop-web, namespace: default}}
spec:
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}}
  strategy: {{canary: {{stepWeight: 10}}}}
  analysis: {{metrics: [{{name: request-success-rate, range: {{min: \"99\"}}}}]}}
{more}"
        )
    };
    let errors = |text: &str| -> Vec<String> {
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect()
    };
    let good = rollout("  destination: {clusters: [eu-1]}\n");
    assert_eq!(errors(&good), Vec::<String>::new());
    let cases = [
        (
            rollout("  destination: {}\n"),
            "in.yaml:8:3 spec.destination: set at least one of fleet, selector, clusters",
        ),
        (
            rollout("  application: shop\n  destination: {clusters: [eu-1]}\n"),
            "in.yaml:9:3 spec.destination: leave it out: the application says which clusters get \
             the workload",
        ),
        (
            good.replace(", namespace: shop", ""),
            "in.yaml:5:3 spec.workload.namespace: say where the workload lies: there is no \
             application to tell",
        ),
        (
            rollout("  destination: {clusters: [eu-1]}\n  onDeletion: Complete\n"),
            "in.yaml:9:3 spec.onDeletion: Complete is not supported for workloads that the hub does \
             not deliver; use Rollback",
        ),
        (
            rollout("  destination: {clusters: [eu-1]}\n  instances: {mode: FixedTotal}\n"),
            "in.yaml:9:15 spec.instances.mode: FixedTotal is not supported for workloads that the \
             hub does not deliver: their size is whoever's who writes them; use Surge",
        ),
        (
            rollout("  destination: {clusters: [eu-1]}\n  component: web\n"),
            "in.yaml:9:3 spec.component: leave it out: without an application there are no components",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(&text), [expected]);
    }
}

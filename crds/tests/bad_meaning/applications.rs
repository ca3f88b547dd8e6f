//! Applications: names, destinations, waves, and the objects that they deliver.

use super::check;

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
fn published_versions() {
    let alias = |field: &str, annotation: &str| {
        [
            (
                "metadata: {name: shop, namespace: default}".to_owned(),
                format!(
                    "metadata: {{name: shop, annotations: {{app.oam.dev/publishVersion: {annotation}}}}}"
                ),
            ),
            (
                "  waves: []".to_owned(),
                format!("  waves: []\n  publishVersion: {field}"),
            ),
        ]
    };
    for (field, annotation, expected) in [
        ("v1", "v1", &[][..]),
        (
            "v2",
            "v1",
            &[
                "7:3 spec.publishVersion: the annotation app.oam.dev/publishVersion says \"v1\"; \
               write one of them, or the same in both",
            ],
        ),
        (
            "'a b'",
            "'a b'",
            &[
                "3:38 metadata.annotations[\"app.oam.dev/publishVersion\"]: a version holds neither \
                 white space nor control characters; did you mean \"a-b\"?",
                "7:3 spec.publishVersion: a version holds neither white space nor control \
                 characters; did you mean \"a-b\"?",
            ],
        ),
        (
            "''",
            "''",
            &[
                "3:38 metadata.annotations[\"app.oam.dev/publishVersion\"]: it names nothing; leave \
                 it out where every change shall roll",
                "7:3 spec.publishVersion: it names nothing; leave it out where every change shall \
                 roll",
            ],
        ),
    ] {
        let changes = alias(field, annotation);
        let changes: Vec<(&str, &str)> = changes
            .iter()
            .map(|(from, to)| (from.as_str(), to.as_str()))
            .collect();
        check(&changes, expected);
    }
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
             kustomize, plugin",
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
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_placement_is_checked() {
    let errors = |placement: &str| -> Vec<String> {
        let text = format!(
            "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {{name: shop}}
spec:
  destination: {{clusters: [a]}}
  placement: {placement}
  components: [{{name: web, manifests: [{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}]}}]
"
        );
        match bellwether_api::document::load("in.yaml", text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    };
    for (placement, wanted) in [
        (
            "{pick: N}",
            "spec.placement.count: pick: N needs to know how many",
        ),
        ("{count: 3}", "only pick: N takes a count"),
        (
            "{scores: [{property: ReadyNodes}]}",
            "spec.placement.scores: pick: All takes every cluster",
        ),
        (
            "{pick: N, count: 1, scores: [{property: Zone}]}",
            "Zone has no order",
        ),
        (
            "{pick: N, count: 1, scores: [{property: ReadyNode}]}",
            "did you mean \"ReadyNodes\"?",
        ),
        (
            "{affinity: [{operator: Exists}]}",
            "set exactly one of label and property",
        ),
        (
            "{affinity: [{label: a, operator: AtLeast, values: [b]}]}",
            "AtLeast compares versions and numbers",
        ),
        (
            "{affinity: [{property: KubernetesVersion, operator: AtLeast, values: [new]}]}",
            "\"new\" does not compare; write a version such as \"1.31\"",
        ),
        (
            "{affinity: [{property: AllocatableMemory, operator: AtMost, values: ['1', '2']}]}",
            "AtMost takes one value",
        ),
        ("{tolerations: [{value: a}]}", "Equal needs a key"),
        (
            "{tolerations: [{key: a, operator: Exists, value: b}]}",
            "Exists takes no value",
        ),
        (
            "{spread: [{by: zone, min: 3, max: 2}]}",
            "3 is above max, which is 2",
        ),
        (
            "{spread: [{by: zone}, {by: zone}]}",
            "\"zone\" stands here twice",
        ),
        (
            "{failover: {after: 2m}}",
            "failover chooses another with pick: N",
        ),
        (
            "{pick: N, count: 1, failover: {after: 59s}}",
            "use at least 1m",
        ),
        (
            "{division: {mode: Dynamic, weights: [{clusters: [c1], weight: 2}]}}",
            "spec.placement.division.weights: Dynamic divides by what clusters have free",
        ),
        (
            "{division: {mode: Static, weights: [{weight: 2}]}}",
            "set selector, clusters or both",
        ),
        (
            "{division: {mode: Static, weights: [{clusters: [c1], weight: 1000001}]}}",
            "1000000",
        ),
        ("{division: {mode: Statc}}", "Static"),
        ("{division: {}}", "mode"),
    ] {
        let found = errors(placement);
        assert!(
            found.iter().any(|one| one.contains(wanted)),
            "{placement}: {found:?}"
        );
    }
    assert_eq!(
        errors("{pick: N, count: 1, spread: [{by: zone, max: 1}], failover: {after: 1m}}"),
        Vec::<String>::new()
    );
    for division in [
        "{mode: Aggregated}",
        "{mode: Static, weights: [{selector: {matchLabels: {tier: big}}, weight: 0}]}",
    ] {
        let found = errors(&format!("{{division: {division}}}"));
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn what_bellwether_itself_consists_of() {
    check(
        &[(
            "    manifests:\n",
            "    manifests:
    - apiVersion: apiextensions.k8s.io/v1
      kind: CustomResourceDefinition
      metadata: {name: rollouts.bellwether.dev}
    - apiVersion: v1
      kind: Namespace
      metadata: {name: bellwether-system}
",
        )],
        &[
            "18:18 spec.components[0].manifests[0].metadata.name: CustomResourceDefinition \
             rollouts.bellwether.dev is part of Bellwether's own installation, which no application \
             brings or takes over; leave it out: `bellwether register cluster`, `bellwether install \
             crds` and the hub's chart make it",
            "21:18 spec.components[0].manifests[1].metadata.name: Namespace bellwether-system is part \
             of Bellwether's own installation, which no application brings or takes over; leave it \
             out: `bellwether register cluster`, `bellwether install crds` and the hub's chart make it",
        ],
    );
}

#[test]
fn an_application_names_each_alert_provider_once() {
    check(
        &[(
            "  waves: []\n",
            "  waves: []\n  alerts: [{provider: {name: team}}, {provider: {name: team}}]\n",
        )],
        &["7:50 spec.alerts[1].provider.name: \"team\" is named twice"],
    );
}

#[test]
fn names_of_service_accounts_are_subdomains_without_their_namespace() {
    let long = format!("{}.", "a".repeat(63)).repeat(4);
    for (written, expected) in [
        ("web.deployer-2", ""),
        (
            "Web_Deployer",
            "\"Web_Deployer\" is no name of a ServiceAccount; use a-z, 0-9, - and ., with a letter or digit \
             at both ends of each part; did you mean \"web-deployer\"?",
        ),
        (
            "shop/deployer",
            "\"shop/deployer\" is no name: the ServiceAccount lies in the target namespace; write its name \
             alone; did you mean \"deployer\"?",
        ),
        (
            "'system:serviceaccount:shop:deployer'",
            "\"system:serviceaccount:shop:deployer\" is no name: the ServiceAccount lies in the target \
             namespace; write its name alone; did you mean \"deployer\"?",
        ),
        (
            "'*'",
            "\"*\" is no name of a ServiceAccount; use a-z, 0-9, - and ., with a letter or digit at both ends \
             of each part",
        ),
        (
            "''",
            "a name is empty; leave it out to apply with the agent's own rights",
        ),
        (&long, "a name has 256 characters; at most 253 are allowed"),
    ] {
        let said = |place: &str| match expected {
            "" => Vec::new(),
            why => vec![format!("{place}serviceAccount: {why}")],
        };
        let field = format!("serviceAccount: {written}\n");
        let of_application = ("  waves: []\n", format!("  {field}  waves: []\n"));
        let of_component = ("    rollout:\n", format!("    {field}    rollout:\n"));
        for ((from, to), at) in [
            (of_application, "6:3 spec."),
            (of_component, "9:5 spec.components[0]."),
        ] {
            let said = said(at);
            let said: Vec<&str> = said.iter().map(String::as_str).collect();
            check(&[(from, &to)], &said);
        }
    }
}

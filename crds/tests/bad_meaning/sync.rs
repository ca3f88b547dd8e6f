//! What agents leave alone, and what tells health.

use super::check;

#[test]
fn what_is_left_alone() {
    check(
        &[(
            "  waves: []\n",
            "  waves: []
  sync:
    deletion: SelectivelyOrphan
    force: true
    ignore:
    - {target: {kind: Service}}
    - {target: {kind: Servise}, jsonPointers: [/spec/clusterIP]}
    - {target: {kind: Service, name: wep}, managers: [\"\", bellwether-sync, kubectl]}
    - {target: {kind: Service}, jsonPointers: [spec.ports, /metadata/name, /status/loadBalancer, /spec/ports]}
    - {target: {kind: \"\"}, managers: [kubectl]}
",
        )],
        &[
            "11:7 spec.sync.ignore[0]: say what is left alone: set jsonPointers or managers",
            "12:8 spec.sync.ignore[1].target: no object of the application is every Servise; did you \
             mean \"Service\"?",
            "13:8 spec.sync.ignore[2].target: no object of the application is Service wep; did you mean \
             \"web\"?",
            "13:55 spec.sync.ignore[2].managers[0]: a name is empty",
            "13:59 spec.sync.ignore[2].managers[1]: \"bellwether-sync\" is the agent itself; name \
             whoever else writes",
            "14:48 spec.sync.ignore[3].jsonPointers[0]: \"spec.ports\" is no JSON pointer; one begins \
             with /; did you mean \"/spec/ports\"?",
            "14:60 spec.sync.ignore[3].jsonPointers[1]: apiVersion, kind, name and namespace make an \
             object the one that it is",
            "14:76 spec.sync.ignore[3].jsonPointers[2]: status is never applied, nor is a change of it \
             drift",
            "15:17 spec.sync.ignore[4].target.kind: a target names a kind",
        ],
    );
    check(
        &[("  waves: []\n", "  waves: []\n  sync: {deletion: Keep}\n")],
        &[
            "7:20 spec.sync.deletion: unknown value \"Keep\"; use one of Delete, Orphan, \
             SelectivelyOrphan",
        ],
    );
}

#[test]
fn a_rollout_keeps_what_it_changes() {
    check(
        &[(
            "  waves: []\n",
            "  waves: []
  sync:
    ignore:
    - {target: {kind: Deployment}, jsonPointers: [/spec/replicas, /metadata/annotations/a]}
    - {target: {kind: Deployment}, jsonPointers: [/spec/template/spec/containers/0/image]}
    - {target: {kind: Deployment}, managers: [kubectl]}
",
        )],
        &[
            "15:7 spec.components[0].rollout.workload: sync.ignore[1] leaves \
             /spec/template/spec/containers/0/image to others, which the rollout changes; of a \
             governed workload leave only /metadata/labels, /metadata/annotations, /spec/replicas",
            "15:7 spec.components[0].rollout.workload: sync.ignore[2] leaves whole field managers \
             their fields, which is not supported of a workload that a Rollout governs; use \
             jsonPointers",
        ],
    );
}

#[test]
fn health_of_custom_kinds() {
    check(
        &[(
            "  - name: web\n",
            "  - name: web
    health:
    - {group: example.com, kind: Widget, cel: object.status.phase == 'Ready'}
    - {group: example.com, kind: Widget, cel: \"object.status.\"}
    - {group: apps, kind: Deployment, cel: \"true\"}
    - {group: example.com, kind: Gadget, cel: status.ready}
    - {group: example.com, kind: \"\", cel: \"true\"}
",
        )],
        &[
            "11:7 spec.components[0].health[1]: two rules are for Widget; the first is health[0]",
            "11:42 spec.components[0].health[1].cel: line 1, column 16: Syntax error: no \
             viable alternative at input '.'",
            "12:21 spec.components[0].health[2].kind: the health of Deployment is known; rules are for \
             custom kinds",
            "13:42 spec.components[0].health[3].cel: line 1, column 1: there is no variable \"status\" \
             here; the live object is \"object\"",
            "14:28 spec.components[0].health[4].kind: name a kind",
        ],
    );
}

#[test]
fn how_long_it_may_take_to_be_healthy() {
    let both = |of_all: &str, of_one: &str, expected: &[&str]| {
        check(
            &[
                (
                    "  waves: []\n",
                    &format!("  waves: []\n  sync: {{timeout: {of_all}}}\n"),
                ),
                (
                    "  - name: web\n",
                    &format!("  - name: web\n    sync: {{timeout: {of_one}}}\n"),
                ),
            ],
            expected,
        );
    };
    // What is neither one nor the other: one second and a day are right.
    both("1s", "24h", &[]);
    both("24h", "1s", &[]);
    both(
        "0s",
        "999ms",
        &[
            "7:10 spec.sync.timeout: nothing is healthy so soon; use at least 1s",
            "10:12 spec.components[0].sync.timeout: nothing is healthy so soon; use at least 1s",
        ],
    );
    both(
        "24h0m1s",
        "48h",
        &[
            "7:10 spec.sync.timeout: use at most 24h",
            "10:12 spec.components[0].sync.timeout: use at most 24h",
        ],
    );
    both(
        "-5s",
        "soon",
        &[
            "7:19 spec.sync.timeout: \"-5s\" is no duration; write it like \"90s\" or \"1h30m\"",
            "10:21 spec.components[0].sync.timeout: \"soon\" is no duration; write it like \"90s\" or \
             \"1h30m\"",
        ],
    );
}

#[test]
fn what_a_component_leaves_alone_is_its_own() {
    let own = |rules: &str| format!("  - name: web\n    sync: {{force: true, ignore: {rules}}}\n");
    let with = |rules: &str, expected: &[&str]| {
        check(&[("  - name: web\n", own(rules).as_str())], expected);
    };
    with("[]", &[]);
    with(
        "[{target: {kind: Service}, managers: [mesh]}, {target: {kind: ConfigMap}, managers: [mesh]}]",
        &[
            "9:80 spec.components[0].sync.ignore[1].target: no object of component \"web\" is every ConfigMap",
        ],
    );
    with(
        "[{target: {kind: Deployment}, jsonPointers: [/spec/template]}]",
        &[
            "11:7 spec.components[0].rollout.workload: components[0].sync.ignore[0] leaves \
           /spec/template to others, which the rollout changes; of a governed workload leave only \
           /metadata/labels, /metadata/annotations, /spec/replicas",
        ],
    );
    // What its component says stands in the place of what the application says.
    let application = "  waves: []
  sync: {ignore: [{target: {kind: Deployment}, jsonPointers: [/spec/template]}]}\n";
    check(
        &[
            ("  waves: []\n", application),
            ("  - name: web\n", own("[]").as_str()),
        ],
        &[],
    );
    check(
        &[(
            "  - name: web\n",
            "  - name: web\n    sync: {deletion: Keep}\n",
        )],
        &[
            "9:22 spec.components[0].sync.deletion: unknown value \"Keep\"; use one of Delete, Orphan, \
             SelectivelyOrphan",
        ],
    );
}

//! What holds for every input: reading never panics, and what is written is read back.

use bellwether_api::{
    application::{
        AdoptPolicy, ApplicationSpec, ApprovalGate, Component, Destination, DriftPolicy, Gate,
        OnFailure, SyncPolicy, UnreachablePolicy, VerdictsGate, Wave, WindowGate,
    },
    document::{Document, load, parse},
    duration::Dur,
    number::{IntOrPercent, Weight},
    rollout::{Advance, Canary, RolloutSpec, Step},
    selector::{Operator, Requirement, Selector},
};
use proptest::{collection::vec, option, prelude::*, string::string_regex};
use serde_json::{Value, json};

/// Texts that YAML could take for something else.
fn tricky() -> impl Strategy<Value = String> {
    let words = prop_oneof![
        Just("no"),
        Just("0644"),
        Just("1e3"),
        Just("~"),
        Just("null"),
        Just("- a"),
        Just("a: b"),
        Just("#x"),
        Just("*a"),
        Just("&a"),
        Just("!x"),
        Just("%"),
        Just("'"),
        Just("\""),
        Just("a\nb\n"),
        Just(" x "),
        Just("<<"),
        Just("---"),
        Just("...\n"),
        Just("é😀"),
        Just("\t"),
        Just(""),
        Just("2026-01-02"),
        Just("0x1F"),
        Just(".inf"),
        Just("{a}"),
        Just("[a]"),
        Just("\u{7f}"),
        Just("\u{85}"),
        Just("a\r\nb"),
        Just("|"),
        Just(">-"),
        Just("?"),
        Just("@"),
        Just("`"),
    ]
    .prop_map(str::to_owned);
    prop_oneof![2 => words, 1 => any::<String>().prop_map(|text| text.replace('\0', ""))]
}

fn name() -> impl Strategy<Value = String> {
    string_regex("[a-z]([a-z0-9-]{0,8}[a-z0-9])?").expect("a valid expression")
}

fn dur() -> impl Strategy<Value = Dur> {
    (0u64..100_000_000).prop_map(Dur::from_millis)
}

fn count() -> impl Strategy<Value = IntOrPercent> {
    prop_oneof![
        any::<u32>().prop_map(IntOrPercent::Int),
        (0u32..=100).prop_map(IntOrPercent::Percent)
    ]
}

fn weight() -> impl Strategy<Value = Weight> {
    (0u32..=100).prop_map(Weight::clamped)
}

fn selector() -> impl Strategy<Value = Selector> {
    let operator = prop_oneof![
        Just(Operator::In),
        Just(Operator::NotIn),
        Just(Operator::Exists),
        Just(Operator::DoesNotExist)
    ];
    let requirement =
        (tricky(), operator, vec(tricky(), 0..3)).prop_map(|(key, operator, values)| Requirement {
            key,
            operator,
            values,
        });
    (
        proptest::collection::btree_map(name(), tricky(), 0..3),
        vec(requirement, 0..3),
    )
        .prop_map(|(match_labels, match_expressions)| Selector {
            match_labels,
            match_expressions,
        })
}

fn gate() -> impl Strategy<Value = Gate> {
    prop_oneof![
        dur().prop_map(|soak| Gate {
            soak: Some(soak),
            ..Gate::default()
        }),
        (tricky(), option::of(tricky()), dur()).prop_map(|(schedule, time_zone, duration)| Gate {
            window: Some(WindowGate {
                schedule,
                time_zone,
                duration
            }),
            ..Gate::default()
        }),
        weight().prop_map(|percent| Gate {
            verdicts: Some(VerdictsGate { percent }),
            ..Gate::default()
        }),
        (vec(tricky(), 0..3), any::<u32>()).prop_map(|(by, count)| Gate {
            approval: Some(ApprovalGate { by, count }),
            ..Gate::default()
        }),
    ]
}

fn wave() -> impl Strategy<Value = Wave> {
    let unreachable = prop_oneof![
        Just(UnreachablePolicy::Wait),
        Just(UnreachablePolicy::SkipAndCatchUp),
        Just(UnreachablePolicy::Fail)
    ];
    let limits = (
        option::of(count()),
        option::of(count()),
        unreachable,
        option::of(weight()),
        option::of(dur()),
    );
    (
        tricky(),
        option::of(selector()),
        vec(tricky(), 0..3),
        limits,
        vec(gate(), 0..2),
        vec(gate(), 0..2),
    )
        .prop_map(|(name, selector, clusters, limits, before, after)| Wave {
            name,
            selector,
            clusters,
            max_concurrent: limits.0,
            max_failures: limits.1,
            unreachable: limits.2,
            percent: limits.3,
            progress_deadline: limits.4,
            before,
            after,
        })
}

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_000_000i32..1_000_000)
            .prop_map(|n| json!(f64::from(n) / 8.0))
            .prop_map(whole),
        tricky().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(
                tricky().prop_filter("a key", |key| !key.is_empty()),
                inner,
                0..4
            )
            .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    (name(), value).prop_map(|(name, value)| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": value})
    })
}

/// Whole numbers are integers after a trip through YAML, as they are for kubectl.
fn whole(value: Value) -> Value {
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        Some(number) if number.fract() == 0.0 => json!(number as i64),
        _ => value,
    }
}

fn component() -> impl Strategy<Value = Component> {
    (
        tricky(),
        option::of(tricky()),
        option::of(vec(object(), 0..3)),
        option::of(rollout()),
    )
        .prop_map(|(name, target_namespace, manifests, rollout)| Component {
            name,
            target_namespace,
            service_account: None,
            manifests,
            helm: None,
            git: None,
            oci: None,
            kustomize: None,
            plugin: None,
            health: Vec::new(),
            destination: None,
            overrides: Vec::new(),
            sync: None,
            depends_on: Vec::new(),
            rollout,
        })
}

fn rollout() -> impl Strategy<Value = RolloutSpec> {
    let advance = prop_oneof![
        Just(Advance::Auto),
        Just(Advance::Manual),
        Just(Advance::After)
    ];
    let step = (
        option::of(tricky()),
        weight(),
        option::of(count()),
        option::of(advance),
        option::of(dur()),
    )
        .prop_map(|(name, weight, replicas, advance, after)| Step {
            notify: Vec::new(),
            matches: Vec::new(),
            mirror: None,
            name,
            weight,
            replicas,
            advance,
            after,
        });
    let canary = (option::of(weight()), vec(weight(), 0..4), vec(step, 0..4)).prop_map(
        |(step_weight, weights, steps)| Canary {
            step_weight,
            weights,
            steps,
            ..Canary::default()
        },
    );
    (canary, dur(), any::<bool>(), tricky()).prop_map(|(canary, drain, suspend, workload)| {
        let mut spec: RolloutSpec = serde_json::from_value(json!({
            "workload": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
            "strategy": {},
        }))
        .expect("the smallest rollout");
        spec.strategy.canary = Some(canary);
        spec.drain = drain;
        spec.suspend = suspend;
        spec
    })
}

fn application() -> impl Strategy<Value = ApplicationSpec> {
    let destination = (
        option::of(tricky()),
        option::of(selector()),
        vec(tricky(), 0..3),
    )
        .prop_map(|(fleet, selector, clusters)| Destination {
            fleet,
            selector,
            clusters,
        });
    let drift = prop_oneof![
        Just(DriftPolicy::Correct),
        Just(DriftPolicy::Report),
        Just(DriftPolicy::Off)
    ];
    let adopt = prop_oneof![
        Just(AdoptPolicy::Never),
        Just(AdoptPolicy::IfIdentical),
        Just(AdoptPolicy::Always)
    ];
    let sync = (any::<bool>(), drift, adopt).prop_map(|(prune, drift, adopt)| SyncPolicy {
        interval: bellwether_api::duration::Dur::from_secs(300),
        prune,
        drift,
        adopt,
        ..SyncPolicy::default()
    });
    let on_failure = prop_oneof![
        Just(OnFailure::Halt),
        Just(OnFailure::Continue),
        Just(OnFailure::RollbackAll)
    ];
    let head = (
        destination,
        option::of(tricky()),
        any::<bool>(),
        any::<u32>(),
        option::of(tricky()),
    );
    (
        head,
        vec(component(), 0..3),
        sync,
        vec(wave(), 0..3),
        option::of(on_failure),
    )
        .prop_map(
            |(head, components, sync, waves, on_failure)| ApplicationSpec {
                placement: None,
                destination: head.0,
                target_namespace: head.1,
                create_namespace: head.2,
                service_account: None,
                components,
                overrides: Vec::new(),
                sync,
                depends_on: Vec::new(),
                waves,
                on_failure,
                history_limit: head.3,
                publish_version: head.4,
                alerts: Vec::new(),
            },
        )
}

/// Fragments that make a document of ours with some luck.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop_oneof![
            Just("apiVersion: bellwether.dev/v1alpha1\n"), Just("kind: Application\n"), Just("kind: Rollout\n"),
            Just("metadata: {name: a}\n"), Just("spec:\n"), Just("  components:\n"), Just("  - name: web\n"),
            Just("    manifests: [{}]\n"), Just("  strategy: {canary: {weights: [1]}}\n"), Just("---\n"), Just("...\n"),
            Just("  waves: [{name: 1}]\n"), Just("&a "), Just("*a"), Just("<<: *a\n"), Just("? "), Just(": "), Just("- "),
            Just("{"), Just("}"), Just("["), Just("]"), Just("\n"), Just("  "), Just("|\n"), Just("\""), Just("'"), Just("!!str "),
        ].prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(spec in application()) {
        let document = json!({
            "apiVersion": "bellwether.dev/v1alpha1", "kind": "Application",
            "metadata": {"name": "shop"}, "spec": spec,
        });
        let yaml = serde_saphyr::to_string(&document).expect("JSON is YAML");
        for text in [yaml, document.to_string()] {
            let documents = parse("a.yaml", text.as_bytes());
            let documents = documents.map_err(|errors| TestCaseError::fail(format!("{errors:?}\n{text}")))?;
            let [Document::Application(read)] = documents.as_slice() else {
                return Err(TestCaseError::fail("one application"));
            };
            prop_assert_eq!(&read.spec, &spec, "{}", text);
            // Nothing that can be read makes the checks panic.
            let _ = load("a.yaml", text.as_bytes());
        }
    }

    #[test]
    fn nothing_panics(fragments in vec(fragment(), 0..24)) {
        let _ = load("a.yaml", fragments.concat().as_bytes());
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = load("a.yaml", &bytes);
    }

    #[test]
    fn every_error_stands_in_the_text(fragments in vec(fragment(), 0..24)) {
        let text = fragments.concat();
        let lines = text.split('\n').count();
        for error in load("a.yaml", text.as_bytes()).err().unwrap_or_default() {
            prop_assert!(error.line as usize <= lines, "{} in {:?}", error, text);
            prop_assert!(!error.message.is_empty());
        }
    }
}

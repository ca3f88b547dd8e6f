//! Plans that contradict themselves, of every strategy.

use bellwether_api::document::load;

const PLAN: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {name: web, namespace: default}
spec:
  application: shop
  workload: {apiVersion: apps/v1, kind: Deployment, name: web}
  service: {name: web, port: 80}
";

/// What is wrong with a plan of these lines, paths below `spec`.
fn errors(lines: &str) -> Vec<String> {
    let text = format!("{PLAN}{lines}\n");
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    errors
        .iter()
        .map(|error| {
            let path = error.path.to_string();
            let path = path.trim_start_matches("spec.").to_owned();
            match &error.suggestion {
                Some(meant) => format!("{path}: {}; {meant}?", error.message),
                None => format!("{path}: {}", error.message),
            }
        })
        .collect()
}

#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    assert_eq!(errors(lines), expected, "{lines}");
}

#[test]
fn every_strategy_is_accepted() {
    for strategy in [
        "{type: Canary, canary: {stepWeight: 10, mirror: true, match: [{method: GET}]}}",
        "{canary: {steps: [{weight: 0, match: [{method: GET}]}, {weight: 5, replicas: 20%, mirror: 10}, {weight: 5, replicas: 1}, {weight: 100}]}}",
        "{canary: {manual: {}}}",
        "{canary: {manual: {weight: 30, replicas: 2}, stepWeightPromotion: 20}}",
        "{abTest: {iterations: 3, match: [{headers: [{name: User-Agent, regex: '.*Firefox.*'}], port: 80}, {cookies: [{name: type, exact: insider}]}, {path: {prefix: /beta}, queryParams: [{name: v, exact: ''}]}]}}",
        "{blueGreen: {iterations: 1}}",
        "{blueGreen: {iterations: 3, analysisTraffic: Mirror, standby: 10m, replicas: 50%}}",
    ] {
        check(&format!("  strategy: {strategy}"), &[]);
    }
    check(
        "  strategy: {canary: {weights: [10]}}\n  instances: {mode: FixedTotal, maxReplicas: 4}",
        &[],
    );
    check(
        "  strategy: {canary: {weights: [10]}}\n  sessionAffinity: {cookieName: release}",
        &[],
    );
    check(
        "  strategy: {canary: {weights: [10]}}\n  analysis: {skip: true, onFailure: Pause}",
        &[],
    );
}

#[test]
fn exactly_one_strategy() {
    check(
        "  strategy: {}",
        &["strategy: exactly one must be set of: abTest, batch, blueGreen, canary"],
    );
    check(
        "  strategy: {canary: {stepWeight: 10}, blueGreen: {iterations: 1}}",
        &["strategy: exactly one may be set, found canary and blueGreen"],
    );
    check(
        "  strategy: {type: BlueGreen, canary: {stepWeight: 10}}",
        &["strategy.type: the strategy that is set is canary; leave type out"],
    );
}

#[test]
fn canaries() {
    let canary = "strategy.canary";
    check(
        "  strategy: {canary: {manual: {weight: 20, replicas: 0}, advance: Auto, mirror: true}}",
        &[
            &format!("{canary}.manual.replicas: a canary that takes traffic has at least 1 pod"),
            &format!(
                "{canary}.advance: a canary that is driven by hand waits for a human as it is; \
                 leave advance out"
            ),
            &format!(
                "{canary}.mirror: a mirrored check comes before the first of several weights; use \
                 steps with mirror"
            ),
        ],
    );
    check(
        "  strategy: {canary: {steps: [{weight: 20}, {weight: 10}, {weight: 100, mirror: 5}, {weight: 100, mirror: 0}]}}",
        &[
            &format!("{canary}.steps[1].weight: weights do not fall; 10 follows 20"),
            &format!(
                "{canary}.steps[2].mirror: nothing would be mirrored; a mirror is a share above 0 \
                 of requests that the canary does not answer"
            ),
            &format!(
                "{canary}.steps[3].mirror: nothing would be mirrored; a mirror is a share above 0 \
                 of requests that the canary does not answer"
            ),
        ],
    );
}

#[test]
fn tests_and_switches() {
    check(
        "  strategy: {abTest: {iterations: 0, match: []}}",
        &[
            "strategy.abTest.iterations: use at least 1",
            "strategy.abTest.match: name at least one match; without one use canary or blueGreen",
        ],
    );
    check(
        "  strategy: {blueGreen: {iterations: 0, replicas: 0}}",
        &[
            "strategy.blueGreen.iterations: use at least 1",
            "strategy.blueGreen.replicas: a version that takes all traffic has pods",
        ],
    );
    let text = format!(
        "{PLAN}  strategy: {{blueGreen: {{iterations: 1, analysisTraffic: None}}}}\n  \
         analysis: {{metrics: [{{name: request-success-rate, range: {{min: \"99\"}}}}]}}\n"
    );
    let warnings = load("in.yaml", text.as_bytes())
        .expect("it may be measured otherwise")
        .warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].message.contains("no user's request reaches"),
        "{warnings:?}"
    );
}

#[test]
fn matches() {
    let at = "strategy.abTest.match";
    check(
        "  strategy: {abTest: {iterations: 1, match: [{}, {headers: [{name: 'a b', exact: x}, {name: a}, {name: a, exact: x, regex: z}]}, {path: {exact: beta}, method: get, port: 0}, {cookies: [{name: c, prefix: ''}]}]}}",
        &[
            &format!(
                "{at}[0]: it names nothing and would match every request; use a weight of 100"
            ),
            &format!("{at}[1].headers[0].name: \"a b\" is no name of a header"),
            &format!("{at}[1].headers[1]: exactly one of exact, prefix, regex must be set"),
            &format!(
                "{at}[1].headers[2].regex: exactly one of exact, prefix, regex may be set, found \
                 exact and regex"
            ),
            &format!("{at}[2].path.exact: a path begins with /"),
            &format!(
                "{at}[2].method: unknown method \"get\"; use one of GET, HEAD, POST, PUT, DELETE, \
                 CONNECT, OPTIONS, TRACE, PATCH; GET?"
            ),
            &format!("{at}[2].port: a port is a number of 1 to 65535"),
            &format!("{at}[3].cookies[0].prefix: an empty text matches every value"),
        ],
    );
}

#[test]
fn sizes() {
    let canary = "  strategy: {canary: {stepWeight: 10}}\n";
    for (instances, expected) in [
        (
            "{mode: InPlace}",
            "instances.mode: InPlace is what strategy.batch does, and this plan has none; use Surge \
             or FixedTotal",
        ),
        (
            "{maxReplicas: 3}",
            "instances.maxReplicas: maxReplicas bounds both versions together, which only \
             FixedTotal does",
        ),
        (
            "{mode: FixedTotal, maxReplicas: 0}",
            "instances.maxReplicas: use at least 1",
        ),
        (
            "{mode: FixedTotal, maxReplicas: 2, minReplicas: 3}",
            "instances.minReplicas: the canary alone would be more than maxReplicas",
        ),
        (
            "{mode: InPlaces}",
            "instances.mode: unknown value \"InPlaces\"; use one of Surge, FixedTotal, InPlace; \
             InPlace?",
        ),
    ] {
        check(&format!("{canary}  instances: {instances}"), &[expected]);
    }
    let by_weight = "FixedTotal takes pods by weight; leave replicas out, or use Surge";
    for (strategy, expected) in [
        (
            "{abTest: {iterations: 1, match: [{method: GET}]}}",
            "instances.mode: FixedTotal takes pods by weight, and an A/B test has none; use Surge"
                .to_owned(),
        ),
        (
            "{blueGreen: {iterations: 1}}",
            "instances.mode: blue-green keeps both versions at full size; use Surge".to_owned(),
        ),
        (
            "{canary: {steps: [{weight: 10, replicas: 1}]}}",
            format!("strategy.canary.steps[0].replicas: {by_weight}"),
        ),
        (
            "{canary: {manual: {replicas: 1}}}",
            format!("strategy.canary.manual.replicas: {by_weight}"),
        ),
    ] {
        let lines = format!("  strategy: {strategy}\n  instances: {{mode: FixedTotal}}");
        check(&lines, &[&expected]);
    }
}

#[test]
fn what_needs_a_route_needs_a_service() {
    let alone = PLAN.replace("  service: {name: web, port: 80}\n", "");
    for (lines, expected) in [
        (
            "  strategy: {abTest: {iterations: 1, match: [{method: GET}]}}",
            "strategy.abTest: an A/B test",
        ),
        (
            "  strategy: {blueGreen: {iterations: 1}}",
            "strategy.blueGreen: blue-green",
        ),
        (
            "  strategy: {canary: {stepWeight: 5, mirror: true}}",
            "strategy.canary.mirror: a mirror",
        ),
        (
            "  strategy: {canary: {stepWeight: 5, match: [{method: GET}]}}",
            "strategy.canary.match: a match",
        ),
        (
            "  strategy: {canary: {steps: [{weight: 5, mirror: 5}]}}",
            "strategy.canary.steps: a step with match or mirror",
        ),
        (
            "  strategy: {canary: {stepWeight: 5}}\n  sessionAffinity: {cookieName: c}",
            "sessionAffinity: session affinity",
        ),
    ] {
        let errors = load("in.yaml", format!("{alone}{lines}\n").as_bytes()).expect_err(lines);
        let errors: Vec<_> = errors
            .iter()
            .map(|error| {
                format!("spec.{expected}")
                    == format!(
                        "{}: {}",
                        error.path,
                        error.message.split(" needs").next().unwrap_or("")
                    )
            })
            .collect();
        assert_eq!(errors, [true], "{lines}");
    }
}

#[test]
fn session_affinity() {
    check(
        "  strategy: {blueGreen: {iterations: 1}}\n  sessionAffinity: {cookieName: 'a;b', stableCookieName: 'a;b', maxAge: 0s}",
        &[
            "sessionAffinity: only weights draw users by chance; this strategy needs no session \
             affinity",
            "sessionAffinity.cookieName: \"a;b\" is no name of a cookie",
            "sessionAffinity.stableCookieName: \"a;b\" is no name of a cookie",
            "sessionAffinity.stableCookieName: it is cookieName; leave it out to use one cookie for \
             both versions",
            "sessionAffinity.maxAge: use at least 1s",
        ],
    );
}

#[test]
fn names_of_other_systems_lead_here() {
    check(
        "  strategy: {abTest: {analysisTimes: 3, matches: []}, canaryStrategy: {}}",
        &[
            "strategy.abTest.iterations: required field is missing",
            "strategy.abTest.match: required field is missing",
            "strategy.abTest.analysisTimes: unknown field; iterations?",
            "strategy.abTest.matches: unknown field; match?",
            "strategy: exactly one may be set, found abTest and canaryStrategy",
            "strategy.canaryStrategy: unknown field; canary?",
        ],
    );
    check(
        "  strategy: {canary: {canaryReplicas: 1, stepWeights: [1]}}\n  analysis: {skipAnalysis: true, iterations: 3}",
        &[
            "strategy.canary.canaryReplicas: unknown field; spec.strategy.canary.manual.replicas?",
            "strategy.canary.stepWeights: unknown field; weights?",
            "analysis.skipAnalysis: unknown field; skip?",
            "analysis.iterations: unknown field; spec.strategy.abTest.iterations?",
        ],
    );
}

#[test]
fn a_fixed_total_needs_a_size_that_is_written_down() {
    let application = "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: shop, namespace: default}
spec:
  destination: {fleet: eu}
  components:
  - name: web
    rollout:
      workload: {apiVersion: apps/v1, kind: Deployment, name: web}
      strategy: {canary: {stepWeight: 10}}
      instances: {mode: FixedTotal, maxReplicas: 4}
    manifests:
    - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {REPLICAS, template: {metadata: {labels: {app: web}}}}}
";
    for (replicas, expected) in [
        ("replicas: 4", None),
        (
            "paused: false",
            Some(
                "instances.mode: FixedTotal shrinks Deployment web and gives it its size back, which its manifest does not say; set spec.replicas there, or use Surge",
            ),
        ),
        (
            "replicas: 5",
            Some(
                "instances.maxReplicas: Deployment web has 5 replicas: fewer in all would take pods from the version that serves",
            ),
        ),
    ] {
        let text = application.replace("REPLICAS", replicas);
        let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
        let errors: Vec<_> = errors
            .iter()
            .map(|error| format!("{}: {}", error.path, error.message))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|text| format!("spec.components[0].rollout.{text}"))
            .collect();
        assert_eq!(errors, expected, "{replicas}");
    }
}

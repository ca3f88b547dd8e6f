//! What takes more than a rendering may: it is told of which limit, and keeps no other application back.

use std::time::Duration;

use super::{
    bad_input::{MAP, chart_of},
    plugins::script,
    *,
};

/// Takes far longer than any limit here.
const ENDLESS: &str = "{{ range until 50000 }}{{ range until 50000 }}{{ end }}{{ end }}";

/// What is said of an application whose values have its chart render that template too; fails unless another one
/// with the same chart, which is rendered within the same limits, is granted, and this one is not.
async fn held_within(limits: Limits, template: &str) -> String {
    let shelf = chart_of(&format!(
        "{MAP}small}}\n---\n{{{{ if .Values.greedy }}}}\n{template}{{{{ end }}}}"
    ));
    let stage = Stage::made_of(renderer_within(limits), Box::new(shelf)).await;
    stage
        .apply(chart(|helm| helm["values"] = json!({"greedy": true})))
        .await;
    let modest = application(json!([chart(|_| {})]), json!({}), json!([]));
    stage
        .fleet
        .record(RecordKind::Application, "default", "modest", modest, &[])
        .await;
    held_beside(&stage, "modest").await
}

/// What is said of the application; fails unless the other one alone is granted.
async fn held_beside(stage: &Stage, other: &str) -> String {
    let error = stage.settle().await.expect_err("held").chain();
    assert!(stage.fleet.holders("shop").await.is_empty(), "{error}");
    assert_eq!(
        stage.fleet.holders(other).await,
        ["canary-1", "prod-1"],
        "{error}"
    );
    error
}

/// A ConfigMap that holds what the expression gives.
fn holding(expression: &str) -> String {
    format!("{MAP}greedy}}\ndata: {{all: '{expression}'}}\n")
}

#[tokio::test]
async fn a_rendering_that_takes_more_memory_than_it_may_is_ended_and_says_so() {
    let limits = Limits {
        memory_mib: 64,
        ..Limits::default()
    };
    let template = holding("{{ repeat 600000000 \"a\" | len }}");
    let error = held_within(limits, &template).await;
    assert!(
        error.contains("rendering it takes more than 64 MiB of memory"),
        "{error}"
    );
}

#[tokio::test]
async fn a_rendering_that_takes_more_processor_time_than_it_may_is_ended_and_says_so() {
    let limits = Limits {
        cpu_seconds: 1,
        // However busy the machine is, this one is met later.
        time: Duration::from_secs(300),
        ..Limits::default()
    };
    let error = held_within(limits, &holding(ENDLESS)).await;
    assert!(
        error.contains("rendering it takes more than 1 s of processor time"),
        "{error}"
    );
}

#[tokio::test]
async fn a_rendering_that_takes_longer_than_it_may_is_ended_and_says_so() {
    let limits = Limits {
        time: Duration::from_secs(10),
        ..Limits::default()
    };
    let error = held_within(limits, &holding(ENDLESS)).await;
    assert!(error.contains("did not answer within 10 s"), "{error}");
}

#[tokio::test]
async fn a_rendering_that_makes_more_than_it_may_is_refused_and_says_so() {
    let limits = Limits {
        answer_mib: 1,
        ..Limits::default()
    };
    // Any API server takes each of them.
    let template = format!(
        "{{{{ range $at := until 4 }}}}---\n{MAP}'large-{{{{ $at }}}}'}}\n\
         data: {{all: {{{{ repeat 400000 \"a\" }}}}}}\n{{{{ end }}}}"
    );
    let error = held_within(limits, &template).await;
    assert!(
        error.contains("TooLarge: what it renders is larger than 1 MiB"),
        "{error}"
    );
}

#[tokio::test]
async fn of_a_renderer_that_minds_no_limit_no_more_is_read_than_an_answer_may_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = script(
        folder.path(),
        "renderer",
        "case \"$*\" in\n*--version*) echo 1;;\n*) cat >/dev/null; cat /dev/zero;;\nesac",
    );
    let limits = Limits {
        answer_mib: 1,
        ..Limits::default()
    };
    let shelf = Shelf::with_chart();
    let stage = Stage::made_of(Renderer::new(Some(program), limits), Box::new(shelf)).await;
    stage.apply(chart(|_| {})).await;
    let destination = json!({"fleet": "quickstart"});
    stage.fleet.apply_named("plain", destination, 1, &[]).await;
    let error = held_beside(&stage, "plain").await;
    assert!(
        error.contains("TooLarge: what it renders is larger than 1 MiB"),
        "{error}"
    );
}

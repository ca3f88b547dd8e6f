use bellwether_api::traffic::Provider;
use serde_json::{Value, json};

use crate::provider::{
    Split,
    golden::{check, rendered, weight},
};

fn traffic_split() -> Value {
    json!({
        "apiVersion": "split.smi-spec.io/v1alpha2", "kind": "TrafficSplit",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "kept-label"}},
        "spec": {"service": "web-root", "backends": [{"service": "web", "weight": 100}]},
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::TrafficSplit, &traffic_split());
}

#[test]
fn golden() {
    let by = Split::by_weight(weight(20));
    let objects = rendered(Provider::TrafficSplit, &traffic_split(), &by);
    insta::assert_json_snapshot!("traffic_split_weight", objects);
}

/// docs/adding-a-provider.md shows this provider under another name.
#[test]
fn the_page_on_adding_a_provider_shows_this_one() {
    let page = include_str!("../../../../../docs/adding-a-provider.md");
    let block = page.split("```rust\n").nth(1).expect("a block of Rust");
    let block = block.split("```").next().unwrap_or_default();
    let shown: Vec<&str> = block
        .lines()
        .map(|line| line.strip_prefix("   ").unwrap_or(line))
        .collect();
    let shown = shown.join("\n");
    let renamed = shown
        .replace("ExampleRoute", "TrafficSplit")
        .replace("targets", "backends");
    // The first line says what the kind is.
    let (_, code) = renamed.split_once('\n').expect("a comment and code");
    let code = code.trim();
    assert!(code.contains("fn render(") && code.contains("fn observed_weight("));
    assert!(
        include_str!("../smi.rs").contains(code),
        "smi.rs has not what the page shows:\n{code}"
    );
}

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

//! Whether the metrics of a cluster that was just registered answer its agent.

use std::time::{Duration, Instant};

use bellwether_api::{
    call::{Condition, Item},
    cluster::METRICS_REACHABLE,
};

use crate::{
    client::Client,
    kind::Kind,
    output::{note, print},
};

/// How long the agent may take to ask, which is longer than one query may take.
const LIMIT: Duration = Duration::from_secs(12);

/// Says whether the address answers; a wrong one does not undo the registration.
///
/// # Errors
/// What the hub refused.
pub(super) async fn tell(client: &Client, name: &str, address: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let item: Item = client.get(&Kind::Cluster.path("", name)).await?;
        match said(&item, address) {
            Some(condition) if condition.status == "True" => {
                return print(&format!("✔ metrics     {address} answers\n"));
            }
            Some(condition) => {
                note(&format!(
                    "warning: {name}: its metrics do not answer ({}): {}; correct it by applying \
                     Cluster {name} with another spec.metrics",
                    condition.reason, condition.message
                ));
                return Ok(());
            }
            None if start.elapsed() > LIMIT => {
                note(&format!(
                    "warning: {name}: whether {address} answers is not known yet; see \
                     `bellwether get cluster {name}`"
                ));
                return Ok(());
            }
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// What is known of this address; of an earlier one that is no answer.
fn said(item: &Item, address: &str) -> Option<Condition> {
    let conditions = item.status.as_ref()?.get("conditions")?.clone();
    let conditions: Vec<Condition> = serde_json::from_value(conditions).ok()?;
    conditions.into_iter().find(|condition| {
        condition.kind == METRICS_REACHABLE
            && condition.status != "Unknown"
            && condition.message.starts_with(address)
    })
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::ItemMeta;
    use serde_json::{Value, json};

    use super::*;

    fn cluster(conditions: Value) -> Item {
        Item {
            api_version: "bellwether.dev/v1alpha1".into(),
            kind: "Cluster".into(),
            metadata: ItemMeta::default(),
            spec: Value::Null,
            status: Some(json!({"conditions": conditions})),
        }
    }

    #[test]
    fn an_answer_of_an_earlier_address_is_none() {
        let condition = |status: &str, message: &str| json!([{"type": "MetricsReachable", "status": status, "reason": "r", "message": message}]);
        let known = |conditions| said(&cluster(conditions), "http://new:9090").is_some();
        assert!(known(condition("True", "http://new:9090 answered")));
        assert!(known(condition(
            "False",
            "http://new:9090: failed to reach it"
        )));
        assert!(!known(condition(
            "False",
            "http://old:9090: failed to reach it"
        )));
        assert!(!known(condition("Unknown", "http://new:9090 answered")));
        assert!(!known(json!([])));
    }
}

//! An application as a tree: clusters, then objects, the unhealthy first.

use bellwether_api::{
    call::{Item, UnitView},
    status::{Health, UnitStatus},
};
use jiff::Timestamp;

use super::{
    span::ago,
    style::{Mood, Style, health_word, mood_of},
};

/// Draws an application in its clusters.
#[must_use]
pub fn application(item: &Item, units: &[UnitView], now: Timestamp, style: Style) -> String {
    let namespace = item.metadata.namespace.as_deref().unwrap_or("default");
    let mut text = style.bold(&format!("application {namespace}/{}", item.metadata.name));
    text.push('\n');
    if units.is_empty() {
        text.push_str("  no cluster has it\n");
    }
    for (index, unit) in units.iter().enumerate() {
        let last = index + 1 == units.len();
        text.push_str(&cluster_line(unit, last, now, style));
        let indent = if last {
            "   "
        } else {
            style.pick("│  ", "|  ")
        };
        text.push_str(&objects(unit, indent, style));
    }
    text
}

fn branch(last: bool, style: Style) -> &'static str {
    if last {
        style.pick("└─", "`-")
    } else {
        style.pick("├─", "|-")
    }
}

fn cluster_line(unit: &UnitView, last: bool, now: Timestamp, style: Style) -> String {
    let (mood, word) = health_word(unit.health);
    let state = style.paint(mood, &style.state((mood, word)));
    let mut line = format!("{} {}  {state}", branch(last, style), unit.cluster);
    if unit.health == Health::Unknown {
        match &unit.last_seen {
            Some(at) => line.push_str(&format!("  silent, last seen {} ago", ago(Some(at), now))),
            None => line.push_str("  never heard from"),
        }
    }
    if let Some(status) = &unit.status {
        line.push_str(&format!("  {:?}", status.outcome));
        if !status.reason.is_empty() {
            line.push_str(&format!(" {}", status.reason));
        }
        for track in &status.rollouts {
            line.push_str(&format!(
                "  {} {:?} weight {}",
                track.name, track.phase, track.weight
            ));
        }
    }
    line.push('\n');
    line
}

fn objects(unit: &UnitView, indent: &str, style: Style) -> String {
    let Some(status) = &unit.status else {
        return String::new();
    };
    let fresh = unit.health != Health::Unknown;
    let mut text = String::new();
    let hidden = usize::try_from(status.object_count).unwrap_or(usize::MAX);
    let hidden = hidden.saturating_sub(status.objects.len());
    for (index, object) in status.objects.iter().enumerate() {
        let last = index + 1 == status.objects.len() && hidden == 0;
        let health = if fresh {
            object.health
        } else {
            Health::Unknown
        };
        let (mood, word) = health_word(health);
        let state = style.paint(mood, &style.state((mood, word)));
        text.push_str(&format!(
            "{indent}{} {}  {state}",
            branch(last, style),
            object.object
        ));
        if fresh && !object.reason.is_empty() {
            text.push_str(&format!("  {}: {}", object.reason, object.message));
        }
        text.push('\n');
    }
    if hidden > 0 {
        text.push_str(&format!(
            "{indent}{} {hidden} more objects\n",
            branch(true, style)
        ));
    }
    if fresh {
        text.push_str(&notes(status, indent, style));
    }
    text
}

/// What the agent wants a human to know beside the objects.
fn notes(status: &UnitStatus, indent: &str, style: Style) -> String {
    let stays = status
        .orphans
        .iter()
        .map(|object| format!("{object} is in no release any more, and stays"));
    let waits = status
        .waiting_on
        .iter()
        .map(|wait| format!("waits: {}: {}", wait.reason, wait.message));
    let warnings = status.warnings.iter().cloned().chain(stays);
    let line = |mood, note: String| format!("{indent}{}\n", style.paint(mood, &note));
    warnings
        .map(|note| line(Mood::Warn, format!("! {note}")))
        .chain(waits.map(|note| line(Mood::Busy, note)))
        .collect()
}

/// Draws a fleet with its members.
#[must_use]
pub fn fleet(item: &Item, now: Timestamp, style: Style) -> String {
    let mut text = style.bold(&format!("fleet {}", item.metadata.name));
    text.push('\n');
    let members = item
        .status
        .as_ref()
        .and_then(|status| status["members"].as_array().cloned())
        .unwrap_or_default();
    for (index, member) in members.iter().enumerate() {
        let word = member["condition"].as_str().unwrap_or("Unknown");
        let mood = mood_of(word);
        text.push_str(&format!(
            "{} {}  {}  last seen {}\n",
            branch(index + 1 == members.len(), style),
            member["name"].as_str().unwrap_or_default(),
            style.paint(mood, &style.state((mood, word))),
            ago(member["lastSeen"].as_str(), now),
        ));
    }
    if members.is_empty() {
        text.push_str("  no cluster is a member\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        call::{Item, ItemMeta, UnitView},
        cluster::ClusterCondition,
        reference::{NamespacedName, ObjectRef},
        status::{Health, ObjectStatus, UnitOutcome, UnitStatus},
    };

    use super::application;
    use crate::{render::Style, sample::NOW};

    fn object(kind: &str, health: Health, reason: &str) -> ObjectStatus {
        ObjectStatus {
            object: ObjectRef {
                api_version: "v1".into(),
                kind: kind.into(),
                namespace: Some("shop".into()),
                name: "web".into(),
            },
            health,
            reason: reason.into(),
            message: if reason.is_empty() {
                String::new()
            } else {
                "2 of 5 are ready".into()
            },
        }
    }

    fn unit(cluster: &str, condition: ClusterCondition, health: Health) -> UnitView {
        UnitView {
            cluster: cluster.into(),
            condition,
            last_seen: Some("2026-03-01T12:06:00Z".into()),
            health,
            status: Some(UnitStatus {
                application: NamespacedName {
                    namespace: "shop".into(),
                    name: "web".into(),
                },
                digest: String::new(),
                generation: 4,
                run: uuid::Uuid::nil(),
                attempt: 1,
                release: String::new(),
                outcome: UnitOutcome::Succeeded,
                reason: String::new(),
                applied_release: None,
                health: Health::Healthy,
                objects: vec![
                    object("Deployment", Health::Degraded, "PodsNotReady"),
                    object("Service", Health::Healthy, ""),
                ],
                object_count: 3,
                rollouts: Vec::new(),
                waiting_on: Vec::new(),
                events: Vec::new(),
                executed: Vec::new(),
                orphans: vec![object("ConfigMap", Health::Healthy, "").object],
                warnings: vec!["v1/Secret shop/web was changed by somebody else".into()],
            }),
        }
    }

    #[test]
    fn silent_cluster_and_its_objects_are_unknown() {
        let item = Item {
            api_version: bellwether_api::API_VERSION.into(),
            kind: "Application".into(),
            metadata: ItemMeta {
                name: "web".into(),
                namespace: Some("shop".into()),
                ..ItemMeta::default()
            },
            spec: serde_json::Value::Null,
            status: None,
        };
        let units = [
            unit("eu-west-1", ClusterCondition::Ready, Health::Degraded),
            unit("eu-west-2", ClusterCondition::Unknown, Health::Unknown),
        ];
        insta::assert_snapshot!(application(
            &item,
            &units,
            NOW.parse().expect("a time"),
            Style::GLYPHS
        ));
    }
}

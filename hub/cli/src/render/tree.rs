//! An application as a tree: clusters, then objects, the unhealthy first.

use bellwether_api::{
    call::{Item, UnitView},
    status::{Health, UnitStatus},
    view::WaveView,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    span::ago,
    style::{Mood, Style, health_word, mood_of, wave_word},
};

/// Draws an application: its components, then its clusters by the waves of its newest run.
#[must_use]
pub fn application(
    item: &Item,
    waves: &[WaveView],
    units: &[UnitView],
    now: Timestamp,
    style: Style,
) -> String {
    let namespace = item.metadata.namespace.as_deref().unwrap_or("default");
    let mut text = style.bold(&format!("application {namespace}/{}", item.metadata.name));
    text.push('\n');
    if let Some(draft) = draft(item) {
        let note = format!("  ! draft: {draft}");
        text.push_str(&format!("{}\n", style.paint(Mood::Warn, &note)));
    }
    for component in components(item) {
        text.push_str(&format!("  component {component}\n"));
    }
    if units.is_empty() {
        text.push_str("  no cluster has it\n");
    }
    let (groups, rest) = by_wave(waves, units);
    let count = groups.len() + usize::from(!rest.is_empty());
    for (index, (wave, units)) in groups.iter().enumerate() {
        let (mood, word) = wave_word(wave.state);
        let state = style.paint(mood, &style.state((mood, word)));
        let heading = format!("wave {}  {state}  {}/{}", wave.name, wave.done, wave.total);
        let block = clusters(units, now, style);
        text.push_str(&under(&heading, &block, index + 1 == count, style));
    }
    if groups.is_empty() {
        text.push_str(&clusters(&rest, now, style));
    } else if !rest.is_empty() {
        let block = clusters(&rest, now, style);
        text.push_str(&under("in no wave of the newest run", &block, true, style));
    }
    text
}

/// What is stored and waits to be published, or to be let in; absent = nothing is.
#[must_use]
pub fn draft(item: &Item) -> Option<&str> {
    let conditions = item.status.as_ref()?["conditions"].as_array()?;
    let waits = |one: &&Value| one["type"] == "Draft" || one["type"] == "SyncSuspended";
    let draft = conditions.iter().find(waits)?;
    draft["message"].as_str()
}

/// The components with where their objects come from, as the application says it.
fn components(item: &Item) -> Vec<String> {
    let list = item.spec["components"].as_array();
    let one = |component: &Value| {
        let name = component["name"].as_str()?;
        let objects = component["manifests"].as_array().map(Vec::len);
        let source = ["helm", "git", "oci", "kustomize"];
        let source = source.iter().find(|source| component[**source].is_object());
        Some(match (objects, source) {
            (Some(1), _) => format!("{name}  1 object"),
            (Some(count), _) => format!("{name}  {count} objects"),
            (None, Some(source)) => format!("{name}  {source}"),
            (None, None) => name.to_owned(),
        })
    };
    list.into_iter().flatten().filter_map(one).collect()
}

type Grouped<'a> = Vec<(&'a WaveView, Vec<&'a UnitView>)>;

/// The clusters of each wave, in its order, and those that no wave has.
fn by_wave<'a>(waves: &'a [WaveView], units: &'a [UnitView]) -> (Grouped<'a>, Vec<&'a UnitView>) {
    let in_wave =
        |wave: &WaveView, unit: &UnitView| wave.clusters.iter().any(|one| one.name == unit.cluster);
    let groups = waves.iter().map(|wave| {
        let of_wave = units.iter().filter(|unit| in_wave(wave, unit));
        (wave, of_wave.collect())
    });
    let rest = units
        .iter()
        .filter(|unit| !waves.iter().any(|wave| in_wave(wave, unit)));
    (groups.collect(), rest.collect())
}

/// Hangs the lines of a block under a heading.
fn under(heading: &str, block: &str, last: bool, style: Style) -> String {
    let indent = if last {
        "   "
    } else {
        style.pick("│  ", "|  ")
    };
    let mut text = format!("{} {heading}\n", branch(last, style));
    for line in block.lines() {
        text.push_str(&format!("{indent}{line}\n"));
    }
    text
}

fn clusters(units: &[&UnitView], now: Timestamp, style: Style) -> String {
    let mut text = String::new();
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
            &[],
            &units,
            NOW.parse().expect("a time"),
            Style::GLYPHS
        ));
    }

    #[test]
    fn clusters_stand_under_their_waves_and_a_draft_is_told() {
        let item = Item {
            api_version: bellwether_api::API_VERSION.into(),
            kind: "Application".into(),
            metadata: ItemMeta {
                name: "web".into(),
                namespace: Some("shop".into()),
                ..ItemMeta::default()
            },
            spec: serde_json::json!({"components": [
                {"name": "web", "manifests": [{}, {}]}, {"name": "cache", "helm": {}}]}),
            status: Some(serde_json::json!({"conditions": [
                {"type": "Draft", "message": "publishVersion is still \"v1\""}]})),
        };
        let run = crate::sample::canary_under_way();
        let names: Vec<&str> = run.waves[..2]
            .iter()
            .map(|wave| wave.clusters[0].name.as_str())
            .chain(["elsewhere"])
            .collect();
        let units: Vec<UnitView> = names
            .iter()
            .map(|name| unit(name, ClusterCondition::Ready, Health::Healthy))
            .collect();
        insta::assert_snapshot!(application(
            &item,
            &run.waves,
            &units,
            NOW.parse().expect("a time"),
            Style::PLAIN
        ));
    }
}

//! The four facts of a rollback in each cluster: what it shall run, what its agent reported, whether
//! the workload is well, and whether anything of the release before is left.

use bellwether_api::{
    call::UnitView,
    status::{Health, UnitOutcome, UnitStatus},
    view::{ClusterPhase, ClusterView, RunView},
};

use super::list::grid;

/// One cluster's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The cluster's name.
    pub cluster: String,
    /// Which release it shall run.
    pub spec: String,
    /// What its agent reported of that.
    pub status: String,
    /// How the workload is.
    pub workload: String,
    /// What is left of the release before.
    pub clean_up: String,
    /// Whether all four are as they should be.
    pub done: bool,
    /// Whether it failed for good.
    pub failed: bool,
}

/// Which clusters were meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// Only this wave; absent = all.
    pub wave: Option<&'a str>,
    /// Only this cluster; absent = all.
    pub cluster: Option<&'a str>,
    /// The revision that a part was to go back to; absent = what it had before the run.
    pub revision: Option<u64>,
}

impl Place<'_> {
    /// Tells whether only a part was meant, which no release of its own is made for.
    #[must_use]
    pub const fn is_part(self) -> bool {
        self.wave.is_some() || self.cluster.is_some()
    }
}

/// Reads the facts of the clusters that were meant.
#[must_use]
pub fn facts(view: &RunView, units: &[UnitView], place: Place<'_>) -> Vec<Row> {
    view.waves
        .iter()
        .filter(|wave| place.wave.is_none_or(|only| wave.name == only))
        .flat_map(|wave| &wave.clusters)
        .filter(|cluster| place.cluster.is_none_or(|only| cluster.name == only))
        .map(|cluster| {
            let unit = units.iter().find(|unit| unit.cluster == cluster.name);
            row(view, cluster, unit, place)
        })
        .collect()
}

fn row(view: &RunView, cluster: &ClusterView, unit: Option<&UnitView>, place: Place<'_>) -> Row {
    let is_part = place.is_part();
    // A part of a run that went back does not have its release.
    let is_back = is_part && cluster.state == ClusterPhase::Failed;
    let status = unit.and_then(|unit| unit.status.as_ref());
    let own = status.filter(|status| status.run == view.run && status.attempt == cluster.attempt);
    let reported = own.is_some_and(|status| match status.outcome {
        UnitOutcome::Succeeded => true,
        UnitOutcome::Failed => is_back,
        _ => false,
    });
    let healthy = cluster.reachable && unit.is_some_and(|unit| unit.health == Health::Healthy);
    let clean = own.is_some_and(is_clean);
    let arrived = is_back || !is_part && cluster.state == ClusterPhase::Succeeded;
    Row {
        cluster: cluster.name.clone(),
        spec: spec(view, cluster, place),
        status: match (own, status) {
            _ if !cluster.reachable => "not heard".to_owned(),
            (Some(status), _) => format!("{:?}", status.outcome),
            (None, Some(status)) => format!("{:?} before", status.outcome),
            (None, None) => "none yet".to_owned(),
        },
        workload: match unit {
            Some(unit) if cluster.reachable => format!("{:?}", unit.health),
            _ => "Unknown".to_owned(),
        },
        clean_up: match own {
            Some(_) if clean => "done".to_owned(),
            Some(status) => left(status),
            None => "waits".to_owned(),
        },
        done: arrived && reported && healthy && clean,
        failed: !is_part && cluster.state == ClusterPhase::Failed,
    }
}

fn spec(view: &RunView, cluster: &ClusterView, place: Place<'_>) -> String {
    match (view.restores, cluster.attempt) {
        _ if place.is_part() => place.revision.map_or_else(
            || "the release before".to_owned(),
            |revision| format!("revision {revision}"),
        ),
        (_, 0) => match cluster.waiting_on.first() {
            Some(wait) => format!("waits ({})", wait.reason),
            None => "waits".to_owned(),
        },
        (Some(restores), _) => format!("revision {} = {restores}", view.revision),
        (None, _) => format!("revision {}", view.revision),
    }
}

fn is_clean(status: &UnitStatus) -> bool {
    status.orphans.is_empty()
        && status
            .rollouts
            .iter()
            .all(|track| track.phase.is_terminal())
}

fn left(status: &UnitStatus) -> String {
    let tracks = status
        .rollouts
        .iter()
        .filter(|track| !track.phase.is_terminal())
        .count();
    format!("{} left", tracks + status.orphans.len())
}

/// Draws the facts, one line a cluster.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let titles = ["CLUSTER", "SPEC", "STATUS", "WORKLOAD", "CLEAN-UP"];
    grid(
        &titles,
        rows.iter().map(|row| {
            vec![
                row.cluster.clone(),
                row.spec.clone(),
                row.status.clone(),
                row.workload.clone(),
                row.clean_up.clone(),
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::UnitView;
    use serde_json::json;

    use super::*;
    use crate::sample::canary_under_way;

    fn view(states: &[(&str, ClusterPhase, u32)]) -> RunView {
        let mut view = canary_under_way();
        view.restores = Some(1);
        view.revision = 4;
        let template = view.waves[0].clusters[0].clone();
        view.waves.truncate(1);
        view.waves[0].clusters = states
            .iter()
            .map(|(name, state, attempt)| ClusterView {
                name: (*name).to_owned(),
                state: *state,
                attempt: *attempt,
                reachable: *state != ClusterPhase::Unreachable,
                waiting_on: Vec::new(),
                ..template.clone()
            })
            .collect();
        view
    }

    fn unit(view: &RunView, cluster: &str, outcome: &str, mine: bool) -> UnitView {
        let run = if mine {
            view.run
        } else {
            uuid::Uuid::from_u128(9)
        };
        serde_json::from_value(json!({
            "cluster": cluster, "condition": "Ready",
            "health": if outcome == "Succeeded" { "Healthy" } else { "Progressing" },
            "status": {
                "application": {"namespace": "default", "name": "shop"},
                "digest": "", "generation": 1, "run": run, "attempt": 1, "release": "",
                "outcome": outcome, "reason": "", "appliedRelease": null,
                "health": "Healthy", "objects": [], "objectCount": 1, "rollouts": [],
                "waitingOn": [], "events": [], "executed": [], "orphans": [], "warnings": [],
            },
        }))
        .expect("a unit")
    }

    #[test]
    fn each_cluster_tells_its_four_facts() {
        use ClusterPhase::{Failed, Queued, Succeeded};
        let view = view(&[("c1", Succeeded, 1), ("c2", Queued, 0), ("c3", Failed, 1)]);
        let units = [
            unit(&view, "c1", "Succeeded", true),
            unit(&view, "c2", "RollingBack", false),
            unit(&view, "c3", "Failed", true),
        ];
        let rows = facts(&view, &units, Place::default());
        let said: Vec<(bool, bool)> = rows.iter().map(|row| (row.done, row.failed)).collect();
        assert_eq!(said, [(true, false), (false, false), (false, true)]);
        assert_eq!(
            table(&rows),
            "CLUSTER   SPEC             STATUS               WORKLOAD      CLEAN-UP\n\
             c1        revision 4 = 1   Succeeded            Healthy       done\n\
             c2        waits            RollingBack before   Progressing   waits\n\
             c3        revision 4 = 1   Failed               Progressing   done\n"
        );
        let place = Place {
            cluster: Some("c3"),
            ..Place::default()
        };
        let part = facts(&view, &units, place);
        assert_eq!(part[0].spec, "the release before");
        assert!(!part[0].done && !part[0].failed, "its pods are not ready");
        let named = Place {
            revision: Some(2),
            ..place
        };
        assert_eq!(facts(&view, &units, named)[0].spec, "revision 2");
    }

    #[test]
    fn a_silent_cluster_is_not_done() {
        let view = view(&[("c1", ClusterPhase::Unreachable, 1)]);
        let rows = facts(
            &view,
            &[unit(&view, "c1", "Succeeded", true)],
            Place::default(),
        );
        assert!(!rows[0].done && !rows[0].failed);
        assert_eq!(
            (rows[0].status.as_str(), rows[0].workload.as_str()),
            ("not heard", "Unknown")
        );
    }
}

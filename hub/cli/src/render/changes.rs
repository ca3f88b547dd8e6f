//! What changed between two views of a run, one line a change: for logs and pipes.

use std::collections::BTreeMap;

use bellwether_api::view::{ClusterView, RunView};

use super::{
    run::{headline, reason},
    span::clock,
    style::{Style, cluster_word, wave_word},
};

/// Writes what is new in `next`; everything that is worth a line when there was nothing before.
#[must_use]
pub fn changes(last: Option<&RunView>, next: &RunView, style: Style) -> Vec<String> {
    let at = clock(&next.observed_at);
    let now = next.observed_at.parse().unwrap_or_default();
    let last = last.filter(|last| last.run == next.run);
    let mut lines = Vec::new();
    if last.is_none_or(|last| last.state != next.state) {
        lines.push(format!(
            "{at} {}",
            headline(next, style).replace('\n', "  ")
        ));
    }
    for wave in &next.waves {
        let before = last.and_then(|last| last.waves.iter().find(|old| old.name == wave.name));
        if before.is_some_and(|old| old.state != wave.state) {
            let (_, word) = wave_word(wave.state);
            lines.push(format!(
                "{at} wave {}  {word}  {}/{}",
                wave.name, wave.done, wave.total
            ));
        }
        let old: BTreeMap<&str, &ClusterView> = before
            .map(|old| old.clusters.iter().map(|c| (c.name.as_str(), c)).collect())
            .unwrap_or_default();
        for cluster in &wave.clusters {
            let text = cluster_text(cluster);
            let known = old.get(cluster.name.as_str()).map(|old| cluster_text(old));
            let quiet = cluster.attempt == 0 && known.is_none();
            if known.as_deref() != Some(&text) && !quiet {
                lines.push(format!("{at} {}/{}  {text}", wave.name, cluster.name));
            }
        }
    }
    let wait = next.waiting_on.first().map(|wait| (&wait.reason, &wait.on));
    let wait_before = last
        .and_then(|last| last.waiting_on.first())
        .map(|w| (&w.reason, &w.on));
    if wait != wait_before
        && let Some(first) = next.waiting_on.first()
    {
        lines.push(format!("{at} waiting for  {}", reason(first, now)));
    }
    lines
}

/// What a cluster's line says; equal texts are no change.
fn cluster_text(cluster: &ClusterView) -> String {
    let (_, word) = cluster_word(cluster.state);
    let mut text = word.to_owned();
    for track in &cluster.tracks {
        let step = track.step.map_or(0, |step| step + 1);
        text.push_str(&format!(
            "  {:?} step {step}/{} weight {}",
            track.phase, track.steps, track.weight
        ));
        if track.failed_checks > 0 {
            text.push_str(&format!(
                " failed checks {}/{}",
                track.failed_checks, track.failure_threshold
            ));
        }
        if let Some(failure) = track.failure {
            text.push_str(&format!(" {failure:?}"));
        }
    }
    if !cluster.reason.is_empty() {
        text.push_str(&format!("  {}", cluster.reason));
    }
    text
}

#[cfg(test)]
mod tests {
    use bellwether_api::{number::Weight, view::WavePhase};

    use super::changes;
    use crate::{render::Style, sample::canary_under_way};

    #[test]
    fn first_view_tells_where_it_stands() {
        insta::assert_snapshot!(changes(None, &canary_under_way(), Style::PLAIN).join("\n"));
    }

    #[test]
    fn same_view_says_nothing() {
        let view = canary_under_way();
        assert_eq!(
            changes(Some(&view), &view, Style::PLAIN),
            Vec::<String>::new()
        );
    }

    #[test]
    fn weight_and_wave_changes_are_one_line_each() {
        let last = canary_under_way();
        let mut next = last.clone();
        next.waves[1].clusters[0].tracks[0].weight = Weight::clamped(30);
        next.waves[1].clusters[0].tracks[0].step = Some(2);
        next.waves[1].state = WavePhase::Soaking;
        assert_eq!(
            changes(Some(&last), &next, Style::PLAIN),
            [
                "12:10:00Z wave rest  Soaking  0/2",
                "12:10:00Z rest/eu-west-1  Progressing  Progressing step 3/5 weight 30",
            ]
        );
    }
}

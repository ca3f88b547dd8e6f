//! The live tree of a run: headline, what is waited for, waves and clusters.

use bellwether_api::{
    number::Weight,
    status::{CheckResult, CurrentStep, TrackSummary, WaitReason},
    strategy::StrategyKind,
    view::{ClusterPhase, ClusterView, RunView, WavePhase, WaveView},
};
use jiff::Timestamp;

use super::{
    span::{ago, between, fit, near_clock, release_name, span},
    style::{Mood, Style, cluster_word, run_word, wave_word},
};

/// Where the text goes.
#[derive(Clone, Copy, Debug)]
pub struct Viewport {
    /// Columns.
    pub width: usize,
    /// Lines; absent = as many as it takes.
    pub height: Option<usize>,
}

/// Draws a run.
#[must_use]
pub fn run(view: &RunView, viewport: Viewport, now: Timestamp, style: Style) -> String {
    let mut head = vec![headline(view, style)];
    head.extend(waiting(view, viewport.width, now));
    let rows = rows(view, now, style, collapse(view, viewport, head.len() + 1));
    let widths = widths(&rows);
    let mut lines = head;
    lines.push(style.bold(&layout(&TITLES.map(String::from), &widths)));
    for row in &rows {
        let text = fit(&layout(&row.cells, &widths), viewport.width);
        lines.push(paint_state(&text, row, style));
    }
    if let Some(height) = viewport.height
        && lines.len() > height
    {
        let hidden = lines.len() - height + 1;
        lines.truncate(height.saturating_sub(1));
        lines.push(format!(
            "… {hidden} more lines; `-o wide` without -w shows all"
        ));
    }
    let mut text = lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n");
    text.push('\n');
    if style.glyphs {
        text
    } else {
        text.replace('…', "~")
    }
}

/// The one line that says how a run stands.
#[must_use]
pub fn headline(view: &RunView, style: Style) -> String {
    let to = release_name(&view.version, view.revision);
    let change = match view.from_revision {
        Some(from) => {
            let from = release_name(&view.from_version, from);
            format!("{from} {} {to}", style.pick("→", "->"))
        }
        None => format!("install {to}"),
    };
    let (mood, word) = run_word(view.state);
    let state = style.paint(mood, &style.state((mood, word)));
    let mut text = format!(
        "rollout {}  rev {}  {change}   {state}",
        view.application, view.revision
    );
    if let Some(wave) = current_wave(view) {
        text.push_str(&format!(
            "  wave {}/{} {}",
            wave.index + 1,
            view.waves.len(),
            wave.name
        ));
    }
    text.push_str(&format!(
        "  {}/{} clusters  {} %",
        view.done, view.total, view.percent
    ));
    if !view.message.is_empty() {
        text.push_str(&format!("\n{}", view.message));
    }
    text
}

fn current_wave(view: &RunView) -> Option<&WaveView> {
    if view.state.is_terminal() {
        return None;
    }
    view.waves
        .iter()
        .find(|wave| !matches!(wave.state, WavePhase::Passed | WavePhase::Skipped))
}

fn waiting(view: &RunView, width: usize, now: Timestamp) -> Vec<String> {
    let Some(first) = view.waiting_on.first() else {
        return Vec::new();
    };
    let mut text = format!("waiting for  {}", reason(first, now));
    if let Some(by_itself) = &first.by_itself {
        text.push_str(&format!("; {}", by_itself_text(by_itself, now)));
    }
    if view.waiting_on.len() > 1 {
        text.push_str(&format!(
            "  (+{} more: `bellwether why`)",
            view.waiting_on.len() - 1
        ));
    }
    vec![fit(&text, width)]
}

/// One phrase for one reason.
#[must_use]
pub fn reason(wait: &WaitReason, now: Timestamp) -> String {
    let text = if wait.message.is_empty() {
        wait.reason.clone()
    } else {
        plain_times(&wait.message, now)
    };
    match &wait.on {
        // `cluster/a` is named where `a` is.
        Some(on) if !text.contains(on.rsplit('/').next().unwrap_or(on)) => format!("{on}: {text}"),
        _ => text,
    }
}

/// Shortens the times in a sentence, to the time of day where that tells the day too.
fn plain_times(text: &str, now: Timestamp) -> String {
    let words: Vec<String> = text
        .split(' ')
        .map(|word| match word.trim_end_matches([',', ';', '.', ':']) {
            bare if bare.ends_with('Z') && bare.contains('T') => {
                word.replacen(bare, &near_clock(bare, now), 1)
            }
            _ => word.to_owned(),
        })
        .collect();
    words.join(" ")
}

/// Writes what happens by itself, with the span until then where it begins with a time.
#[must_use]
pub fn by_itself_text(text: &str, now: Timestamp) -> String {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    match first.trim_end_matches(':').parse::<Timestamp>() {
        Ok(at) => {
            let left = span(at.duration_since(now).as_secs());
            let what = if rest.is_empty() { "goes on" } else { rest };
            format!("{what} in {left}")
        }
        Err(_) => text.to_owned(),
    }
}

const TITLES: [&str; 8] = [
    "WAVE/CLUSTER",
    "STATE",
    "STEP",
    "WEIGHT",
    "READY",
    "FAILED",
    "FOR",
    "NOTE",
];

struct Row {
    cells: [String; 8],
    mood: Mood,
    state: String,
}

/// How much is shown of clusters that need no attention.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Full,
    Collapsed,
}

fn collapse(view: &RunView, viewport: Viewport, head: usize) -> Detail {
    let lines: usize = view.waves.iter().map(|wave| wave.clusters.len() + 1).sum();
    match viewport.height {
        Some(height) if lines + head > height => Detail::Collapsed,
        _ => Detail::Full,
    }
}

fn rows(view: &RunView, now: Timestamp, style: Style, detail: Detail) -> Vec<Row> {
    let mut rows = Vec::new();
    for wave in &view.waves {
        rows.push(wave_row(wave, now, style));
        let mut clusters: Vec<&ClusterView> = wave.clusters.iter().collect();
        if detail == Detail::Collapsed {
            clusters.retain(|cluster| !is_quiet(cluster));
            // Whatever needs a human must not fall off the screen.
            clusters.sort_by_key(|cluster| urgency(cluster.state));
        }
        let quiet = quiet_row(wave, style, detail);
        let last = clusters.len() + usize::from(quiet.is_some());
        for (index, cluster) in clusters.iter().enumerate() {
            rows.push(cluster_row(cluster, index + 1 == last, now, style));
        }
        rows.extend(quiet);
    }
    rows
}

const fn is_quiet(cluster: &ClusterView) -> bool {
    matches!(
        cluster.state,
        ClusterPhase::Succeeded | ClusterPhase::Queued | ClusterPhase::Skipped
    )
}

const fn urgency(phase: ClusterPhase) -> u8 {
    match phase {
        ClusterPhase::Failed => 0,
        ClusterPhase::RollingBack => 1,
        ClusterPhase::Unreachable => 2,
        ClusterPhase::WaitingApproval | ClusterPhase::Suspended => 3,
        ClusterPhase::Progressing | ClusterPhase::Granted => 4,
        ClusterPhase::Queued | ClusterPhase::Skipped | ClusterPhase::Succeeded => 5,
    }
}

fn quiet_row(wave: &WaveView, style: Style, detail: Detail) -> Option<Row> {
    if detail == Detail::Full {
        return None;
    }
    let count = |phase| {
        wave.clusters
            .iter()
            .filter(|cluster| cluster.state == phase)
            .count()
    };
    let parts: Vec<String> = [
        (ClusterPhase::Succeeded, "done"),
        (ClusterPhase::Queued, "queued"),
        (ClusterPhase::Skipped, "skipped"),
    ]
    .into_iter()
    .map(|(phase, word)| (count(phase), word))
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    if parts.is_empty() {
        return None;
    }
    let mut cells: [String; 8] = Default::default();
    cells[0] = format!("  {} {}", style.pick("└", "`-"), parts.join(", "));
    Some(Row {
        cells,
        mood: Mood::Idle,
        state: String::new(),
    })
}

fn wave_row(wave: &WaveView, now: Timestamp, style: Style) -> Row {
    let (mood, word) = wave_word(wave.state);
    let open = matches!(wave.state, WavePhase::Waiting | WavePhase::Skipped);
    let arrow = if open {
        style.pick("▸", ">")
    } else {
        style.pick("▾", "v")
    };
    let end = wave
        .finished_at
        .as_deref()
        .and_then(|at| at.parse().ok())
        .unwrap_or(now);
    let state = style.state((mood, word));
    let spent = if wave.started_at.is_some() {
        between(wave.started_at.as_deref(), Some(end))
    } else {
        String::new()
    };
    let cells = [
        format!("{arrow} {}  {}/{}", wave.name, wave.done, wave.total),
        state.clone(),
        String::new(),
        String::new(),
        String::new(),
        if wave.failed > 0 {
            format!("{}/{}", wave.failed, wave.max_failures)
        } else {
            String::new()
        },
        spent,
        wave_note(wave),
    ];
    Row { cells, mood, state }
}

fn wave_note(wave: &WaveView) -> String {
    if !wave.note.is_empty() {
        return wave.note.clone();
    }
    if matches!(wave.state, WavePhase::Failed | WavePhase::RollingBack) {
        return String::new();
    }
    let started = !matches!(wave.state, WavePhase::Waiting);
    wave.gates
        .iter()
        .filter(|gate| !gate.passed && gate.after == started)
        .map(|gate| gate.detail.clone())
        .collect::<Vec<_>>()
        .join(" + ")
}

fn cluster_row(cluster: &ClusterView, last: bool, now: Timestamp, style: Style) -> Row {
    let (mood, word) = cluster_word(cluster.state);
    let branch = if last {
        style.pick("└", "`-")
    } else {
        style.pick("├", "|-")
    };
    let track = cluster.tracks.first();
    let under_way = track.filter(|_| {
        !matches!(
            cluster.state,
            ClusterPhase::Succeeded | ClusterPhase::Queued | ClusterPhase::Skipped
        )
    });
    let word = match under_way {
        Some(track) if cluster.state == ClusterPhase::Progressing => format!("{:?}", track.phase),
        _ => word.to_owned(),
    };
    let state = style.state((mood, &word));
    let cell = |text: fn(&TrackSummary) -> String| under_way.map(text).unwrap_or_default();
    let cells = [
        format!("  {branch} {}", cluster.name),
        state.clone(),
        track.map(step).unwrap_or_default(),
        cell(share),
        cell(|track| format!("{}/{}", track.canary.ready, track.canary.desired)),
        cell(|track| format!("{}/{}", track.failed_checks, track.failure_threshold)),
        if cluster.since.is_some() {
            ago(cluster.since.as_deref(), now)
        } else {
            String::new()
        },
        cluster_note(cluster, now),
    ];
    Row { cells, mood, state }
}

/// The step, with the checks that passed at it where it wants more than one.
fn step(track: &TrackSummary) -> String {
    let current = track.step.map_or(0, |step| step + 1);
    let CurrentStep {
        iteration,
        iterations,
        ..
    } = track.current;
    if iterations > 1 {
        return format!("{current}/{} ({iteration}/{iterations})", track.steps);
    }
    format!("{current}/{}", track.steps)
}

/// The weight as planned and as observed, with what else the canary gets. A batch that splits nothing
/// has none: its pods stand beside it.
fn share(track: &TrackSummary) -> String {
    let carried = track.weight.max(track.observed_weight) > Weight::ZERO || track.current.matched;
    if track.current.strategy == StrategyKind::Batch && !carried {
        return "-".to_owned();
    }
    let mut text = format!("{}/{}", track.weight, track.observed_weight);
    if track.current.matched {
        text.push_str(" +match");
    }
    if track.current.mirror > Weight::ZERO {
        text.push_str(&format!(" +mirror {}", track.current.mirror));
    }
    text
}

/// One phrase on a cluster: silence first, then failure, then what it waits for, then a check.
#[must_use]
pub fn cluster_note(cluster: &ClusterView, now: Timestamp) -> String {
    if !cluster.reachable && cluster.state != ClusterPhase::Queued {
        return match &cluster.last_seen {
            Some(at) => format!(
                "silent since {} ago; nothing fresh is known",
                ago(Some(at), now)
            ),
            None => "never heard from".to_owned(),
        };
    }
    if !cluster.message.is_empty() {
        return plain_times(&cluster.message, now);
    }
    let going_back = cluster.state == ClusterPhase::RollingBack;
    if let Some(track) = cluster.tracks.first()
        && going_back
        && !track.message.is_empty()
    {
        return plain_times(&track.message, now);
    }
    if !cluster.reason.is_empty() {
        return cluster.reason.clone();
    }
    let track = cluster.tracks.first();
    if let Some(check) = track.and_then(|track| track.checks.last())
        && cluster.state == ClusterPhase::Progressing
    {
        let wait = cluster
            .waiting_on
            .first()
            .map(|wait| format!("; {}", reason(wait, now)));
        return format!("{}{}", check_note(check), wait.unwrap_or_default());
    }
    let wait = cluster.waiting_on.first();
    wait.map(|wait| reason(wait, now)).unwrap_or_default()
}

fn check_note(check: &CheckResult) -> String {
    match &check.value {
        Some(value) => {
            let beside = check.stable.as_ref();
            let beside = beside.map_or_else(String::new, |stable| format!(", stable {stable}"));
            format!(
                "{} {value}{beside} ({}) {:?}",
                check.metric, check.limit, check.verdict
            )
        }
        None => format!("{} no data: {}", check.metric, check.reason),
    }
}

fn widths(rows: &[Row]) -> [usize; 8] {
    let mut widths = TITLES.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn layout(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let pad = width.saturating_sub(cell.chars().count()) + 2;
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', pad));
    }
    line.trim_end().to_owned()
}

fn paint_state(text: &str, row: &Row, style: Style) -> String {
    if row.state.is_empty() || !style.colour {
        return text.to_owned();
    }
    text.replacen(&row.state, &style.paint(row.mood, &row.state), 1)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;

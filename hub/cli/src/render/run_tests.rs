use bellwether_api::{
    number::Weight,
    status::CurrentStep,
    strategy::StrategyKind,
    view::{ClusterPhase, RunPhase},
};

use super::{Viewport, run};
use crate::{
    render::Style,
    sample::{NOW, canary_under_way, wide_run},
};

fn draw(view: &bellwether_api::view::RunView, height: Option<usize>, style: Style) -> String {
    run(
        view,
        Viewport { width: 120, height },
        NOW.parse().expect("a time"),
        style,
    )
}

#[test]
fn canary_under_way_reads_as_a_tree() {
    insta::assert_snapshot!(draw(&canary_under_way(), None, Style::GLYPHS));
}

#[test]
fn plain_text_has_no_glyph_beyond_ascii() {
    let text = draw(&canary_under_way(), None, Style::PLAIN);
    assert!(text.is_ascii(), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn iterations_matches_and_mirrors_are_shown() {
    let mut view = canary_under_way();
    let track = &mut view.waves[1].clusters[0].tracks[0];
    track.current = CurrentStep {
        iteration: 2,
        iterations: 3,
        matched: true,
        mirror: Weight::clamped(20),
        ..CurrentStep::default()
    };
    let text = draw(&view, None, Style::GLYPHS);
    assert!(text.contains("2/5 (2/3)"), "{text}");
    assert!(text.contains("20/20 +match +mirror 20"), "{text}");
}

#[test]
fn a_batch_has_pods_and_a_weight_only_where_it_splits() {
    let mut view = canary_under_way();
    let track = &mut view.waves[1].clusters[0].tracks[0];
    track.current.strategy = StrategyKind::Batch;
    let ready = format!("{}/{}", track.canary.ready, track.canary.desired);
    let split = format!("{}/{}   {ready}", track.weight, track.observed_weight);
    let text = draw(&view, None, Style::GLYPHS);
    assert!(text.contains(&split), "{text}");
    let track = &mut view.waves[1].clusters[0].tracks[0];
    (track.weight, track.observed_weight) = (Weight::ZERO, Weight::ZERO);
    let text = draw(&view, None, Style::GLYPHS);
    assert!(text.contains(&format!("-       {ready}")), "{text}");
}

#[test]
fn silent_cluster_shows_no_old_green() {
    let mut view = canary_under_way();
    let cluster = &mut view.waves[0].clusters[0];
    cluster.reachable = false;
    cluster.state = ClusterPhase::Unreachable;
    let text = draw(&view, None, Style::GLYPHS);
    assert!(text.contains("‖ Unreachable"), "{text}");
    assert!(
        text.contains("silent since 4m ago; nothing fresh is known"),
        "{text}"
    );
}

#[test]
fn many_clusters_fit_the_viewport_and_keep_the_failing_one() {
    let view = wide_run(40);
    let text = draw(&view, Some(14), Style::GLYPHS);
    assert!(text.lines().count() <= 14, "{text}");
    assert!(text.contains("c-07"), "{text}");
    assert!(text.contains("20 done, 18 queued"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn colour_changes_no_letter() {
    let style = Style {
        colour: true,
        glyphs: true,
    };
    let coloured = draw(&canary_under_way(), None, style);
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, draw(&canary_under_way(), None, Style::GLYPHS));
    assert_ne!(coloured, stripped);
}

#[test]
fn finished_run_names_no_wave() {
    let mut view = canary_under_way();
    view.state = RunPhase::Succeeded;
    view.waiting_on.clear();
    let text = draw(&view, None, Style::GLYPHS);
    assert!(text.starts_with("rollout shop/web  rev 7  2.4.0 → 2.4.1   ✔ Succeeded  1/3 clusters"));
    assert!(!text.contains("waiting for"), "{text}");
}

#[test]
fn times_in_sentences_are_short() {
    let wait = bellwether_api::status::WaitReason {
        reason: "Soak".into(),
        message: "wave canary must stay healthy until 2026-03-01T12:10:39.931156242Z, then goes on"
            .into(),
        on: Some("wave/canary".into()),
        since: None,
        by_itself: None,
    };
    let now = NOW.parse().expect("a time");
    assert_eq!(
        super::reason(&wait, now),
        "wave canary must stay healthy until 12:10:39Z, then goes on"
    );
    let far = bellwether_api::status::WaitReason {
        message: "the window opens at 2028-02-28T23:00:00Z".into(),
        ..wait
    };
    assert_eq!(
        super::reason(&far, now),
        "wave/canary: the window opens at 2028-02-28T23:00:00Z"
    );
    assert_eq!(
        super::by_itself_text("2026-03-01T12:10:30.5Z: the checks are made", now),
        "the checks are made in 30s"
    );
}

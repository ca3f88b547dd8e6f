//! The answer of `why`.

use bellwether_api::call::Why;
use jiff::Timestamp;

use super::{
    run::{by_itself_text, reason},
    span::ago,
    style::Style,
};

/// Writes why something does not move.
#[must_use]
pub fn why(answer: &Why, now: Timestamp, style: Style) -> String {
    let mut text = style.bold(&answer.headline);
    if answer.since.is_some() {
        text.push_str(&format!(
            "   since {} ago",
            ago(answer.since.as_deref(), now)
        ));
    }
    if answer.queued > 0 {
        text.push_str(&format!("; {} clusters queue behind it", answer.queued));
    }
    text.push('\n');
    let mut section = |title: &str, lines: &[String]| {
        for (index, line) in lines.iter().enumerate() {
            let title = if index == 0 { title } else { "" };
            text.push_str(&format!("  {title:<11} {line}\n"));
        }
    };
    let because: Vec<String> = answer
        .because
        .iter()
        .map(|wait| format!("{}: {}", wait.reason, reason(wait, now)))
        .collect();
    section("because", &because);
    section("not this", &answer.not_this);
    let width = answer
        .do_one_of
        .iter()
        .map(|remedy| remedy.command.chars().count())
        .max();
    let remedies: Vec<String> = answer
        .do_one_of
        .iter()
        .map(|remedy| {
            format!(
                "{:<width$}   {}",
                remedy.command,
                remedy.effect,
                width = width.unwrap_or(0)
            )
        })
        .collect();
    section("do one of", &remedies);
    let by_itself: Vec<String> = if answer.by_itself.is_empty() {
        vec!["nothing".to_owned()]
    } else {
        answer
            .by_itself
            .iter()
            .map(|text| by_itself_text(text, now))
            .collect()
    };
    section("by itself", &by_itself);
    text
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        call::{Remedy, Why},
        status::WaitReason,
    };

    use super::why;
    use crate::{render::Style, sample::NOW};

    #[test]
    fn blocked_run_names_cause_and_ways_out() {
        let answer = Why {
            headline: "BLOCKED AgentUnreachable at us/us-west-2".into(),
            since: Some("2026-03-01T11:56:00Z".into()),
            because: vec![WaitReason {
                reason: "AgentUnreachable".into(),
                message: "no heartbeat since 11:56:00Z".into(),
                on: Some("us-west-2".into()),
                since: None,
                by_itself: None,
            }],
            queued: 3,
            not_this: vec!["no approval is open".into(), "not suspended".into()],
            do_one_of: vec![
                Remedy {
                    command: "bellwether rollout skip web --cluster us-west-2".into(),
                    effect: "goes on without it".into(),
                },
                Remedy {
                    command: "bellwether rollout abort web".into(),
                    effect: "5 clusters back to 2.4.0".into(),
                },
            ],
            by_itself: vec!["2026-03-01T12:16:00Z aborts (progressDeadline)".into()],
        };
        insta::assert_snapshot!(why(&answer, NOW.parse().expect("a time"), Style::GLYPHS));
    }
}

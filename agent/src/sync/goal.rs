//! What is to be done about a unit now; pure.

use bellwether_api::{
    bundle::BundleMode, command::AbortCause, status::UnitOutcome, sync_record::SyncUnit,
};

/// What is to be done about a unit now. Digests are those of bundles, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Nothing is held and nothing is wanted.
    Nothing,
    /// All objects go.
    Remove,
    /// The bundle is held as it is; drift is corrected.
    Keep(String),
    /// The bundle is looked at for the first time.
    Begin(String),
    /// The bundle is applied at once.
    Apply(String),
    /// The bundle comes in by its rollouts, with `previous` as the way back.
    Run {
        /// The bundle that comes in.
        digest: String,
        /// The bundle that ran before.
        previous: String,
        /// Why it is ended early; absent = it is not.
        abort: Option<AbortCause>,
    },
    /// The bundle that ran before is applied again, after a plain update failed.
    Return(String),
}

/// Tells what is to be done.
#[must_use]
pub fn goal(unit: &SyncUnit) -> Goal {
    if let (Some(running), Some(previous)) = (&unit.running_digest, &unit.applied_digest) {
        let abort = match &unit.digest {
            None => Some(AbortCause::Deleted),
            Some(digest) if digest != running => Some(AbortCause::Superseded),
            Some(_) => None,
        };
        return Goal::Run {
            digest: running.clone(),
            previous: previous.clone(),
            abort,
        };
    }
    // A removal that began is finished first, whatever is granted meanwhile: half of the objects may
    // be gone, so that there is nothing left to roll out from. What is granted is a first install then.
    if unit.removing {
        return Goal::Remove;
    }
    let Some(digest) = &unit.digest else {
        let nothing = unit.objects.is_empty() && unit.chart_hooks.is_empty();
        return if nothing && unit.applied_digest.is_none() {
            Goal::Nothing
        } else {
            Goal::Remove
        };
    };
    match (unit.outcome, &unit.applied_digest) {
        (None, _) => Goal::Begin(digest.clone()),
        (Some(UnitOutcome::Progressing), _) => Goal::Apply(digest.clone()),
        (Some(UnitOutcome::RollingBack), Some(previous)) => Goal::Return(previous.clone()),
        // A hook failed before anything was applied.
        (Some(UnitOutcome::Failed), None) if unit.chart_hooks.stopped(digest) => Goal::Nothing,
        (Some(UnitOutcome::Failed | UnitOutcome::RollingBack), None) => {
            // A first install has nothing to go back to: what there is of it stays, and may heal.
            Goal::Keep(digest.clone())
        }
        (Some(_), Some(applied)) => Goal::Keep(applied.clone()),
        (Some(_), None) => Goal::Nothing,
    }
}

/// One governed workload whose template a bundle changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateChange {
    /// The Rollout's name.
    pub rollout: String,
    /// Digest of the new template and its tracked configuration.
    pub digest: String,
}

/// How a bundle that is looked at for the first time comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// At once.
    Plain,
    /// By its rollouts.
    ByRollout,
    /// Not at all: the templates of these rollouts failed here before and have not changed.
    Held(Vec<String>),
}

/// Tells how a bundle begins. `changes` are the templates that differ from what runs; an attempt
/// above 1 is a human's word that a failed one is tried again.
#[must_use]
pub fn beginning(
    unit: &SyncUnit,
    mode: BundleMode,
    attempt: u32,
    changes: &[TemplateChange],
) -> Beginning {
    if mode == BundleMode::Plain || unit.applied_digest.is_none() || changes.is_empty() {
        return Beginning::Plain;
    }
    let held: Vec<String> = changes
        .iter()
        .filter(|change| attempt <= 1 && unit.failed_templates.contains(&change.digest))
        .map(|change| change.rollout.clone())
        .collect();
    if held.is_empty() {
        Beginning::ByRollout
    } else {
        Beginning::Held(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> SyncUnit {
        serde_json::from_value(serde_json::json!({
            "key": "application/default/shop", "generation": 1, "digest": "new",
        }))
        .expect("a unit needs no more")
    }

    #[test]
    fn goal_follows_what_is_held() {
        let applied = |unit: SyncUnit| SyncUnit {
            applied_digest: Some("old".into()),
            ..unit
        };
        let with = |outcome| SyncUnit {
            outcome: Some(outcome),
            ..applied(unit())
        };
        let running = SyncUnit {
            running_digest: Some("new".into()),
            ..applied(unit())
        };
        let run = |abort| Goal::Run {
            digest: "new".into(),
            previous: "old".into(),
            abort,
        };
        let cases = [
            (unit(), Goal::Begin("new".into())),
            (with(UnitOutcome::Progressing), Goal::Apply("new".into())),
            (with(UnitOutcome::Failed), Goal::Keep("old".into())),
            (with(UnitOutcome::Refused), Goal::Keep("old".into())),
            (with(UnitOutcome::RollingBack), Goal::Return("old".into())),
            (running.clone(), run(None)),
            (
                SyncUnit {
                    digest: Some("newer".into()),
                    ..running.clone()
                },
                run(Some(AbortCause::Superseded)),
            ),
            (
                SyncUnit {
                    digest: None,
                    ..running
                },
                run(Some(AbortCause::Deleted)),
            ),
            (
                SyncUnit {
                    digest: None,
                    ..applied(unit())
                },
                Goal::Remove,
            ),
            (
                SyncUnit {
                    removing: true,
                    ..applied(unit())
                },
                Goal::Remove,
            ),
            (
                SyncUnit {
                    digest: None,
                    ..unit()
                },
                Goal::Nothing,
            ),
            (
                SyncUnit {
                    outcome: Some(UnitOutcome::Failed),
                    ..unit()
                },
                Goal::Keep("new".into()),
            ),
        ];
        for (unit, expected) in cases {
            assert_eq!(goal(&unit), expected, "{unit:?}");
        }
    }

    #[test]
    fn failed_template_is_held_until_it_changes_or_is_retried() {
        let unit = SyncUnit {
            applied_digest: Some("old".into()),
            failed_templates: vec!["bad".into()],
            ..unit()
        };
        let change = |digest: &str| {
            [TemplateChange {
                rollout: "web".into(),
                digest: digest.into(),
            }]
        };
        let begin =
            |attempt, digest| beginning(&unit, BundleMode::Rollout, attempt, &change(digest));
        assert_eq!(begin(1, "bad"), Beginning::Held(vec!["web".into()]));
        assert_eq!(begin(2, "bad"), Beginning::ByRollout);
        assert_eq!(begin(1, "good"), Beginning::ByRollout);
        assert_eq!(
            beginning(&unit, BundleMode::Plain, 1, &change("bad")),
            Beginning::Plain
        );
        assert_eq!(
            beginning(&unit, BundleMode::Rollout, 1, &[]),
            Beginning::Plain
        );
    }
}

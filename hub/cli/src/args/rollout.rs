//! `rollout`.

use std::time::Duration;

use bellwether_api::{
    call::ActionVerb,
    number::{IntOrPercent, Weight},
    strategy::Manual,
};
use clap::{Args, Subcommand};

use super::{Format, parse_duration};

/// `rollout …`.
#[derive(Subcommand, Debug)]
pub enum RolloutCommand {
    /// Open a waiting gate or step
    Approve(ActionArgs),
    /// Skip all remaining steps and promote
    Promote(ActionArgs),
    /// Stop where it is: weights stay, timers and checks are ignored
    #[command(visible_alias = "pause")]
    Suspend(ActionArgs),
    /// Go on after suspend, or after a failure paused the run
    Resume(ActionArgs),
    /// Skip the current step, or one cluster with --cluster
    Skip(ActionArgs),
    /// Leave the run: everything goes back to what was before
    Abort(ActionArgs),
    /// Try again what failed; what is still on its way back is tried again once it is back
    Retry(ActionArgs),
    /// Set the share of traffic, and the pods, of a canary that is driven by hand
    SetWeight(SetWeightArgs),
    /// Go back to the last release that succeeded; with --wave or --cluster take that back to what it had
    Rollback(ActionArgs),
    /// Go back to the last release that succeeded, or to an earlier one that did, also in a wave or cluster
    Undo(UndoArgs),
    /// Put an ended run away, or a wave or cluster of it: it is not tried again, its history stays
    Finish(ActionArgs),
    /// Show past runs
    History {
        /// The application's or rollout's name
        name: String,
        /// How the answer is printed
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
    /// Show the run; the exit code says how it stands (0 done or under way, 3 failed, 4 waits for a human)
    Status {
        /// The application's or rollout's name
        name: String,
        /// Wait until it ends or waits for a human
        #[arg(long)]
        wait: bool,
        /// Give up waiting after this long
        #[arg(long, value_parser = parse_duration)]
        timeout: Option<Duration>,
        /// How the answer is printed
        #[arg(short, long, value_enum)]
        output: Option<Format>,
    },
}

impl RolloutCommand {
    /// Returns the verb and its options; `None` for the reading sub-commands.
    #[must_use]
    pub const fn action(&self) -> Option<(ActionVerb, &ActionArgs)> {
        match self {
            Self::SetWeight(args) => Some((ActionVerb::SetWeight, &args.action)),
            Self::Approve(args) => Some((ActionVerb::Approve, args)),
            Self::Promote(args) => Some((ActionVerb::Promote, args)),
            Self::Suspend(args) => Some((ActionVerb::Suspend, args)),
            Self::Resume(args) => Some((ActionVerb::Resume, args)),
            Self::Skip(args) => Some((ActionVerb::Skip, args)),
            Self::Abort(args) => Some((ActionVerb::Abort, args)),
            Self::Retry(args) => Some((ActionVerb::Retry, args)),
            Self::Rollback(args) => Some((ActionVerb::Rollback, args)),
            Self::Undo(args) => Some((ActionVerb::Rollback, &args.action)),
            Self::Finish(args) => Some((ActionVerb::Finish, args)),
            Self::History { .. } | Self::Status { .. } => None,
        }
    }

    /// Returns what `set-weight` sets; `None` for every other sub-command.
    #[must_use]
    pub const fn set(&self) -> Option<Manual> {
        match self {
            Self::SetWeight(args) => Some(Manual {
                weight: args.weight,
                replicas: args.replicas,
            }),
            _ => None,
        }
    }
}

impl RolloutCommand {
    /// Returns the revision that `undo` names; `None` for every other sub-command, and where it
    /// names none.
    #[must_use]
    pub const fn to_revision(&self) -> Option<u64> {
        match self {
            Self::Undo(args) => args.to_revision,
            _ => None,
        }
    }
}

/// Options of the verbs that act.
#[derive(Args, Debug)]
pub struct ActionArgs {
    /// The application's or rollout's name
    pub name: String,
    /// Only this wave
    #[arg(long)]
    pub wave: Option<String>,
    /// Only this cluster
    #[arg(long)]
    pub cluster: Option<String>,
    /// The step that you saw, from 0; another one is refused as stale
    #[arg(long)]
    pub step: Option<u32>,
    /// Why; kept with the action
    #[arg(long, default_value = "")]
    pub reason: String,
    /// The revision that you saw; another one is a conflict (exit code 6)
    #[arg(long)]
    pub revision: Option<u64>,
    /// Wait until the run ends or waits for a human
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this long
    #[arg(long, value_parser = parse_duration)]
    pub timeout: Option<Duration>,
}

/// Options of `set-weight`.
#[derive(Args, Debug)]
pub struct SetWeightArgs {
    /// Options as of the other verbs
    #[command(flatten)]
    pub action: ActionArgs,
    /// The canary's share of traffic in percent, 0 to 100
    #[arg(value_parser = parse_weight)]
    pub weight: Weight,
    /// The canary's pods: a count, or a percentage of the workload's; unless given they follow the weight
    #[arg(long, value_name = "N|P%")]
    pub replicas: Option<IntOrPercent>,
}

/// Options of `undo`.
#[derive(Args, Debug)]
pub struct UndoArgs {
    /// Options as of the other verbs
    #[command(flatten)]
    pub action: ActionArgs,
    /// The revision to go back to, as `rollout history` lists it; unless given the last one that succeeded,
    /// or with --wave or --cluster what each cluster had before
    #[arg(long, value_name = "N")]
    pub to_revision: Option<u64>,
}

fn parse_weight(text: &str) -> Result<Weight, String> {
    text.parse()
        .ok()
        .and_then(Weight::new)
        .ok_or_else(|| "a share of traffic is a whole number of percent, 0 to 100".to_owned())
}

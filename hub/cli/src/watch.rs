//! Following a run until it ends.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use bellwether_api::view::{ClusterPhase, RunPhase, RunView};
use futures::StreamExt as _;
use jiff::Timestamp;

use crate::{
    args::{Format, Global},
    client::Client,
    failure::{Code, Failure},
    kind::run_path,
    output::{Screen, note, print},
    render::{changes::changes, run::run},
};

/// When following ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The run has ended, or has failed and nothing happens by itself any more.
    Ended,
    /// As `Ended`, or it waits for a human.
    EndedOrHuman,
}

/// How a run is followed.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    /// When it ends.
    pub until: Until,
    /// How views are printed; absent = for people.
    pub format: Option<Format>,
    /// Give up after this long; absent = never.
    pub timeout: Option<Duration>,
}

/// Returns how a command ends that looked at a run.
#[must_use]
pub const fn code_of(phase: RunPhase) -> Code {
    match phase {
        RunPhase::Failed | RunPhase::Aborted | RunPhase::Halted | RunPhase::RollingBack => {
            Code::Failed
        }
        RunPhase::WaitingApproval | RunPhase::Suspended => Code::WaitsForHuman,
        RunPhase::Pending
        | RunPhase::Progressing
        | RunPhase::Soaking
        | RunPhase::Succeeded
        | RunPhase::Superseded => Code::Done,
    }
}

/// A halted run ends once nothing moves any more: whatever goes back is worth seeing.
fn ends(view: &RunView, until: Until) -> bool {
    let moves = || {
        view.waves
            .iter()
            .flat_map(|wave| &wave.clusters)
            .any(|cluster| {
                matches!(
                    cluster.state,
                    ClusterPhase::Granted | ClusterPhase::Progressing | ClusterPhase::RollingBack
                )
            })
    };
    view.state.is_terminal()
        || view.state == RunPhase::Halted && !moves()
        || until == Until::EndedOrHuman
            && matches!(view.state, RunPhase::WaitingApproval | RunPhase::Suspended)
}

/// Follows the newest run of an application: redraws a terminal, else writes a line a change.
///
/// # Errors
/// [`Failure::Timeout`], or what the hub refused.
pub async fn follow(
    client: &Client,
    global: &Global,
    screen: &Screen,
    name: &str,
    how: Follow,
) -> anyhow::Result<Code> {
    let path = run_path(global, name, "watch");
    let deadline = how.timeout.map(|timeout| Instant::now() + timeout);
    let mut drawing = Drawing::new(*screen, how.format);
    let mut retry = Retry::default();
    loop {
        let mut stream = match client.events(&path).await {
            Ok(stream) => stream,
            Err(error) => {
                retry
                    .wait_after(error, drawing.last.is_some(), deadline)
                    .await?;
                continue;
            }
        };
        retry = Retry::default();
        let mut redraw = tokio::time::interval(Duration::from_secs(1));
        loop {
            let event = tokio::select! {
                event = stream.next() => event,
                _ = redraw.tick() => {
                    give_up(deadline, drawing.last.as_ref())?;
                    drawing.refresh()?;
                    continue;
                }
            };
            let Some(Ok(event)) = event else { break };
            if event.event != "status" {
                continue;
            }
            let view: RunView = serde_json::from_str(&event.data)?;
            let phase = view.state;
            let ended = ends(&view, how.until);
            drawing.show(view)?;
            if ended {
                return Ok(code_of(phase));
            }
        }
        give_up(deadline, drawing.last.as_ref())?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn give_up(deadline: Option<Instant>, last: Option<&RunView>) -> Result<(), Failure> {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => {
            let state = last.map_or_else(String::new, |view| format!("; it is {:?}", view.state));
            Err(Failure::Timeout(format!(
                "the run did not end in time{state}"
            )))
        }
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Retry {
    failed: u32,
}

impl Retry {
    /// Waits before the next try. A hub that was never reached, and a refusal, end it.
    async fn wait_after(
        &mut self,
        error: anyhow::Error,
        reached: bool,
        deadline: Option<Instant>,
    ) -> anyhow::Result<()> {
        let refused = matches!(
            error.downcast_ref::<Failure>(),
            Some(Failure::Refused(problem)) if !problem.retryable
        );
        if refused || !reached {
            return Err(error);
        }
        if self.failed == 0 {
            note("the hub does not answer; what you see is old. Trying again …");
        }
        self.failed += 1;
        give_up(deadline, None)?;
        let pause = Duration::from_millis(250 * u64::from(self.failed.min(20)));
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

struct Drawing {
    screen: Screen,
    format: Option<Format>,
    last: Option<RunView>,
    lines: usize,
}

impl Drawing {
    const fn new(screen: Screen, format: Option<Format>) -> Self {
        Self {
            screen,
            format,
            last: None,
            lines: 0,
        }
    }

    fn show(&mut self, view: RunView) -> anyhow::Result<()> {
        match self.format {
            Some(Format::Json) => print(&format!("{}\n", serde_json::to_string(&view)?))?,
            Some(Format::Yaml) => {
                let value = serde_json::to_value(&view)?;
                print(&format!("---\n{}", crate::output::yaml(&value)?))?;
            }
            _ if self.screen.redraws => {}
            _ => {
                for line in changes(self.last.as_ref(), &view, self.screen.style) {
                    print(&format!("{line}\n"))?;
                }
            }
        }
        self.last = Some(view);
        self.refresh()
    }

    /// Draws the last view again, so that spans of time move.
    fn refresh(&mut self) -> anyhow::Result<()> {
        let (Some(view), true) = (&self.last, self.screen.redraws && self.format.is_none()) else {
            return Ok(());
        };
        let text = run(
            view,
            self.screen.viewport(),
            Timestamp::now(),
            self.screen.style,
        );
        let mut frame = String::new();
        if self.lines > 0 {
            frame.push_str(&format!("\x1b[{}A", self.lines));
        }
        for line in text.lines() {
            frame.push_str(&format!("\x1b[2K{line}\n"));
        }
        frame.push_str("\x1b[J");
        self.lines = text.lines().count();
        let mut out = std::io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        out.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bellwether_api::view::{ClusterPhase, RunPhase, RunView};

    use super::{Until, code_of, ends};
    use crate::{failure::Code, sample::canary_under_way};

    #[test]
    fn following_ends_by_itself() {
        let at = |state| RunView {
            state,
            waves: Vec::new(),
            ..canary_under_way()
        };
        for phase in [
            RunPhase::Succeeded,
            RunPhase::Failed,
            RunPhase::Aborted,
            RunPhase::Halted,
        ] {
            assert!(ends(&at(phase), Until::Ended), "{phase:?}");
        }
        for phase in [
            RunPhase::Progressing,
            RunPhase::Soaking,
            RunPhase::WaitingApproval,
        ] {
            assert!(!ends(&at(phase), Until::Ended), "{phase:?}");
        }
        assert!(ends(&at(RunPhase::WaitingApproval), Until::EndedOrHuman));
        assert!(ends(&at(RunPhase::Suspended), Until::EndedOrHuman));
    }

    #[test]
    fn halted_run_is_followed_until_its_clusters_are_back() {
        let mut view = RunView {
            state: RunPhase::Halted,
            ..canary_under_way()
        };
        view.waves[1].clusters[0].state = ClusterPhase::RollingBack;
        assert!(!ends(&view, Until::Ended));
        view.waves[1].clusters[0].state = ClusterPhase::Failed;
        assert!(ends(&view, Until::Ended));
    }

    #[test]
    fn exit_codes_tell_how_it_stands() {
        for (phase, code) in [
            (RunPhase::Succeeded, Code::Done),
            (RunPhase::Progressing, Code::Done),
            (RunPhase::Failed, Code::Failed),
            (RunPhase::Aborted, Code::Failed),
            (RunPhase::Halted, Code::Failed),
            (RunPhase::WaitingApproval, Code::WaitsForHuman),
            (RunPhase::Suspended, Code::WaitsForHuman),
        ] {
            assert_eq!(code_of(phase), code, "{phase:?}");
        }
    }
}

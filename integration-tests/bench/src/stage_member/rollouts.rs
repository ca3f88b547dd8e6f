//! Many rollouts in one cluster: what they cost the agent and the API server, and whether their checks
//! begin in time.

mod documents;
mod source;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bellwether_integration_tests::process_figures::{cpu_of_threads, mib, rss_kib};

use self::{documents::Rollouts, source::Source};
use super::Stage;
use crate::{agent_figures::AgentFigures, member::Member, report::Report};

const LIMIT: Duration = Duration::from_secs(420);
/// How long the agent gets to come to rest, or to its pace, before it is watched.
const SETTLE: Duration = Duration::from_secs(20);
/// Share of the interval by which a check may be late.
const LATE_SHARE: f64 = 0.1;

/// Watches the agent with all rollouts at rest, and with all of them under way.
///
/// # Errors
/// When rollouts do not come up or do not begin.
pub async fn measure(stage: &Stage<'_>, member: &Member, report: &mut Report) -> Result<()> {
    let count = stage.plan.rollouts;
    let source = Source::start().await?;
    let rollouts = Rollouts {
        count,
        interval: stage.plan.check_interval(),
        source: source.address.clone(),
    };
    let began = Instant::now();
    for application in rollouts.applications("v1") {
        stage.api.apply(application).await?;
    }
    rollouts.wait_settled(member, LIMIT).await?;
    let conditions = format!(
        "{} applications with {} workloads each, a Rollout for each, two replicas each, played by \
         kwok; all available {:.0} s after the first was applied",
        count.div_ceil(documents::EACH),
        documents::EACH,
        began.elapsed().as_secs_f64()
    );
    let rest = Watched::over(stage, member).await?;
    rest.tell(&format!("{count} rollouts at rest"), &conditions, report);

    let began = Instant::now();
    for application in rollouts.applications("v2") {
        stage.api.apply(application).await?;
    }
    wait_checked(stage, member, &source).await?;
    let conditions = format!(
        "every one at its first step with a canary pod, checked every {} s; all were checked {:.0} s \
         after the first change",
        stage.plan.check_interval().as_secs(),
        began.elapsed().as_secs_f64()
    );
    let running = Watched::over(stage, member).await?;
    running.tell(&format!("{count} rollouts running"), &conditions, report);
    running.tell_checks(count, stage.plan.check_interval(), report);
    Ok(())
}

/// Waits until every rollout is under way and was checked.
async fn wait_checked(stage: &Stage<'_>, member: &Member, source: &Source) -> Result<()> {
    let (count, deadline) = (stage.plan.rollouts, Instant::now() + LIMIT);
    loop {
        let runs = AgentFigures::read(member).await?.value("runs")?;
        let checked = source.asked_of();
        if runs as usize == count && checked == count {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{runs} of {count} rollouts are under way, {checked} were checked");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What the agent used over a while.
struct Watched {
    span: Duration,
    cpu: Duration,
    rss_kib: u64,
    before: AgentFigures,
    after: AgentFigures,
}

impl Watched {
    async fn over(stage: &Stage<'_>, member: &Member) -> Result<Self> {
        tokio::time::sleep(SETTLE).await;
        let pid = member.pid()?;
        let before = AgentFigures::read(member).await?;
        let (used, began) = (cpu_of_threads(pid)?, Instant::now());
        tokio::time::sleep(Duration::from_secs(stage.plan.idle_seconds.max(30))).await;
        Ok(Self {
            span: began.elapsed(),
            cpu: cpu_of_threads(pid)?.saturating_sub(used),
            rss_kib: rss_kib(pid)?,
            before,
            after: AgentFigures::read(member).await?,
        })
    }

    fn rise(&self, name: &str) -> Result<f64> {
        Ok(self.after.value(name)? - self.before.value(name)?)
    }

    fn tell(&self, what: &str, conditions: &str, report: &mut Report) {
        let seconds = self.span.as_secs_f64();
        let millicores = self.cpu.as_secs_f64() / seconds * 1_000.0;
        report.add(
            &format!("{what}: agent's processor time"),
            &format!("{millicores:.1} m"),
            "",
            &format!("{conditions}; over {seconds:.0} s; thousandths of one core"),
        );
        report.add(&format!("{what}: agent's RSS"), &mib(self.rss_kib), "", "");
        let requests = self.rise("api_requests_total").unwrap_or(f64::NAN);
        report.add(
            &format!("{what}: requests to the API server"),
            &format!("{:.0}/min", requests / seconds * 60.0),
            "",
            "counted by the agent, watches and its own lease included",
        );
    }

    /// Checks that began later than a tenth of the interval, and whether all were made.
    fn tell_checks(&self, count: usize, interval: Duration, report: &mut Report) {
        let late = || -> Result<String> {
            let limit = interval.as_secs_f64() * LATE_SHARE;
            let all = self.rise("check_lateness_seconds_count")?;
            let bucket = |bound: &str| format!("check_lateness_seconds_bucket{{le=\"{bound}\"}}");
            let in_time = self.rise(&bucket(&format!("{limit:.1}")))?;
            let soon = self.rise(&bucket("0.01"))?;
            Ok(format!(
                "{:.0} of {all:.0}; {:.1} % within 0.01 s",
                all - in_time,
                soon / all * 100.0
            ))
        };
        let figure = late().unwrap_or_else(|error| format!("not known: {error:#}"));
        report.add(
            &format!("{count} rollouts running: checks later than 10 % of their interval"),
            &figure,
            "0",
            "from the time at which a check was due to the moment at which its source is asked",
        );
        let due = count as f64 * self.span.as_secs_f64() / interval.as_secs_f64();
        let made = self.rise("checks_total").unwrap_or(f64::NAN);
        report.add(
            &format!("{count} rollouts running: checks judged, of those that were due"),
            &format!("{made:.0} of {due:.0}"),
            "",
            "each is saved in its RolloutTrack before it counts",
        );
    }
}

impl AgentFigures {
    /// Reads what an agent says of itself.
    async fn read(member: &Member) -> Result<Self> {
        let text = reqwest::get(member.figures_url())
            .await?
            .error_for_status()?
            .text()
            .await
            .context("failed to read the agent's figures")?;
        Ok(Self::parse(&text))
    }
}

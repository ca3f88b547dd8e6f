//! In which lane the passes of a unit are made.

use bellwether_api::{status::UnitOutcome, sync_record::SyncUnit};
use tokio::sync::{AcquireError, SemaphorePermit};

use super::Unit;
use crate::sync::{lanes::Lane, shell::Shell};

impl Unit {
    /// Waits until there is room for the next pass, in the lane that is its own by then.
    pub(super) async fn room<'a>(
        &self,
        shell: &'a Shell,
    ) -> Result<SemaphorePermit<'a>, AcquireError> {
        // Whatever has a unit go back wakes it.
        let changed = || self.poke.woken();
        shell.lanes.enter(|| self.lane(), changed).await
    }

    /// Where the next pass is made. Of runs that were not opened here yet it is not known how they stand.
    pub(super) fn lane(&self) -> Lane {
        let stands = |unit: &SyncUnit| (unit.outcome, unit.running_digest.is_some());
        let stands = self.shell.desired.look_at(&self.key, stands);
        let (outcome, is_running) = stands.unwrap_or_default();
        let mut under_way = self.runs.values().filter(|run| !run.is_over()).peekable();
        let is_unknown = is_running && self.runs.is_empty();
        let has_runs = is_running || under_way.peek().is_some();
        let command = self.shell.desired.command(&self.application);
        let aborted = command
            .filter(|command| command.abort.is_some())
            .map(|command| command.run);
        let returns = under_way.any(|run| run.goes_back() || aborted == Some(run.of.run));
        if returns || is_unknown || outcome == Some(UnitOutcome::RollingBack) {
            Lane::Back
        } else if has_runs {
            Lane::Run
        } else {
            Lane::Plain
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin, sync::Arc, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::sync::{
        lanes::AT_ONCE,
        unit::chart_hooks::tests::{
            house::{House, KEY, bundle},
            server::Server,
        },
    };

    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_is_told_to_go_back_while_it_waits_waits_for_no_other() {
        let server = Server::default();
        let mut house = House::on(&server).await;
        house.install(&bundle(1, 1, &[])).await;
        let unit = &house.unit;
        let shell = Arc::clone(&unit.shell);
        assert_eq!(unit.lane(), Lane::Plain);
        let mut others = Vec::new();
        for _ in 0..AT_ONCE {
            let entered = shell.lanes.enter(|| Lane::Plain, pending).await;
            others.push(entered.expect("lanes stay open"));
        }
        let mut room = pin!(unit.room(&shell));
        assert!(timeout(LATER, &mut room).await.is_err());
        let goes_back = |unit: &mut SyncUnit| unit.outcome = Some(UnitOutcome::RollingBack);
        let told = shell.desired.update(KEY, goes_back).await;
        told.expect("it is remembered");
        unit.poke.wake();
        assert!(timeout(LATER, &mut room).await.is_ok());
    }
}

//! Sources of metrics that a unit's plans name themselves, and what is told of those that do not answer.

use std::sync::Arc;

use bellwether_api::{bundle::Bundle, status::Severity, sync_record::SyncUnit};

use super::{Unit, adopted::NO_RUN, run_of};
use crate::{desired::StoreError, metrics::OwnSource, sync::events::News};

impl Unit {
    /// Says which sources the plans of what is granted name, as far as that was read.
    pub(super) fn name_sources(&self) {
        let unit = self.shell.desired.unit(&self.key);
        let Some(digest) = unit.and_then(|unit| unit.digest) else {
            self.shell
                .own_sources
                .name(&self.key, Vec::new(), Arc::new(|| {}));
            return;
        };
        let standing = self.adopted.as_ref().and_then(|one| one.grant.as_ref());
        let sources = if let Some(bundle) = self.bundles.get(&digest) {
            of_bundle(bundle)
        } else if let Some((_, grant)) = standing.filter(|(of, _)| *of == digest) {
            OwnSource::of_plan(&grant.rollout.name, &grant.spec, "")
        } else {
            return;
        };
        let poke = Arc::clone(&self.poke);
        let wake = Arc::new(move || poke.wake());
        self.shell.own_sources.name(&self.key, sources, wake);
    }

    /// Tells what does not answer, once for as long as it is the same.
    pub(super) async fn heed_sources(&mut self, unit: &SyncUnit) -> Result<(), StoreError> {
        let silent = self.shell.own_sources.silent(&self.key);
        if silent == self.silent_sources {
            return Ok(());
        }
        let news = if silent.is_empty() {
            News::info(
                "MetricsReachable",
                "no source of metrics that its plans name is silent any more",
            )
        } else {
            News {
                severity: Severity::Warn,
                ..News::info(
                    "MetricsUnreachable",
                    format!(
                        "{}; checks that read there are Unknown until the address or Secret is right",
                        silent.join("; ")
                    ),
                )
            }
        };
        let digest = unit.running_digest.as_ref().or(unit.digest.as_ref());
        let bundle = digest.and_then(|digest| self.bundles.get(digest)).cloned();
        let of = bundle.as_deref().map_or(NO_RUN, run_of);
        self.tell(of, news, |_| {}).await?;
        self.silent_sources = silent;
        Ok(())
    }

    /// What people are to know for as long as it is so.
    pub(super) fn source_warnings(&self) -> impl Iterator<Item = String> {
        let silent = self.silent_sources.iter();
        silent.map(|line| format!("a source of metrics does not answer: {line}"))
    }
}

fn of_bundle(bundle: &Bundle) -> Vec<OwnSource> {
    let plans = bundle.rollouts.iter();
    plans
        .flat_map(|rollout| {
            OwnSource::of_plan(&rollout.name, &rollout.spec, &bundle.target_namespace)
        })
        .collect()
}

#[cfg(test)]
mod tests;

//! The brake where a cluster is granted: what it loses may not have been seen when the release was made, because its
//! objects were not rendered yet, or because it was another cluster by its labels then.

use std::collections::{BTreeMap, BTreeSet};

use bellwether_hub_core::{
    allowance::{Allowance, Spent},
    brake::{self, Loss, is_uneven},
    release::Release,
    run::{ClusterPhase, ClusterSeen, Decision, GrantRelease, RunStatus},
};
use bellwether_store::{Digest, releases};
use uuid::Uuid;

use super::{
    held_back,
    losses::{Getting, Lost, alike, losses},
};
use crate::loops::{
    LoopError,
    application::Look,
    facts::Wanted,
    loaded::with_content,
    progress::{Contents, Turn},
    rendered::{Sent, sent},
};

/// What the brake says of the grants of a decision.
#[derive(Debug, Default)]
pub struct Braked {
    /// Clusters that wait for somebody's word, with what each would lose; empty = the decision may be saved.
    pub held: BTreeMap<Uuid, LoopError>,
    /// The word that the others use up; absent = they take none.
    pub word: Option<Spent>,
}

/// Says whose objects would go without anybody's word, if a decision was saved.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub async fn check_grants(
    look: Look<'_>,
    wanted: &Wanted,
    turn: &Turn<'_>,
    decision: &Decision,
    contents: &Contents,
) -> Result<Braked, LoopError> {
    let Some(may_lose) = turn.loaded.plan.may_lose else {
        return Ok(Braked::default());
    };
    let granting = Granting {
        look,
        turn,
        decision,
        contents,
    };
    let allowance = wanted.prune_allowance();
    let mut braked = granting.own(allowance.clone(), may_lose).await?;
    // Nobody who goes back is held.
    if !matches!(decision.next.status, RunStatus::RollingBack { .. }) {
        let left = allowance.after(braked.word.as_ref());
        let meanwhile = granting.meanwhile(left).await?;
        braked.held.extend(meanwhile.held);
        braked.word = braked.word.or(meanwhile.word);
    }
    Ok(braked)
}

/// The grants of a decision.
struct Granting<'a> {
    look: Look<'a>,
    turn: &'a Turn<'a>,
    decision: &'a Decision,
    contents: &'a Contents,
}

impl<'a> Granting<'a> {
    /// Judges those of the run's release. If one of the clusters is held, others that wait are looked at too: all of
    /// them where it was not held before, else those that were.
    async fn own(&self, allowance: Allowance, may_lose: usize) -> Result<Braked, LoopError> {
        let (look, turn) = (self.look, self.turn);
        let Some((release, holding)) = self.of(&GrantRelease::This) else {
            return Ok(Braked::default());
        };
        // What everybody gets of such a release was looked at when it was made, for everybody who was there.
        let was_looked_at = |id: &Uuid| turn.loaded.planned().any(|planned| planned == *id);
        if !is_uneven(&release.content) && holding.keys().all(was_looked_at) {
            return Ok(Braked::default());
        }
        let before = before(look, turn).await?;
        let Some(judging) = Judging::of(look, release, &before, (allowance, may_lose)) else {
            return Ok(Braked::default());
        };
        let braked = judging.judge(&holding, &self.contents.sent).await?;
        if braked.held.is_empty() {
            return Ok(braked);
        }
        let was_held = |id: &Uuid| {
            let known = turn.loaded.state.clusters.get(id);
            known.is_some_and(|one| one.held.is_some())
        };
        let is_known = braked.held.keys().all(was_held);
        let waiting = waiting(turn, |id| {
            !holding.contains_key(id) && (!is_known || was_held(id))
        });
        let ids: Vec<Uuid> = waiting.keys().copied().collect();
        let sent = sent(look.sight(), release, &ids, &BTreeMap::new()).await?;
        let waiting = judging.judge(&waiting, &sent).await?;
        Ok(Braked {
            held: braked.held.into_iter().chain(waiting.held).collect(),
            word: None,
        })
    }

    /// Judges those of the release that succeeded last, which clusters get that join before the run's is proven: who
    /// comes back may hold more than it has for them.
    async fn meanwhile(&self, allowance: Allowance) -> Result<Braked, LoopError> {
        let Some((release, holding)) = self.of(&GrantRelease::LastSucceeded) else {
            return Ok(Braked::default());
        };
        let before = before(self.look, self.turn).await?;
        match Judging::of(self.look, release, &before, (allowance, 0)) {
            Some(judging) => judging.judge(&holding, &self.contents.sent).await,
            None => Ok(Braked::default()),
        }
    }

    /// A release that is granted, with the clusters that hold something and get it; absent = none does.
    fn of(&self, wanted: &GrantRelease) -> Option<(&'a Release, BTreeMap<Uuid, Digest>)> {
        let grants = self.decision.grants.iter();
        let own = grants.filter(|grant| grant.release == *wanted);
        let granted: BTreeSet<Uuid> = own.map(|grant| grant.cluster).collect();
        let holding = holding(self.turn, |seen| granted.contains(&seen.id));
        let release = self.contents.of(wanted)?;
        (!holding.is_empty()).then_some((release, holding))
    }
}

/// Of the clusters that are meant, those that hold the application, with what they hold. Who is held already waits.
fn holding(turn: &Turn<'_>, is_meant: impl Fn(&ClusterSeen) -> bool) -> BTreeMap<Uuid, Digest> {
    let meant = turn
        .clusters
        .iter()
        .filter(|seen| seen.unrendered.is_none() && is_meant(seen));
    meant
        .filter_map(|seen| Some((seen.id, seen.desired.as_ref()?.parse().ok()?)))
        .collect()
}

/// The clusters that hold the application and wait for the run's release, which could be sent to them.
fn waiting(turn: &Turn<'_>, is_meant: impl Fn(&Uuid) -> bool) -> BTreeMap<Uuid, Digest> {
    holding(turn, |seen| {
        let known = turn.loaded.state.clusters.get(&seen.id);
        let waits = known.is_some_and(|one| {
            matches!(
                one.phase,
                ClusterPhase::Waiting | ClusterPhase::Parked { .. }
            )
        });
        waits && seen.member && is_meant(&seen.id)
    })
}

/// The releases that clusters may hold without being behind: the one before the run's, and the one that succeeded last.
async fn before(look: Look<'_>, turn: &Turn<'_>) -> Result<Vec<Release>, LoopError> {
    let (store, own) = (look.store, &turn.loaded.release);
    let newest = releases::list(store, look.application, 2).await?;
    let mut stored: Vec<_> = newest
        .into_iter()
        .filter(|one| one.revision < own.revision)
        .collect();
    if let Some(id) = turn.loaded.run.previous_release
        && stored.iter().all(|one| one.id != id)
    {
        stored.extend(releases::get(store, id).await?);
    }
    let mut before = Vec::new();
    for one in &stored {
        before.push(with_content(store, one).await?);
    }
    Ok(before)
}

/// What losses are judged by.
struct Judging<'a> {
    look: Look<'a>,
    release: &'a Release,
    before: &'a [Release],
    allowance: Allowance,
    /// What the release was allowed when it was made.
    may_lose: usize,
}

impl<'a> Judging<'a> {
    /// Absent = every cluster gets the same, and got the same before.
    fn of(
        look: Look<'a>,
        release: &'a Release,
        before: &'a [Release],
        (allowance, may_lose): (Allowance, usize),
    ) -> Option<Self> {
        let mut all = before.iter().chain([release]);
        all.any(|one| is_uneven(&one.content)).then_some(Self {
            look,
            release,
            before,
            allowance,
            may_lose,
        })
    }

    async fn judge(
        &self,
        holding: &BTreeMap<Uuid, Digest>,
        sent: &BTreeMap<Uuid, Sent>,
    ) -> Result<Braked, LoopError> {
        let world = self.look.world;
        let getting = holding.iter().filter_map(|(id, held)| {
            let own = sent.get(id);
            Some(Getting {
                cluster: world.cluster(*id)?,
                held: *held,
                content: own.map_or(&self.release.content, |sent| &*sent.content),
            })
        });
        let groups = alike(getting, world.fleets());
        let known = brake::Known::of(self.before);
        let next = &self.release.content;
        let losses = losses(self.look.store, &known, next, &groups, |_| None).await?;
        let used_for = format!("release {}", self.release.revision);
        let mut braked = Braked::default();
        for Lost { loss, group, .. } in losses {
            match self.word_for(loss, &used_for) {
                Word::None => {}
                Word::Used(word) => braked.word = word.or(braked.word),
                Word::Missing => {
                    let held = group.clusters.iter().map(|cluster| {
                        let error = held_back(self.look, loss, Some(cluster), &self.allowance);
                        (cluster.id, error)
                    });
                    braked.held.extend(held);
                }
            }
        }
        Ok(braked)
    }

    fn word_for(&self, loss: Loss, used_for: &str) -> Word {
        if !loss.is_braked(Some(self.may_lose)) {
            Word::None
        } else if loss.is_braked(self.allowance.count_for(used_for)) {
            Word::Missing
        } else {
            Word::Used(self.allowance.spend(used_for.to_owned()))
        }
    }
}

/// Whose word a loss goes by.
enum Word {
    /// It takes none but that of the release.
    None,
    /// The annotation's; absent = the release has used it up already.
    Used(Option<Spent>),
    /// Nobody said it.
    Missing,
}

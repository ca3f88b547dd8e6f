//! Choosing some of the clusters that fit, spread over groups.

use std::{cmp::Ordering, collections::BTreeMap};

use bellwether_api::placement::Spread;

use super::{PlacementCondition, fit::Candidate};

/// How many clusters of every group are chosen.
struct Groups<'a> {
    spread: &'a [Spread],
    /// Of every spread: its groups with their place in `counts`.
    known: Vec<BTreeMap<&'a str, usize>>,
    counts: Vec<u32>,
}

/// A candidate's groups as places in the counts; absent = it is in none.
type Places = Vec<Option<usize>>;

impl<'a> Groups<'a> {
    fn new(spread: &'a [Spread], candidates: &[Candidate<'a>]) -> Self {
        let mut known = vec![BTreeMap::new(); spread.len()];
        let mut size = 0;
        for candidate in candidates {
            for (groups, group) in known.iter_mut().zip(&candidate.groups) {
                if let Some(group) = *group {
                    groups.entry(group).or_insert_with(|| {
                        size += 1;
                        size - 1
                    });
                }
            }
        }
        Self {
            spread,
            known,
            counts: vec![0; size],
        }
    }

    fn places(&self, candidate: &Candidate<'_>) -> Places {
        let groups = self.known.iter().zip(&candidate.groups);
        groups
            .map(|(known, group)| group.and_then(|group| known.get(group).copied()))
            .collect()
    }

    fn count(&self, place: Option<usize>) -> u32 {
        place.map_or(0, |place| self.counts[place])
    }

    /// Returns the first spread whose group has as many as it may have.
    fn full(&self, places: &Places) -> Option<usize> {
        self.spread.iter().zip(places).position(|(spread, place)| {
            let max = spread.max.unwrap_or(u32::MAX);
            place.is_some() && self.count(*place) >= max
        })
    }

    fn add(&mut self, places: &Places) {
        for place in places.iter().flatten() {
            self.counts[*place] += 1;
        }
    }

    /// Orders groups by who needs a cluster more: those that lack some, then those with the fewest.
    fn compare(&self, a: &Places, b: &Places) -> Ordering {
        let lacks = |places: &Places| {
            let groups = self.spread.iter().zip(places);
            groups
                .filter(|(spread, place)| self.count(**place) < spread.min.unwrap_or(0))
                .count()
        };
        let counts = |places: &Places| places.iter().map(|place| self.count(*place)).collect();
        let fewest = || {
            let (a, b): (Vec<u32>, Vec<u32>) = (counts(a), counts(b));
            a.cmp(&b)
        };
        lacks(b).cmp(&lacks(a)).then_with(fewest)
    }

    /// What is to be said of groups that have too few.
    fn short(&self) -> impl Iterator<Item = PlacementCondition> + '_ {
        let spreads = self.spread.iter().zip(&self.known);
        spreads.filter_map(|(spread, known)| {
            let min = spread.min?;
            let short = known.iter().filter(|(_, place)| self.counts[**place] < min);
            let groups: Vec<String> = short.map(|(group, _)| (*group).to_owned()).collect();
            (!groups.is_empty()).then(|| PlacementCondition::SpreadShort {
                by: spread.by.clone(),
                groups,
                min,
            })
        })
    }
}

/// Why a candidate is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// Its group of this spread has as many as it may have.
    Full(usize),
    /// As many as are wanted are chosen already.
    Surplus,
    /// It gives the application away, and others took it.
    Moved,
}

/// What came of choosing.
pub(super) struct Selected<'a> {
    /// Every candidate; with a reason those that are left out.
    pub candidates: Vec<(Candidate<'a>, Option<LeftOut>)>,
    pub short: Vec<PlacementCondition>,
}

/// Chooses `limit` of the candidates at most. Those that have the application come first and are
/// left out only where the limit or a spread says so; those that give it away come last.
pub(super) fn select<'a>(
    limit: usize,
    spread: &'a [Spread],
    mut candidates: Vec<Candidate<'a>>,
) -> Selected<'a> {
    candidates.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let mut groups = Groups::new(spread, &candidates);
    let mut done = Vec::with_capacity(candidates.len());
    let mut chosen = 0;
    let mut keep = |groups: &mut Groups<'a>, candidate: &Candidate<'a>| {
        let places = groups.places(candidate);
        if let Some(full) = groups.full(&places) {
            return Some(LeftOut::Full(full));
        }
        if chosen >= limit {
            return Some(LeftOut::Surplus);
        }
        groups.add(&places);
        chosen += 1;
        None
    };
    let is_new = |candidate: &Candidate<'_>| candidate.place == super::fit::Place::New;
    let (leaving, rest): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|one| one.leaving.is_some());
    let (new, current): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_new);
    for candidate in current {
        let left_out = keep(&mut groups, &candidate);
        done.push((candidate, left_out));
    }
    let mut buckets = Buckets::new(&groups, new);
    while let Some(candidate) = buckets.take(&groups) {
        let left_out = keep(&mut groups, &candidate);
        done.push((candidate, left_out));
        if left_out.is_some() {
            break;
        }
    }
    for candidate in buckets.rest() {
        let full = groups.full(&groups.places(&candidate));
        let why = full.map_or(LeftOut::Surplus, LeftOut::Full);
        done.push((candidate, Some(why)));
    }
    for candidate in leaving {
        // Whatever it is left out for: whoever takes its place may fill its group before they run the
        // application, and it keeps what it has until they do.
        let left_out = keep(&mut groups, &candidate).map(|_| LeftOut::Moved);
        done.push((candidate, left_out));
    }
    Selected {
        candidates: done,
        short: groups.short().collect(),
    }
}

/// Candidates of the same groups together, the preferred ones first.
struct Buckets<'a>(BTreeMap<Places, std::collections::VecDeque<Candidate<'a>>>);

impl<'a> Buckets<'a> {
    /// `candidates` are sorted.
    fn new(groups: &Groups<'a>, candidates: Vec<Candidate<'a>>) -> Self {
        let mut buckets: BTreeMap<Places, std::collections::VecDeque<_>> = BTreeMap::new();
        for candidate in candidates {
            let places = groups.places(&candidate);
            buckets.entry(places).or_default().push_back(candidate);
        }
        Self(buckets)
    }

    /// Takes the next one, of the groups that need it most.
    fn take(&mut self, groups: &Groups<'a>) -> Option<Candidate<'a>> {
        let open = self.0.iter_mut();
        let open =
            open.filter(|(places, waiting)| !waiting.is_empty() && groups.full(places).is_none());
        let (_, waiting) = open.min_by(|(a, first), (b, second)| {
            let preferred = || {
                let first = first.front().map(Candidate::rank);
                first.cmp(&second.front().map(Candidate::rank))
            };
            groups.compare(a, b).then_with(preferred)
        })?;
        waiting.pop_front()
    }

    fn rest(self) -> impl Iterator<Item = Candidate<'a>> {
        self.0.into_values().flatten()
    }
}

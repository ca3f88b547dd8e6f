//! Guards that can be removed, to prove that the checks would notice.

/// A guard that is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// None: the shipped behaviour.
    #[default]
    None,
    /// The agent takes every pod for ready.
    SkipReadiness,
    /// The hub forgets the gates after waves.
    SkipGate,
    /// The database takes reports of sessions that were replaced.
    IgnoreEpoch,
    /// The database and the planning forget how much may go at once.
    IgnoreTombstoneBudget,
    /// Hubs and agents tell what lasts by the wall clock.
    TrustWallClock,
    /// The agent takes a measurement without an answer for a good one.
    PromoteOnUnknown,
}

//! Guards that can be removed, to prove that the checks would notice.

/// A guard that is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutant {
    /// None: the shipped behaviour.
    #[default]
    None,
    /// The agent takes every canary pod for ready.
    SkipReadiness,
    /// The agent takes every pod of a batch for ready.
    SkipBatchReadiness,
    /// The agent takes those pods alone for let go that are new and ready.
    ForgetBatch,
    /// The agent leaves out the first step of the plan.
    SkipStep,
    /// The agent takes every request for one that an A/B test is meant for.
    WidenMatch,
    /// The agent shares a fixed total whatever somebody scaled the workload to since that was decided.
    ShareBlindly,
    /// The agent takes pods from the old version before the new one has them.
    TakePodsFirst,
    /// The agent gives the canary more pods than the workload has.
    OversizeCanary,
    /// The agent writes the route together with the canary.
    RouteFirst,
    /// The agent has Services select the new version before it has pods.
    PinFirst,
    /// The agent takes a route that is written for one that the gateway carries.
    TrustWrittenRoute,
    /// The agent lets be a canary whose pods somebody gave another image.
    LeaveCanary,
    /// Decisions are saved whoever wrote the track in between.
    IgnoreTrackVersion,
    /// An agent decides from what it remembers, though another one saved something newer.
    KeepOldMemory,
    /// The agent takes a write that was refused for done.
    TrustOwnWrites,
    /// The agent forgets configuration whose write was refused.
    ForgetRefusedWrite,
    /// The agent takes a measurement without an answer for a good one.
    PromoteOnUnknown,
    /// The agent takes every measurement for a good one.
    IgnoreRange,
    /// The agent takes a version in without its steps over whatever runs, if a human promotes.
    ReplaceWhatRuns,
    /// The agent does not wait whether a version that is not available stays so.
    ReplaceAtOnce,
    /// The agent takes every version that replaces another back at its deadline.
    TakeReadyPods,
    /// The agent promotes whatever the API server has not taken.
    PromoteUntaken,
    /// The agent takes every gateway for one that need not know a Service before it gives it anything.
    ShareUnannounced,
    /// The agent asks no hook.
    SkipHooks,
    /// The agent does not hear what is commanded.
    IgnoreCommands,
    /// The agent knows no progress deadline.
    NoDeadline,
    /// The agent keeps every event until the hub has it.
    KeepEveryEvent,
    /// The agent takes a stream that is older than one that it has seen.
    TakeOldStream,
    /// The agent takes in what has another root than was promised.
    SkipRootCheck,
    /// The agent takes away what its records do not have.
    AbsenceDeletes,
    /// The hub forgets the gates after waves.
    SkipGate,
    /// The hub forgets how many clusters of a wave may be under way.
    IgnoreSlots,
    /// The hub takes all waves for one.
    IgnoreWaves,
    /// The hub forgets how many clusters of a wave may fail.
    IgnoreFailures,
    /// The hub takes who is silent for one that has left.
    ForgetSilent,
    /// The hub takes whatever was reported for a report on the attempt under way.
    BelieveOldReports,
    /// The hub takes what is under way for done.
    BelieveProgress,
    /// The hub grants what waits, whatever became of the run.
    GrantAfterEnd,
    /// The hub grants what is not rendered yet.
    SendUnrendered,
    /// The hub takes a report for one that it has, if its outcome is the same.
    KeepOldReport,
    /// The hub confirms events that it does not keep.
    LoseEvents,
    /// The hub reads units and their root at two times.
    TearReads,
    /// The hub takes every cluster for idle.
    IgnoreBusy,
    /// The hub takes every cluster for one that was heard just now.
    IgnoreSilence,
    /// The hub takes a release that is being taken away for one to go back to.
    RememberRemoved,
    /// The hub saves a run whoever saved it in between.
    IgnoreRunVersion,
    /// The hub sends grants before they are saved.
    SendBeforeCommit,
    /// The hub sends a delta to an agent whose root is another.
    SkipSnapshot,
    /// The database takes reports of sessions that were replaced.
    IgnoreEpoch,
    /// The database counts streams on from what their agent has seen, whatever it gave out.
    TrustSeenEpoch,
    /// The database changes commands without a new generation.
    ReuseGeneration,
    /// The database and the planning forget how much may go at once.
    IgnoreTombstoneBudget,
    /// The agent says nothing about updates of workloads that somebody else delivers.
    IgnoreUpdates,
    /// The agent lays a split on the route as its owner had it when the run began.
    KeepOldRoute,
    /// Hubs and agents tell what lasts by the wall clock.
    TrustWallClock,
}

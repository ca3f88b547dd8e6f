//! Removed guards are noticed: for every rule of docs/reference/invariants.md one that is missing.

use bellwether_sim::{Mutant, scenario::Theme, simulate};

/// Seeds in which a mutant must be noticed.
const SEEDS: u64 = 300;

/// Plays a mutant until `rule` is broken. Others may be before it in other seeds.
fn is_noticed(mutant: Mutant, rule: &str) {
    is_noticed_from(0, mutant, rule);
}

/// The same from a seed on that is known to come close, where it takes many.
fn is_noticed_from(first: u64, mutant: Mutant, rule: &str) {
    let mut others = Vec::new();
    for seed in first..first + SEEDS {
        match simulate(seed, mutant).broken {
            Some(broken) if broken.rule == rule => {
                println!("{mutant:?} is noticed by seed {seed}: {broken}");
                return;
            }
            Some(broken) => others.push((seed, broken.rule)),
            None => {}
        }
    }
    panic!("{mutant:?} never broke {rule}, but {others:?}");
}

#[test]
fn letting_go_of_pods_before_a_batch_is_ready_is_noticed() {
    is_noticed_from(9, Mutant::SkipBatchReadiness, "I1-batch");
}

#[test]
fn taking_what_was_let_go_for_what_is_ready_is_noticed() {
    is_noticed(Mutant::ForgetBatch, "I10-batch");
}

#[test]
fn taking_pods_before_others_are_there_is_noticed() {
    is_noticed(Mutant::TakePodsFirst, "I1-available");
}

#[test]
fn a_canary_larger_than_its_workload_is_noticed() {
    is_noticed(Mutant::OversizeCanary, "I1-surge");
}

#[test]
fn sharing_over_whoever_scales_is_noticed() {
    is_noticed_from(
        Theme::Total.first_seed() + 39,
        Mutant::ShareBlindly,
        "I1-total",
    );
}

#[test]
fn writing_the_route_with_the_canary_is_noticed() {
    is_noticed(Mutant::RouteFirst, "I2-traffic");
}

#[test]
fn skipping_readiness_is_noticed() {
    is_noticed(Mutant::SkipReadiness, "I2-readiness");
}

#[test]
fn skipping_readiness_of_what_matches_is_noticed() {
    is_noticed_from(
        Theme::Requests.first_seed(),
        Mutant::SkipReadiness,
        "I2-match",
    );
}

#[test]
fn matching_more_than_was_granted_is_noticed() {
    is_noticed_from(Theme::Requests.first_seed(), Mutant::WidenMatch, "I3-match");
}

#[test]
fn skipping_a_step_is_noticed() {
    is_noticed(Mutant::SkipStep, "I3-step");
}

#[test]
fn trusting_a_route_that_is_only_written_is_noticed() {
    is_noticed(Mutant::TrustWrittenRoute, "I4-route");
}

#[test]
fn leaving_a_canary_that_somebody_changed_is_noticed() {
    is_noticed_from(12, Mutant::LeaveCanary, "I5-hash");
}

#[test]
fn saving_over_a_newer_track_is_noticed() {
    is_noticed_from(133, Mutant::IgnoreTrackVersion, "I6-abort");
}

#[test]
fn trusting_writes_that_were_refused_is_noticed() {
    is_noticed_from(122, Mutant::TrustOwnWrites, "I7-restored");
}

#[test]
fn granting_where_another_run_is_under_way_is_noticed() {
    is_noticed(Mutant::IgnoreBusy, "I8-one-run-per-target");
}

#[test]
fn promoting_on_unknown_is_noticed() {
    is_noticed_from(13, Mutant::PromoteOnUnknown, "I9-unknown");
}

#[test]
fn replacing_what_runs_is_noticed() {
    is_noticed_from(
        Theme::Broken.first_seed(),
        Mutant::ReplaceWhatRuns,
        "I9-replaced",
    );
}

#[test]
fn replacing_what_lacks_pods_for_a_moment_is_noticed() {
    is_noticed_from(
        Theme::Broken.first_seed(),
        Mutant::ReplaceAtOnce,
        "I9-replaced",
    );
}

#[test]
fn taking_ready_pods_of_what_replaces_is_noticed() {
    is_noticed_from(
        Theme::Particular.first_seed(),
        Mutant::TakeReadyPods,
        "I1-kept",
    );
}

#[test]
fn giving_a_share_to_a_service_that_no_gateway_knows_is_noticed() {
    is_noticed_from(
        Theme::Particular.first_seed(),
        Mutant::ShareUnannounced,
        "I2-unknown",
    );
}

#[test]
fn promoting_beside_what_was_not_taken_is_noticed() {
    is_noticed_from(
        Theme::Particular.first_seed(),
        Mutant::PromoteUntaken,
        "I19-untaken",
    );
}

#[test]
fn promoting_on_bad_measurements_is_noticed() {
    is_noticed(Mutant::IgnoreRange, "I9-proof");
}

#[test]
fn asking_no_hook_is_noticed() {
    is_noticed_from(66, Mutant::SkipHooks, "I9-hook");
}

#[test]
fn deciding_from_an_old_memory_is_noticed() {
    is_noticed(Mutant::KeepOldMemory, "I10-steps");
}

#[test]
fn ignoring_commands_is_noticed() {
    is_noticed(Mutant::IgnoreCommands, "I11-abort");
}

#[test]
fn ignoring_a_suspension_is_noticed() {
    is_noticed_from(25, Mutant::IgnoreCommands, "I11-suspend");
}

#[test]
fn running_without_a_deadline_is_noticed() {
    is_noticed_from(19, Mutant::NoDeadline, "I12-rest");
}

#[test]
fn skipping_a_gate_is_noticed() {
    is_noticed_from(28, Mutant::SkipGate, "I13-soak");
}

#[test]
fn skipping_an_approval_is_noticed() {
    is_noticed(Mutant::SkipGate, "I13-approval");
}

#[test]
fn taking_all_waves_for_one_is_noticed() {
    is_noticed(Mutant::IgnoreWaves, "I13-wave-order");
}

#[test]
fn passing_a_wave_that_failed_is_noticed() {
    is_noticed(Mutant::IgnoreFailures, "I13-wave-rule");
}

#[test]
fn granting_on_after_failures_is_noticed() {
    is_noticed(Mutant::IgnoreFailures, "I14-max-failures");
}

#[test]
fn forgetting_who_is_silent_is_noticed() {
    is_noticed_from(24, Mutant::ForgetSilent, "I14-truth");
}

#[test]
fn ignoring_slots_is_noticed() {
    is_noticed(Mutant::IgnoreSlots, "I14-max-concurrent");
}

#[test]
fn saving_over_a_newer_run_is_noticed() {
    is_noticed(Mutant::IgnoreRunVersion, "I15-granted-once");
}

#[test]
fn granting_after_a_run_has_ended_is_noticed() {
    is_noticed(Mutant::GrantAfterEnd, "I15-never-after-halt");
}

#[test]
fn granting_what_is_not_rendered_is_noticed() {
    is_noticed_from(
        Theme::Rendered.first_seed(),
        Mutant::SendUnrendered,
        "I16-unrendered-granted",
    );
}

#[test]
fn ignoring_silence_is_noticed() {
    is_noticed(Mutant::IgnoreSilence, "I16-unreachable-granted");
}

#[test]
fn believing_old_reports_is_noticed() {
    is_noticed(Mutant::BelieveOldReports, "I16-proof");
}

#[test]
fn believing_what_is_under_way_is_noticed() {
    is_noticed(Mutant::BelieveProgress, "I16-truth");
}

#[test]
fn taking_an_old_stream_is_noticed() {
    is_noticed(Mutant::TakeOldStream, "I17-held");
}

#[test]
fn trusting_the_epochs_that_agents_saw_is_noticed() {
    is_noticed_from(121, Mutant::TrustSeenEpoch, "I17-target");
}

#[test]
fn reusing_a_generation_is_noticed() {
    is_noticed(Mutant::ReuseGeneration, "I17-content");
}

#[test]
fn sending_before_it_is_saved_is_noticed() {
    is_noticed(Mutant::SendBeforeCommit, "I18-grant");
}

#[test]
fn forgetting_a_refused_write_is_noticed() {
    is_noticed_from(67, Mutant::ForgetRefusedWrite, "I19-mix");
}

#[test]
fn skipping_the_root_check_is_noticed() {
    is_noticed(Mutant::SkipRootCheck, "I19-held");
}

#[test]
fn ignoring_epochs_is_noticed() {
    is_noticed(Mutant::IgnoreEpoch, "I20-status");
}

#[test]
fn keeping_an_old_report_is_noticed() {
    is_noticed(Mutant::KeepOldReport, "I20-latest");
}

#[test]
fn losing_events_is_noticed() {
    is_noticed(Mutant::LoseEvents, "I20-events");
}

#[test]
fn reading_units_and_root_at_two_times_is_noticed() {
    is_noticed(Mutant::TearReads, "I21-root");
}

#[test]
fn skipping_a_snapshot_is_noticed() {
    is_noticed(Mutant::SkipSnapshot, "I21-resume");
}

#[test]
fn ignoring_how_many_units_may_go_at_once_is_noticed() {
    is_noticed_from(12, Mutant::IgnoreTombstoneBudget, "I22-units");
}

#[test]
fn ignoring_how_many_clusters_may_go_at_once_is_noticed() {
    is_noticed(Mutant::IgnoreTombstoneBudget, "I22-clusters");
}

#[test]
fn deleting_what_is_absent_is_noticed() {
    is_noticed(Mutant::AbsenceDeletes, "I22-deleted");
}

#[test]
fn keeping_every_event_is_noticed() {
    is_noticed_from(11, Mutant::KeepEveryEvent, "I27-bounds");
}

#[test]
fn trusting_the_wall_clock_for_a_soak_is_noticed() {
    is_noticed_from(600, Mutant::TrustWallClock, "R7-soak");
}

#[test]
fn trusting_the_wall_clock_for_a_deadline_is_noticed() {
    is_noticed_from(55, Mutant::TrustWallClock, "R7-deadline");
}

#[test]
fn remembering_what_is_being_taken_away_is_noticed() {
    is_noticed_from(8, Mutant::RememberRemoved, "grant-release");
}

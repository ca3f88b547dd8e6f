use bellwether_agent_core::chart_hooks;
use bellwether_api::chart_hook::{HookOccasion, HookSide};
use serde_json::json;

use super::*;
use crate::sync::goal::{Goal, goal};

fn granted(digest: &str) -> SyncUnit {
    serde_json::from_value(json!({
        "key": "application/default/shop", "generation": 1, "digest": digest,
        "appliedDigest": "old",
    }))
    .expect("a unit needs no more")
}

#[test]
fn what_became_of_one_bundle_is_not_said_of_the_next() {
    let untouched = |work: &dyn Fn(&mut SyncUnit)| {
        let mut unit = granted("new");
        work(&mut unit);
        assert_eq!((unit.outcome, unit.reason.as_str()), (None, ""));
        assert_eq!(goal(&unit), Goal::Begin("new".into()));
        unit
    };
    let nothing = BTreeSet::new();
    untouched(&|unit| assert!(!begin(unit, "mid", &nothing, false)));
    untouched(&|unit| assert!(!begin(unit, "mid", &nothing, true)));
    untouched(&|unit| assert!(!end(unit, "mid", UnitOutcome::Failed, "why")));
    let unit = untouched(&|unit| applied(unit, "mid", &BTreeSet::new()));
    assert_eq!(unit.applied_digest.as_deref(), Some("mid"));
    let failed = BTreeSet::from(["template".to_owned()]);
    let unit = untouched(&|unit| runs_over(unit, "mid", &nothing, &[], &failed, Some("why")));
    assert_eq!(unit.applied_digest.as_deref(), Some("old"));
    assert_eq!(unit.failed_templates, ["template"]);
    untouched(&|unit| runs_over(unit, "mid", &nothing, &[], &BTreeSet::new(), None));
    untouched(&removing);
    let unit = untouched(&removed);
    assert_eq!(unit.applied_digest, None, "nothing runs any more");
}

#[test]
fn content_that_was_refused_meanwhile_stays_refused() {
    let mut unit = granted("broken");
    unit.outcome = Some(UnitOutcome::Refused);
    runs_over(
        &mut unit,
        "mid",
        &BTreeSet::new(),
        &[],
        &BTreeSet::new(),
        None,
    );
    assert_eq!(unit.outcome, Some(UnitOutcome::Refused));
    assert_eq!(goal(&unit), Goal::Keep("mid".into()));
}

#[test]
fn a_bundle_whose_hooks_follow_its_runs_does_not_run_as_a_whole_yet() {
    let mut unit = granted("new");
    assert!(begin(&mut unit, "new", &BTreeSet::new(), true));
    assert!(runs_over_but_hooks(&mut unit, "new", &[]));
    assert_eq!(unit.applied_digest.as_deref(), Some("old"));
    assert_eq!(goal(&unit), Goal::Apply("new".into()));
    let before = unit.clone();
    unit.digest = Some("newer".into());
    assert!(!runs_over_but_hooks(&mut unit, "new", &[]));
    unit.digest = Some("new".into());
    assert_eq!(unit, before);
}

#[test]
fn a_hook_that_failed_before_the_objects_keeps_them_away() {
    let mut unit = granted("new");
    unit.applied_digest = None;
    let record = &mut unit.chart_hooks;
    chart_hooks::begin(record, "new", HookOccasion::Install, HookSide::Before);
    chart_hooks::failed(record, None, false, "why");
    assert!(end(&mut unit, "new", UnitOutcome::Failed, "why"));
    assert_eq!(goal(&unit), Goal::Nothing);
    // What hooks have left goes with the application.
    unit.digest = None;
    assert_eq!(goal(&unit), Goal::Remove);
    removed(&mut unit);
    assert_eq!(goal(&unit), Goal::Nothing);
    // After the objects it takes nothing away from a first install.
    let mut unit = granted("new");
    unit.applied_digest = None;
    chart_hooks::begin(
        &mut unit.chart_hooks,
        "new",
        HookOccasion::Install,
        HookSide::After,
    );
    chart_hooks::failed(&mut unit.chart_hooks, None, false, "why");
    assert!(end(&mut unit, "new", UnitOutcome::Failed, "why"));
    assert_eq!(goal(&unit), Goal::Keep("new".into()));
}

#[test]
fn the_granted_bundle_is_remembered() {
    let mut unit = granted("new");
    assert!(begin(&mut unit, "new", &BTreeSet::new(), true));
    assert_eq!(unit.running_digest.as_deref(), Some("new"));
    runs_over(
        &mut unit,
        "new",
        &BTreeSet::new(),
        &[],
        &BTreeSet::new(),
        Some("why"),
    );
    assert_eq!(
        (unit.outcome, unit.reason.as_str()),
        (Some(UnitOutcome::Failed), "why")
    );
    applied(&mut unit, "new", &BTreeSet::new());
    assert_eq!(goal(&unit), Goal::Keep("new".into()));
    unit.digest = None;
    removing(&mut unit);
    assert_eq!(goal(&unit), Goal::Remove);
    removed(&mut unit);
    assert_eq!(goal(&unit), Goal::Nothing);
}

fn object(name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
    }
}

fn live(name: &str, uid: &str, managers: &[&str]) -> Value {
    let entries: Vec<Value> = managers
        .iter()
        .map(|manager| json!({"manager": manager}))
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "namespace": "shop", "name": name, "uid": uid, "managedFields": entries}})
}

const TWO: ReleaseRef<'_> = ReleaseRef {
    release: "two",
    revision: 2,
};

/// Takes over `theirs` and makes `ours`, as a release does that comes in.
fn adopting() -> SyncUnit {
    let mut unit = granted("new");
    adopt(
        &mut unit,
        &[live("theirs", "a", &["kubectl"])],
        TWO,
        "digest",
    );
    let objects = [object("ours"), object("theirs")].into();
    assert!(begin(&mut unit, "new", &objects, false));
    unit
}

fn adopted_and_settled(unit: &SyncUnit) -> Vec<(&str, Option<bool>)> {
    let of = |held: &HeldObject| held.adopted.as_ref().map(|adoption| adoption.settled);
    let objects = unit.objects.iter();
    objects.map(|held| (held.name.as_str(), of(held))).collect()
}

#[test]
fn what_was_there_is_remembered_as_such_before_anything_is_written() {
    let mut unit = adopting();
    let expected = [("ours", None), ("theirs", Some(false))];
    assert_eq!(adopted_and_settled(&unit), expected);
    assert_eq!(unit.objects[1].uid.as_deref(), Some("a"));

    let written = BTreeMap::from([
        (object("ours"), live("ours", "b", &[SYNC_MANAGER])),
        (
            object("theirs"),
            live("theirs", "a", &["kubectl", SYNC_MANAGER]),
        ),
    ]);
    assert_eq!(note_written(&mut unit, &written, TWO), []);
    assert_eq!(unit.objects[0].uid.as_deref(), Some("b"));
    assert_eq!(adopted_and_settled(&unit), expected);
    let before = unit.clone();
    assert_eq!(note_written(&mut unit, &written, TWO), []);
    assert_eq!(unit, before, "the same again is no change");
}

#[test]
fn a_workload_that_keeps_its_pods_is_remembered_with_what_it_was_taken_over_with() {
    let mut unit = adopting();
    let digests = |unit: &SyncUnit| -> Vec<Option<String>> {
        let of = |held: &HeldObject| held.adopted.as_ref()?.as_found.clone();
        unit.objects.iter().map(of).collect()
    };
    assert_eq!(digests(&unit), [None, None]);
    let digest = "digest".to_owned();
    let workloads = [
        (object("theirs"), digest.clone()),
        (object("ours"), digest.clone()),
        (object("unknown"), digest.clone()),
    ];
    keep_pods(&mut unit, &workloads);
    assert_eq!(
        digests(&unit),
        [None, Some(digest)],
        "only what was adopted"
    );
    // Somebody makes it anew: what it was is no more.
    let written = live("theirs", "c", &["kubectl", SYNC_MANAGER]);
    let written = BTreeMap::from([(object("theirs"), written)]);
    note_written(&mut unit, &written, TWO);
    assert_eq!(digests(&unit), [None, None]);
}

#[test]
fn only_a_release_that_ran_settles_what_it_adopted() {
    let objects = BTreeSet::from([object("ours"), object("theirs")]);
    let nothing = BTreeSet::new();
    let mut unit = adopting();
    runs_over(
        &mut unit,
        "new",
        &objects,
        &[],
        &nothing_failed(),
        Some("why"),
    );
    assert_eq!(adopted_and_settled(&unit)[1], ("theirs", Some(false)));
    applied(&mut unit, "other", &nothing);
    assert_eq!(adopted_and_settled(&unit)[1], ("theirs", Some(false)));
    runs_over(&mut unit, "new", &objects, &[], &nothing_failed(), None);
    assert_eq!(adopted_and_settled(&unit)[1], ("theirs", Some(true)));
    let mut unit = adopting();
    applied(&mut unit, "new", &objects);
    assert_eq!(adopted_and_settled(&unit)[1], ("theirs", Some(true)));
}

fn nothing_failed() -> BTreeSet<String> {
    BTreeSet::new()
}

#[test]
fn an_object_that_was_made_anew_by_hand_is_named() {
    let mut unit = adopting();
    let first = BTreeMap::from([(object("ours"), live("ours", "b", &[SYNC_MANAGER]))]);
    note_written(&mut unit, &first, TWO);
    let again = live("ours", "c", &["kubectl", SYNC_MANAGER]);
    let again = BTreeMap::from([(object("ours"), again)]);
    assert_eq!(note_written(&mut unit, &again, TWO), [object("ours")]);
    assert_eq!(adopted_and_settled(&unit)[0], ("ours", Some(false)));
}

#[test]
fn what_is_granted_while_a_removal_is_under_way_is_a_first_install_after_it() {
    let mut unit = adopting();
    applied(&mut unit, "new", &BTreeSet::new());
    unit.digest = None;
    removing(&mut unit);
    assert_eq!(goal(&unit), Goal::Remove);
    // As a commit leaves it.
    unit.digest = Some("newer".to_owned());
    unit.outcome = None;
    assert_eq!(goal(&unit), Goal::Remove, "half of it may be gone");
    removed(&mut unit);
    assert_eq!(goal(&unit), Goal::Begin("newer".into()));
    assert_eq!((&unit.applied_digest, unit.objects.len()), (&None, 0));
}

#[test]
fn a_removal_that_has_not_begun_is_called_off_by_a_grant() {
    let mut unit = granted("newer");
    removing(&mut unit);
    assert_eq!(goal(&unit), Goal::Begin("newer".into()));
    assert_eq!(
        unit.applied_digest.as_deref(),
        Some("old"),
        "nothing was deleted"
    );
}

fn bundle(release: &str, mode: BundleMode) -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"}, "release": release, "revision": 1,
        "run": uuid::Uuid::nil(), "attempt": 1, "mode": mode, "targetNamespace": "shop",
        "createNamespace": true, "components": [], "rollouts": [], "sync": {}, "metrics": null,
    }))
    .expect("a bundle")
}

fn live_state(release: &str, bundle: &str) -> KeptLiveState {
    KeptLiveState {
        release: release.to_owned(),
        bundle: bundle.to_owned(),
        objects: "content".to_owned(),
        fields: vec!["spec.replicas".to_owned()],
    }
}

#[test]
fn what_others_changed_comes_back_with_the_release_and_with_no_other() {
    let mut unit = granted("b1");
    keep_live_state(&mut unit, "r1", Some(&live_state("r1", "b1")));
    let found = |digest: &str, release: &str, mode| {
        live_state_of(&unit, digest, &bundle(release, mode)).is_some()
    };
    assert!(
        found("b1", "r1", BundleMode::Rollout),
        "the bundle that ran"
    );
    assert!(
        found("b3", "r1", BundleMode::Plain),
        "one that goes back to it"
    );
    assert!(
        !found("b3", "r1", BundleMode::Rollout),
        "the same content from the records is a release like any other"
    );
    assert!(!found("b2", "r2", BundleMode::Plain));

    keep_live_state(&mut unit, "r1", None);
    assert_eq!(unit.live_states, []);
    for number in 0..MAX_LIVE_STATES + 3 {
        let state = live_state(&format!("r{number}"), "b");
        keep_live_state(&mut unit, &state.release, Some(&state));
    }
    assert_eq!(unit.live_states.len(), MAX_LIVE_STATES);
    assert_eq!(
        unit.live_states[0].release, "r3",
        "the oldest are forgotten"
    );
    removed(&mut unit);
    assert_eq!(unit.live_states, []);
}

#[test]
fn what_a_granted_bundle_says_of_the_end_counts_also_where_it_does_not_come_in() {
    let mut unit = adopting();
    unit.objects[0].component = Some("db".to_owned());
    unit.objects[1].component = Some("web".to_owned());
    unit.objects.push(HeldObject::from(object("whose")));
    let says = |application: DeletionPolicy, db: Option<DeletionPolicy>| {
        let mut bundle = bundle("r", BundleMode::Rollout);
        bundle.sync.deletion = application;
        let component = json!({"name": "db", "objects": [], "sync": {"deletion": db}});
        bundle.components = vec![serde_json::from_value(component).expect("a component")];
        bundle
    };
    let said = |unit: &SyncUnit| -> (DeletionPolicy, Vec<Option<DeletionPolicy>>) {
        let of = unit.objects.iter().map(|held| held.deletion);
        (unit.deletion, of.collect())
    };
    let (goes, stays) = (DeletionPolicy::Delete, DeletionPolicy::Orphan);
    unit.objects[1].deletion = Some(stays);
    note_deletion(&mut unit, "new", &says(stays, Some(goes)));
    end(&mut unit, "new", UnitOutcome::Refused, "why");
    let kept = vec![Some(goes), Some(stays), None];
    assert_eq!(said(&unit), (stays, kept.clone()));
    note_deletion(&mut unit, "mid", &says(goes, None));
    assert_eq!(said(&unit), (stays, kept), "another one is granted by now");
    note_deletion(&mut unit, "new", &says(goes, None));
    assert_eq!(said(&unit), (goes, vec![None, Some(stays), None]));
}

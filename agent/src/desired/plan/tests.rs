use bellwether_api::{reference::ObjectRef, sync_record::HeldObject};
use serde_json::json;

use super::*;
use crate::desired::digest_of;

const KEY: &str = "application/default/shop";

fn bundle(release: &str) -> Vec<u8> {
    serde_json::to_vec(&json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": release, "revision": 1, "run": uuid::Uuid::nil(), "attempt": 1,
        "mode": "Plain", "targetNamespace": "shop", "createNamespace": true,
        "components": [], "rollouts": [], "sync": {}, "metrics": null,
    }))
    .unwrap()
}

struct Wire {
    contents: Contents,
    commit: Commit,
}

fn wire(to: u64, units: &[(&str, u64, Option<&[u8]>)], live: &[(&str, &[u8])]) -> Wire {
    let mut contents = Contents::new();
    let changes = units
        .iter()
        .map(|(key, generation, content)| {
            let digest = content.map(|content| {
                contents.insert(digest_of(content), Ok(content.to_vec()));
                digest_of(content)
            });
            Change {
                key: (*key).to_owned(),
                generation: *generation,
                digest,
                deletion: None,
            }
        })
        .collect();
    let digests: Vec<_> = live
        .iter()
        .map(|(key, content)| (*key, digest_of(content)))
        .collect();
    let root = Root::of(digests.iter().map(|(key, digest)| (*key, digest)));
    let commit = Commit {
        incarnation: 1,
        epoch: 1,
        to,
        changes,
        blobs: Vec::new(),
        snapshot: false,
        root: *root.as_bytes(),
    };
    Wire { contents, commit }
}

fn run(held: &Records, wire: &Wire) -> Result<Planned, PlanError> {
    plan(held, &wire.commit, &wire.contents, &Unread::new())
}

#[test]
fn what_an_older_agent_refused_is_read_once_more() {
    let (one, two) = (bundle("one"), bundle("two"));
    let other = "application/default/other";
    let live: [(&str, &[u8]); 2] = [(KEY, &one), (other, &two)];
    let sent = wire(7, &[(KEY, 5, Some(&one)), (other, 7, Some(&two))], &live);
    let mut held = run(&Records::empty(), &sent).unwrap().records;
    assert_eq!(resume_from(&held, &unread(&held, |_| true)), 7);
    // As an agent that does not know the content leaves it: refused, and nothing stored.
    let refused = held.unit_mut(KEY).unwrap();
    refused.outcome = Some(UnitOutcome::Refused);
    refused.reason = "what is it?".to_owned();
    let digest = hex::encode(digest_of(&one));
    assert!(
        unread(&held, |_| true).is_empty(),
        "refused later, for what it says"
    );
    let unread = unread(&held, |stored| stored != digest);
    assert_eq!(resume_from(&held, &unread), 4, "it comes again");
    let [first, second] = [0, 1].map(|index| sent.commit.changes[index].clone());
    assert!(!is_known(&held, &first, &unread) && is_known(&held, &second, &unread));
    // Without it the same change is nothing new.
    assert_eq!(run(&held, &sent).unwrap().records, held);
    let read = plan(&held, &sent.commit, &sent.contents, &unread).unwrap();
    let unit = read.records.unit(KEY).unwrap();
    assert_eq!((unit.outcome, unit.reason.as_str()), (None, ""));
    assert!(read.stores.contains(&digest_of(&one)) && read.nacks.is_empty());
    assert_eq!(read.records.unit(other), held.unit(other));
    // An older change of the same name stays an older one.
    let late = wire(7, &[(KEY, 3, Some(&two))], &live);
    let after = plan(&held, &late.commit, &late.contents, &unread).unwrap();
    assert_eq!(after.records.unit(KEY), held.unit(KEY));
}

#[test]
fn delta_is_taken_once_and_repeats_change_nothing() {
    let one = bundle("one");
    let first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    let planned = run(&Records::empty(), &first).unwrap();
    assert_eq!(planned.records.generation, 1);
    assert_eq!(planned.stores.len(), 1);
    let again = run(&planned.records, &first).unwrap();
    assert_eq!(again.records, planned.records);
    assert!(again.stores.is_empty());
}

#[test]
fn older_change_does_not_undo_a_newer_one() {
    let (one, two) = (bundle("one"), bundle("two"));
    let newer = wire(5, &[(KEY, 5, Some(&two))], &[(KEY, &two)]);
    let held = run(&Records::empty(), &newer).unwrap().records;
    let late = wire(3, &[(KEY, 3, Some(&one))], &[(KEY, &one)]);
    assert_eq!(run(&held, &late).unwrap().records, held);
}

#[test]
fn wrong_root_commits_nothing() {
    let one = bundle("one");
    let mut bad = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    bad.commit.root = [9; 32];
    assert_eq!(
        run(&Records::empty(), &bad).unwrap_err(),
        PlanError::RootMismatch { generation: 1 }
    );
}

#[test]
fn lower_epoch_is_refused() {
    let one = bundle("one");
    let mut first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    first.commit.epoch = 7;
    let held = run(&Records::empty(), &first).unwrap().records;
    first.commit.epoch = 6;
    assert_eq!(
        run(&held, &first).unwrap_err(),
        PlanError::LowerEpoch { held: 7, given: 6 }
    );
}

#[test]
fn new_content_opens_the_outcome_anew_and_keeps_what_runs() {
    let (one, two) = (bundle("one"), bundle("two"));
    let mut held = run(
        &Records::empty(),
        &wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]),
    )
    .unwrap()
    .records;
    let unit = held.unit_mut(KEY).unwrap();
    unit.outcome = Some(UnitOutcome::Succeeded);
    unit.applied_digest.clone_from(&unit.digest.clone());
    let next = run(&held, &wire(2, &[(KEY, 2, Some(&two))], &[(KEY, &two)]))
        .unwrap()
        .records;
    let unit = next.unit(KEY).unwrap();
    assert_eq!(unit.outcome, None);
    assert_eq!(unit.applied_digest, Some(hex::encode(digest_of(&one))));
}

#[test]
fn broken_content_is_nacked_and_blocks_no_other() {
    let (one, broken) = (bundle("one"), b"{\"no\": \"bundle\"}".to_vec());
    let other = "application/default/other";
    let units: &[(&str, u64, Option<&[u8]>)] = &[(KEY, 1, Some(&one)), (other, 2, Some(&broken))];
    let planned = run(
        &Records::empty(),
        &wire(2, units, &[(KEY, &one), (other, &broken)]),
    )
    .unwrap();
    assert_eq!(
        planned
            .nacks
            .iter()
            .map(|nack| nack.key.as_str())
            .collect::<Vec<_>>(),
        [other]
    );
    assert_eq!(
        planned.records.unit(other).unwrap().outcome,
        Some(UnitOutcome::Refused)
    );
    assert_eq!(planned.records.unit(KEY).unwrap().outcome, None);
    assert_eq!(planned.stores.len(), 1);
}

/// The hub asks again where whoever was told may have gone; a unit that is refused as it is taken up says so itself.
#[test]
fn a_refusal_is_told_again_unless_the_content_is_stored() {
    let broken = b"{\"no\": \"bundle\"}".to_vec();
    let mut sent = wire(2, &[(KEY, 2, Some(&broken))], &[(KEY, &broken)]);
    let first = run(&Records::empty(), &sent).unwrap();
    let stored = run(&first.records, &sent).unwrap();
    assert_eq!(stored.nacks, []);
    sent.contents.clear();
    let again = run(&first.records, &sent).unwrap();
    assert_eq!(again.nacks, first.nacks);
    assert_eq!(again.nacks.len(), 1);
    assert_eq!(again.records, first.records);
    let one = bundle("one");
    let mut good = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    let held = run(&Records::empty(), &good).unwrap();
    good.contents.clear();
    let same = run(&held.records, &good).unwrap();
    assert_eq!(same.nacks, [], "it was taken");
}

#[test]
fn snapshot_keeps_what_it_lacks_as_an_orphan_outside_the_root() {
    let one = bundle("one");
    let held = run(
        &Records::empty(),
        &wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]),
    )
    .unwrap()
    .records;
    let mut empty = wire(9, &[], &[]);
    empty.commit.snapshot = true;
    empty.commit.incarnation = 2;
    let after = run(&held, &empty).unwrap().records;
    assert!(after.unit(KEY).unwrap().orphan);
    assert!(after.unit(KEY).unwrap().digest.is_some());
    assert_eq!(after.root(), Root::EMPTY);
    assert_eq!((after.incarnation, after.generation), (2, 9));
}

#[test]
fn tombstone_takes_the_unit_out_of_the_root_and_keeps_its_memory() {
    let one = bundle("one");
    let held = run(
        &Records::empty(),
        &wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]),
    )
    .unwrap()
    .records;
    let after = run(&held, &wire(2, &[(KEY, 2, None)], &[]))
        .unwrap()
        .records;
    assert_eq!(after.unit(KEY).unwrap().digest, None);
    assert_eq!(after.root(), Root::EMPTY);
}

fn of_application(application: DeletionPolicy) -> DeletionPolicies {
    DeletionPolicies {
        application,
        ..DeletionPolicies::default()
    }
}

#[test]
fn a_tombstone_says_what_becomes_of_the_objects_over_what_was_taken_up() {
    let one = bundle("one");
    let first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    let mut held = run(&Records::empty(), &first).unwrap().records;
    held.unit_mut(KEY).unwrap().deletion = DeletionPolicy::SelectivelyOrphan;
    for (said, kept) in [
        // The application was deleted, or the hub is older.
        (None, DeletionPolicy::SelectivelyOrphan),
        (Some(DeletionPolicy::Orphan), DeletionPolicy::Orphan),
        (Some(DeletionPolicy::Delete), DeletionPolicy::Delete),
    ] {
        let mut gone = wire(2, &[(KEY, 2, None)], &[]);
        gone.commit.changes[0].deletion = said.map(of_application);
        let after = run(&held, &gone).unwrap().records;
        assert_eq!(after.unit(KEY).unwrap().deletion, kept, "{said:?}");
    }
    // A grant says nothing of it: what it brings is noted when it is taken up.
    let two = bundle("two");
    let mut again = wire(2, &[(KEY, 2, Some(&two))], &[(KEY, &two)]);
    again.commit.changes[0].deletion = Some(of_application(DeletionPolicy::Delete));
    let after = run(&held, &again).unwrap().records;
    let unit = after.unit(KEY).unwrap();
    assert_eq!(unit.deletion, DeletionPolicy::SelectivelyOrphan);
}

#[test]
fn a_tombstone_brings_the_word_of_a_component_that_no_content_brought() {
    let one = bundle("one");
    let first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    let mut held = run(&Records::empty(), &first).unwrap().records;
    let made_by = |component: &str| HeldObject {
        component: Some(component.to_owned()),
        ..HeldObject::from(ObjectRef {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: None,
            name: component.to_owned(),
        })
    };
    held.unit_mut(KEY).unwrap().objects = ["db", "gone", "web"].map(made_by).into();
    let mut tombstone = wire(2, &[(KEY, 2, None)], &[]);
    tombstone.commit.changes[0].deletion = Some(DeletionPolicies {
        application: DeletionPolicy::Delete,
        components: BTreeMap::from([
            ("db".to_owned(), Some(DeletionPolicy::Orphan)),
            ("web".to_owned(), None),
        ]),
    });
    let after = run(&held, &tombstone).unwrap().records;
    let objects = &after.unit(KEY).unwrap().objects;
    let kept: Vec<_> = objects.iter().map(|held| held.deletion).collect();
    assert_eq!(kept, [Some(DeletionPolicy::Orphan), None, None]);
}

#[test]
fn removal_that_began_is_not_forgotten_when_the_unit_is_granted_again() {
    let one = bundle("one");
    let first = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    let mut held = run(&Records::empty(), &first).unwrap().records;
    held = run(&held, &wire(2, &[(KEY, 2, None)], &[]))
        .unwrap()
        .records;
    held.unit_mut(KEY).unwrap().removing = true;
    let again = wire(3, &[(KEY, 3, Some(&one))], &[(KEY, &one)]);
    let unit = run(&held, &again).unwrap().records;
    let unit = unit.unit(KEY).unwrap();
    assert_eq!((unit.digest.is_some(), unit.removing), (true, true));
    assert_eq!(unit.outcome, None);
}

#[test]
fn missing_content_is_asked_for_not_guessed() {
    let one = bundle("one");
    let mut bare = wire(1, &[(KEY, 1, Some(&one))], &[(KEY, &one)]);
    bare.contents.clear();
    assert!(matches!(
        run(&Records::empty(), &bare),
        Err(PlanError::MissingBlob { .. })
    ));
}

#[test]
fn one_content_that_cannot_be_read_refuses_its_unit_and_no_other() {
    let other = "application/default/other";
    let (one, mut two) = (
        bundle("one"),
        serde_json::from_slice::<serde_json::Value>(&bundle("two")).unwrap(),
    );
    two["application"]["name"] = json!("other");
    let two = serde_json::to_vec(&two).unwrap();
    let live: [(&str, &[u8]); 2] = [(KEY, &one), (other, &two)];
    let mut sent = wire(2, &[(KEY, 1, Some(&one)), (other, 2, Some(&two))], &live);
    let digest = digest_of(&one);
    sent.contents.insert(digest, Err("too large".to_owned()));
    let planned = run(&Records::empty(), &sent).unwrap();
    let nack = Nack {
        key: KEY.to_owned(),
        generation: 1,
        error: "too large".to_owned(),
    };
    assert_eq!(planned.nacks, [nack]);
    assert_eq!(planned.records.generation, 2);
    assert_eq!(planned.stores, BTreeSet::from([digest_of(&two)]));
    let unit = planned.records.unit(KEY).unwrap();
    assert_eq!(unit.outcome, Some(UnitOutcome::Refused));
    assert_eq!(unit.reason, "too large");
    assert_eq!(planned.records.unit(other).unwrap().outcome, None);
}

#[test]
fn ten_thousand_objects_are_taken_and_one_more_is_not() {
    let of = |count: usize| {
        let mut bundle: serde_json::Value = serde_json::from_slice(&bundle("one")).unwrap();
        let objects: Vec<_> = (0..count)
            .map(|at| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("item-{at}")}}))
            .collect();
        bundle["components"] = json!([{"name": "web", "objects": objects}]);
        serde_json::to_vec(&bundle).unwrap()
    };
    let nacks = |content: &[u8]| {
        let sent = wire(1, &[(KEY, 1, Some(content))], &[(KEY, content)]);
        run(&Records::empty(), &sent).unwrap().nacks
    };
    assert_eq!(nacks(&of(10_000)), []);
    let error = &nacks(&of(10_001))[0].error;
    assert!(
        error.starts_with("10001 objects are more than the 10000"),
        "{error}"
    );
}

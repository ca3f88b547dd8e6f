//! Commits that are stored in part, since a write failed or the answer to one was lost.

use bellwether_api::{
    command::{Abort, AbortCause},
    root::Root,
    sync_record::SyncUnit,
};
use uuid::Uuid;

use super::*;
use crate::desired::{
    CommitBlob, digest_of,
    double::{Death, Reads, SYSTEM, Server},
    pack,
    shard::record_name_of,
};

const KEY: &str = "command/default/shop";
/// The record that is written last, since it has the generation.
const LAST: &str = "bellwether-sync-00";

fn shop() -> NamespacedName {
    NamespacedName {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
    }
}

fn abort() -> Command {
    Command {
        run: Uuid::from_u128(7),
        attempt: 1,
        abort: Some(Abort {
            cause: AbortCause::Manual,
            by: "somebody".to_owned(),
            reason: String::new(),
        }),
        ..Command::default()
    }
}

/// What the hub sends: the abort at odd generations, and that it goes at even ones.
fn sent(generation: u64) -> Commit {
    let bytes = serde_json::to_vec(&abort()).expect("a document");
    let digest = (generation % 2 == 1).then(|| digest_of(&bytes));
    Commit {
        incarnation: 1,
        epoch: 6,
        to: generation,
        changes: vec![Change {
            key: KEY.to_owned(),
            generation,
            digest,
            deletion: None,
        }],
        blobs: digest
            .map(|digest| CommitBlob {
                digest,
                zstd: pack(&bytes).expect("it can be packed"),
            })
            .into_iter()
            .collect(),
        snapshot: false,
        root: *Root::of(digest.as_ref().map(|digest| (KEY, digest))).as_bytes(),
    }
}

/// An agent with a session, which holds nothing yet.
async fn begun(server: &Server) -> Desired {
    assert_ne!(
        record_name_of(KEY),
        LAST,
        "the tests fail one of two writes"
    );
    let agent = server.agent().await;
    agent.enter_epoch(6).await.expect("nobody was here before");
    agent
}

#[tokio::test]
async fn a_command_that_was_stored_before_its_commit_failed_is_heard() {
    for death in [Death::BeforeTheWrite, Death::AfterTheWrite] {
        let server = Server::default();
        let agent = begun(&server).await;
        server.dies_at(LAST, Some(death));
        let failed = agent.commit(sent(1)).await;
        assert!(failed.is_err(), "{death:?}: {failed:?}");
        server.dies(None);
        // The hub sends it again: it is known by its generation by now.
        agent.commit(sent(1)).await.expect("it is taken");
        assert_eq!(agent.command(&shop()), Some(abort()), "{death:?}");
        server.dies_at(LAST, Some(death));
        agent.commit(sent(2)).await.expect_err("it fails again");
        server.dies(None);
        agent.commit(sent(2)).await.expect("it is taken");
        assert_eq!(agent.command(&shop()), None, "{death:?}");
    }
}

/// Lets a commit be stored but for its generation, of which the agent knows nothing.
async fn unseen(server: &Server, agent: &Desired, commit: Commit) {
    server.dies_at(LAST, Some(Death::BeforeTheWrite));
    server.reads(Reads::Nothing);
    agent.commit(commit).await.expect_err("it fails");
    server.dies(None);
    server.reads(Reads::Everything);
}

#[tokio::test]
async fn a_command_that_was_stored_without_the_agents_knowledge_is_heard() {
    let server = Server::default();
    let agent = begun(&server).await;
    unseen(&server, &agent, sent(1)).await;
    assert_eq!(agent.command(&shop()), None);
    agent.commit(sent(1)).await.expect("it is taken");
    assert_eq!(agent.command(&shop()), Some(abort()));
    unseen(&server, &agent, sent(2)).await;
    assert_eq!(agent.command(&shop()), Some(abort()));
    // Whatever is written next looks first.
    let noted = agent.update(KEY, |unit| "noted".clone_into(&mut unit.reason));
    noted.await.expect("it is written over what stands there");
    assert_eq!(agent.command(&shop()), None);
}

#[tokio::test]
async fn whoever_waits_for_changes_hears_of_what_was_read_back_although_the_write_fails_again() {
    let server = Server::default();
    let agent = begun(&server).await;
    unseen(&server, &agent, sent(1)).await;
    let changed = agent.subscribe();
    server.dies_at(&record_name_of(KEY), Some(Death::BeforeTheWrite));
    let noted = agent.update(KEY, |unit| "noted".clone_into(&mut unit.reason));
    noted.await.expect_err("it fails");
    assert_eq!(agent.command(&shop()), Some(abort()));
    assert!(changed.has_changed().expect("the agent lives"));
}

#[tokio::test]
async fn a_content_that_the_cluster_names_without_the_agents_knowledge_is_kept() {
    let server = Server::default();
    let agent = begun(&server).await;
    let other = "rollout/default/other";
    assert_ne!(record_name_of(other), record_name_of(KEY));
    let named = Change {
        key: other.to_owned(),
        generation: 1,
        digest: None,
        deletion: None,
    };
    let first = Commit {
        changes: vec![named],
        blobs: Vec::new(),
        root: *Root::EMPTY.as_bytes(),
        ..sent(1)
    };
    agent.commit(first).await.expect("it is taken");
    let second = Commit { to: 2, ..sent(1) };
    unseen(&server, &agent, second).await;
    // Contents that no unit names any more are dropped after this.
    let names = |unit: &mut SyncUnit| unit.applied_digest = Some("ab".repeat(32));
    agent.update(other, names).await.expect("it is written");
    assert_eq!(server.agent().await.command(&shop()), Some(abort()));
}

#[tokio::test]
async fn a_command_that_was_heard_stays_where_a_newer_one_cannot_be_read() {
    let server = Server::default();
    let agent = begun(&server).await;
    agent.commit(sent(1)).await.expect("it is taken");
    let bytes = br#"{"run": "of a newer hub"}"#;
    let digest = digest_of(bytes);
    let unread = Commit {
        to: 2,
        changes: vec![Change {
            key: KEY.to_owned(),
            generation: 2,
            digest: Some(digest),
            deletion: None,
        }],
        blobs: vec![CommitBlob {
            digest,
            zstd: pack(bytes).expect("it can be packed"),
        }],
        root: *Root::of([(KEY, &digest)]).as_bytes(),
        ..sent(1)
    };
    let committed = agent.commit(unread).await.expect("it is taken");
    assert_eq!(committed.nacks.len(), 1);
    assert_eq!(agent.command(&shop()), Some(abort()));
    server.dies(Some(Death::AfterTheWrite));
    let noted = |unit: &mut SyncUnit| unit.removing = true;
    agent
        .update(KEY, noted)
        .await
        .expect_err("its answer is lost");
    server.dies(None);
    agent.update(KEY, noted).await.expect("it was written");
    assert!(
        agent.unit(KEY).expect("the unit").removing,
        "it was read back"
    );
    assert_eq!(agent.command(&shop()), Some(abort()));
}

#[tokio::test]
async fn whoever_takes_over_again_has_the_commands_that_stand_by_then() {
    let server = Server::default();
    let older = begun(&server).await;
    older.commit(sent(1)).await.expect("it is taken");
    let newer = server.agent().await;
    newer.enter_epoch(7).await.expect("it is higher");
    assert_eq!(newer.command(&shop()), Some(abort()));
    let later = Commit {
        epoch: 7,
        ..sent(2)
    };
    newer.commit(later).await.expect("it is taken");
    older.enter_epoch(8).await.expect("it is the highest");
    assert_eq!(older.command(&shop()), None);
}

#[tokio::test]
async fn an_agent_does_not_begin_without_a_command_that_it_could_not_ask_for() {
    let server = Server::default();
    let agent = begun(&server).await;
    agent.commit(sent(1)).await.expect("it is taken");
    server.reads(Reads::Lists);
    let begins = Desired::load(server.client(), SYSTEM).await;
    assert!(begins.is_err(), "it would go on as if nobody had aborted");
    server.reads(Reads::Everything);
    assert_eq!(server.agent().await.command(&shop()), Some(abort()));
}

#[tokio::test]
async fn a_content_whose_deletion_nobody_saw_is_stored_when_it_comes_again() {
    let server = Server::default();
    let agent = begun(&server).await;
    agent.commit(sent(1)).await.expect("it is taken");
    server.loses_deletions(true);
    agent.commit(sent(2)).await.expect("it is taken");
    server.loses_deletions(false);
    let again = sent(3);
    assert_eq!(agent.missing(&again.changes).len(), 1, "it is asked for");
    agent.commit(again).await.expect("it is taken");
    assert_eq!(server.agent().await.command(&shop()), Some(abort()));
}

#[tokio::test]
async fn a_content_that_another_agent_dropped_is_stored_when_it_comes_again() {
    let server = Server::default();
    let older = begun(&server).await;
    older.commit(sent(1)).await.expect("it is taken");
    let newer = server.agent().await;
    newer.enter_epoch(7).await.expect("it is higher");
    let gone = Commit {
        epoch: 7,
        ..sent(2)
    };
    newer.commit(gone).await.expect("it is taken");
    older.enter_epoch(8).await.expect("it is the highest");
    let again = Commit {
        epoch: 8,
        ..sent(3)
    };
    assert_eq!(older.missing(&again.changes).len(), 1, "it is asked for");
    older.commit(again).await.expect("it is taken");
    assert_eq!(server.agent().await.command(&shop()), Some(abort()));
}

//! Words that were used: kept until the annotation is written anew.

use bellwether_hub_core::allowance::Spent;
use bellwether_store::{
    Store, allowances,
    records::{self, NewRecord, RecordKind},
    testing,
};
use serde_json::json;

use crate::fixture::{at, new_record};

const PRUNE: &str = "bellwether.dev/allow-prune";
const REMOVAL: &str = "bellwether.dev/allow-removal";

fn shop(annotations: &[(&str, &str)]) -> NewRecord {
    let annotations = annotations.iter();
    NewRecord {
        annotations: annotations
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..new_record(RecordKind::Application, "shop", json!({"components": []}))
    }
}

async fn apply(store: &Store, annotations: &[(&str, &str)]) {
    let mut tx = store.begin().await.unwrap();
    let new = shop(annotations);
    records::apply(&mut tx, &new, None, at(0)).await.unwrap();
    tx.commit().await.unwrap();
}

fn word(annotation: &str, value: &str) -> Spent {
    Spent {
        annotation: annotation.to_owned(),
        value: value.to_owned(),
        used_for: "release 2".to_owned(),
        covers: vec!["Fleet/a".to_owned(), "Fleet/b".to_owned()],
    }
}

async fn spend(store: &Store, word: &Spent) -> bool {
    let mut tx = store.begin().await.unwrap();
    let done = allowances::spend(&mut tx, &shop(&[]).key, word, at(1)).await;
    tx.commit().await.unwrap();
    done.unwrap()
}

async fn spent(store: &Store) -> Vec<Spent> {
    allowances::spent(store, &shop(&[]).key).await.unwrap()
}

#[tokio::test]
async fn a_word_is_used_once_and_only_as_it_stands_there() {
    let store = testing::store().await;
    assert!(
        !spend(&store, &word(PRUNE, "6")).await,
        "there is no record"
    );
    apply(&store, &[(PRUNE, "6"), (REMOVAL, "2")]).await;
    assert!(!spend(&store, &word(PRUNE, "7")).await, "it says another");
    assert!(spend(&store, &word(PRUNE, "6")).await);
    assert!(!spend(&store, &word(PRUNE, "6")).await, "it was used");
    assert!(spend(&store, &word(REMOVAL, "2")).await);
    assert_eq!(spent(&store).await, [word(PRUNE, "6"), word(REMOVAL, "2")]);

    let mut tx = store.begin().await.unwrap();
    let left = ["Fleet/b".to_owned()];
    let key = shop(&[]).key;
    allowances::cover(&mut tx, &key, REMOVAL, &left)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(spent(&store).await[1].covers, left);
}

#[tokio::test]
async fn a_word_that_is_written_anew_was_not_used() {
    let store = testing::store().await;
    let both = [(PRUNE, "6"), (REMOVAL, "2")];
    apply(&store, &both).await;
    assert!(spend(&store, &word(PRUNE, "6")).await);
    assert!(spend(&store, &word(REMOVAL, "2")).await);
    // What changes beside it leaves it as it is.
    apply(&store, &[(PRUNE, "6"), (REMOVAL, "2"), ("look", "1")]).await;
    assert_eq!(spent(&store).await.len(), 2);
    apply(&store, &[(REMOVAL, "2")]).await;
    assert_eq!(spent(&store).await, [word(REMOVAL, "2")]);
    apply(&store, &both).await;
    assert!(spend(&store, &word(PRUNE, "6")).await);
    apply(&store, &[(PRUNE, "7"), (REMOVAL, "2")]).await;
    apply(&store, &both).await;
    assert_eq!(spent(&store).await, [word(REMOVAL, "2")]);

    // A record of the same name is another one.
    let mut tx = store.begin().await.unwrap();
    records::delete(&mut tx, &shop(&[]).key, None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    apply(&store, &both).await;
    assert_eq!(spent(&store).await, []);
}

#[tokio::test]
async fn a_word_is_passed_on_by_what_it_was_used_for_and_by_nothing_else() {
    let store = testing::store().await;
    apply(&store, &[(PRUNE, "6")]).await;
    let first = word(PRUNE, "6");
    assert!(spend(&store, &first).await);
    let pass_on = async |by: &Spent, to: &str| {
        let mut tx = store.begin().await.unwrap();
        let done = allowances::pass_on(&mut tx, &shop(&[]).key, by, to).await;
        tx.commit().await.unwrap();
        done.unwrap()
    };
    assert!(pass_on(&first, "release 3").await);
    assert_eq!(spent(&store).await[0].used_for, "release 3");
    assert!(
        !pass_on(&first, "release 4").await,
        "it is used for another"
    );
    apply(&store, &[(PRUNE, "7")]).await;
    let third = Spent {
        used_for: "release 3".to_owned(),
        ..first
    };
    assert!(!pass_on(&third, "release 4").await, "it was written anew");
}

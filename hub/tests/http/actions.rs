//! What humans say to runs.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Caller, Hub, application, eventually, fleet};

const ACTIONS: &str = "/api/v1/rollouts/shop/web/actions";

/// A hub with an application whose run waits for an agent that never comes.
async fn waiting_run() -> Hub {
    let hub = Hub::start().await;
    hub.announce("c1", &json!({"tier": "canary"})).await;
    let admin = hub.admin();
    admin
        .applied(&format!(
            "{}---\n{}",
            fleet("all"),
            application("shop", "web", "all", "web:1")
        ))
        .await;
    eventually("a run", async || {
        let view = admin.get("/api/v1/rollouts/shop/web/status").await;
        (view.body["total"] == 1).then_some(())
    })
    .await;
    hub
}

async fn act(caller: &Caller, key: Option<&str>, body: &Value) -> Answer {
    let mut request = caller.request(Method::POST, ACTIONS).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    caller.send(request).await
}

#[tokio::test]
async fn action_is_stored_once_and_answered() {
    let hub = waiting_run().await;
    let admin = hub.admin();
    let suspend = json!({"type": "suspend", "reason": "lunch", "expectedRevision": 1});
    let first = act(&admin, Some("k1"), &suspend).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    assert_eq!(
        (&first.body["type"], &first.body["revision"]),
        (&json!("suspend"), &json!(1))
    );
    let location = first.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(
        location,
        format!("/api/v1/actions/{}", first.body["id"].as_str().unwrap())
    );
    let again = act(&admin, Some("k1"), &suspend).await;
    assert_eq!(
        again.body["id"], first.body["id"],
        "the same key is the same action"
    );
    let other = act(&admin, Some("k1"), &json!({"type": "abort"})).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.body["code"], "KeyReused");

    let answered = eventually("an answer", async || {
        let action = admin.get(&location).await;
        (!action.body["result"].is_null()).then_some(action.body)
    })
    .await;
    assert_eq!(answered["result"]["outcome"], "Executed", "{answered}");
    assert_eq!(answered["reason"], "lunch");
    let view = admin.get("/api/v1/rollouts/shop/web/status").await;
    assert_eq!(view.body["state"], "Suspended", "{view:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn stale_and_impossible_actions_are_refused() {
    let hub = waiting_run().await;
    let admin = hub.admin();
    let stale = act(
        &admin,
        None,
        &json!({"type": "promote", "expectedRevision": 7}),
    )
    .await;
    assert_eq!(stale.status, StatusCode::CONFLICT);
    assert!(
        stale.detail().contains("you saw revision 7, it is now 1"),
        "{stale:?}"
    );
    for (body, word) in [
        (json!({"type": "approve", "wave": "canry"}), "canry"),
        (json!({"type": "skip", "cluster": "c9"}), "c1"),
    ] {
        let answer = act(&admin, None, &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{answer:?}"
        );
        assert!(answer.detail().contains(word), "{answer:?}");
    }
    for body in [
        json!({"type": "explode"}),
        json!({"type": "abort", "resaon": "x"}),
        json!(1),
    ] {
        let answer = act(&admin, None, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    }
    let nowhere = "/api/v1/rollouts/shop/none/actions";
    assert_eq!(
        admin.post(nowhere, &json!({"type": "abort"})).await.status,
        StatusCode::NOT_FOUND
    );
    let key = "k".repeat(300);
    let answer = act(&admin, Some(&key), &json!({"type": "abort"})).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    hub.running.stop().await;
}

#[tokio::test]
async fn a_weight_stands_beside_its_verb_alone() {
    let hub = waiting_run().await;
    let admin = hub.admin();
    let cases = [
        (json!({"type": "setweight"}), 422, "weight: setweight needs"),
        (
            json!({"type": "setweight", "replicas": 2}),
            422,
            "weight: setweight needs",
        ),
        (
            json!({"type": "approve", "weight": 30}),
            422,
            "weight: approve sets none; use setweight",
        ),
        (
            json!({"type": "skip", "replicas": "20%"}),
            422,
            "replicas: skip sets none; use setweight",
        ),
        (
            json!({"type": "setweight", "weight": 101}),
            400,
            "weight: 101 is no weight; use 0 to 100",
        ),
        (
            json!({"type": "setweight", "weight": 30, "replicas": "few"}),
            400,
            "replicas: ",
        ),
    ];
    for (body, status, words) in cases {
        let answer = act(&admin, None, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {answer:?}");
        assert!(answer.detail().contains(words), "{body}: {answer:?}");
    }
    let refused = act(&admin, None, &json!({"type": "setweight"})).await;
    assert_eq!(refused.body["errors"][0]["path"], "weight", "{refused:?}");
    let stale = json!({"type": "setweight", "weight": 30, "expectedRevision": 7});
    let answer = act(&admin, None, &stale).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    let history = admin.get("/api/v1/rollouts/shop/web/history").await;
    assert!(
        history.body["items"][0].get("actions").is_none(),
        "nothing of it was stored: {history:?}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn a_weight_is_stored_answered_and_kept_in_the_history() {
    let hub = waiting_run().await;
    let admin = hub.admin();
    let body = json!({"type": "setweight", "weight": 30, "replicas": "20%", "cluster": "c1",
                      "reason": "slowly"});
    let said = act(&admin, Some("k1"), &body).await;
    assert_eq!(said.status, StatusCode::ACCEPTED, "{said:?}");
    let again = act(&admin, Some("k1"), &body).await;
    assert_eq!(again.body["id"], said.body["id"]);
    let mut other = body.clone();
    other["weight"] = json!(31);
    let other = act(&admin, Some("k1"), &other).await;
    assert_eq!(other.body["code"], "KeyReused", "{other:?}");
    let history = eventually("an answer", async || {
        let history = admin.get("/api/v1/rollouts/shop/web/history").await;
        let answered = !history.body["items"][0]["actions"][0]["result"].is_null();
        answered.then_some(history.body)
    })
    .await;
    let action = &history["items"][0]["actions"][0];
    let shown = ["type", "weight", "replicas", "cluster", "reason"].map(|key| action[key].clone());
    assert_eq!(
        shown,
        [
            json!("setweight"),
            json!(30),
            json!("20%"),
            json!("c1"),
            json!("slowly")
        ],
        "{history}"
    );
    assert_eq!(action["result"]["outcome"], "Refused", "{history}");
    assert!(
        action["result"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("installs without a canary")),
        "{history}"
    );
    hub.running.stop().await;
}

#[tokio::test]
async fn ended_run_takes_no_more_but_a_retry() {
    let hub = waiting_run().await;
    let admin = hub.admin();
    assert_eq!(
        act(&admin, None, &json!({"type": "abort", "reason": "INC-1"}))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let view = eventually("the end", async || {
        let view = admin.get("/api/v1/rollouts/shop/web/status").await;
        (view.body["state"] == "Aborted").then_some(view.body)
    })
    .await;
    assert_eq!(view["reason"], "INC-1", "{view}");
    let late = act(&admin, None, &json!({"type": "promote"})).await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{late:?}");
    let retry = act(&admin, None, &json!({"type": "retry"})).await;
    assert_eq!(retry.status, StatusCode::ACCEPTED, "{retry:?}");
    let history = admin.get("/api/v1/rollouts/shop/web/history").await;
    assert_eq!(history.body["items"][0]["revision"], 1, "{history:?}");
    hub.running.stop().await;
}

#[tokio::test]
async fn a_rollback_names_its_fields_and_a_run_is_finished_by_delete_too() {
    let hub = waiting_run().await;
    let admin = hub.admin();
    for (body, path) in [
        (json!({"type": "rollback", "toRevision": 0}), "toRevision"),
        (json!({"type": "abort", "toRevision": 1}), "toRevision"),
        (json!({"type": "finish", "toRevision": 1}), "toRevision"),
    ] {
        let refused = act(&admin, None, &body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(refused.body["errors"][0]["path"], path, "{refused:?}");
    }
    let rollback = act(&admin, None, &json!({"type": "rollback"})).await;
    let delete = |query: &str| {
        let address = format!("/api/v1/rollouts/shop/web/run{query}");
        admin.send(admin.request(Method::DELETE, &address))
    };
    let finish = delete("?reason=tidy").await;
    assert_eq!(finish.body["type"], "finish", "{finish:?}");
    assert_eq!(finish.body["reason"], "tidy");
    let stale = delete("?revision=7").await;
    assert_eq!(stale.status, StatusCode::CONFLICT, "{stale:?}");
    for (said, part) in [
        (rollback, "no release before"),
        (finish, "abort or rollback"),
    ] {
        assert_eq!(said.status, StatusCode::ACCEPTED, "{said:?}");
        let address = format!("/api/v1/actions/{}", said.body["id"].as_str().unwrap());
        let answered = eventually("an answer", async || {
            let action = admin.get(&address).await;
            (!action.body["result"].is_null()).then_some(action.body)
        })
        .await;
        assert_eq!(answered["result"]["outcome"], "Refused", "{answered}");
        let message = answered["result"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{message}");
    }
    hub.running.stop().await;
}

//! An agent that applies in the name of a ServiceAccount, against an API server that keeps what it writes.

use std::time::Duration;

use bellwether_api::{bundle::Bundle, status::UnitOutcome};
use serde_json::{Value, json};

use crate::sync::unit::chart_hooks::tests::{
    house::{House, KEY, config_map, job},
    server::Server,
};

const USER: &str = "system:serviceaccount:shop:deployer";
const LACKS: &str = "Service/shop/web cannot be applied: ServiceAccount shop/deployer may not create, \
    patch services in namespace shop";

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}]}})
}

/// A bundle that is applied in the name of ServiceAccount `deployer`, with a ConfigMap whose content is its
/// revision.
fn bundle(revision: u64, hooks: &[Value], more: &[Value]) -> Vec<u8> {
    let mut objects = vec![config_map("web", &revision.to_string())];
    objects.extend_from_slice(more);
    let bundle = json!({
        "application": {"namespace": "default", "name": "shop"},
        "release": format!("release-{revision}"), "revision": revision,
        "run": uuid::Uuid::from_u128(u128::from(revision)), "attempt": 1,
        "mode": "Rollout", "targetNamespace": "shop", "createNamespace": false,
        "components": [{"name": "web", "restrictedObjects": objects, "hooks": hooks,
            "serviceAccount": {"namespace": "shop", "name": "deployer"}}],
        "rollouts": [], "sync": {}, "metrics": null,
    });
    let text = bundle.to_string().into_bytes();
    let read: Bundle = serde_json::from_slice(&text).expect("a bundle");
    assert!(read.components[0].service_account.is_some());
    text
}

/// A server with the ServiceAccount, which may write what is named.
fn server(rights: &[&'static str]) -> Server {
    let server = Server::default();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "deployer", "namespace": "shop"}});
    let at = "shop/serviceaccounts/deployer".to_owned();
    server.lock().objects.insert(at, account);
    give(&server, rights);
    server
}

fn give(server: &Server, rights: &[&'static str]) {
    let rights = rights.iter().copied().collect();
    server.lock().rights.insert(USER.to_owned(), rights);
}

/// Paths that were written in the name of the ServiceAccount since this was asked last.
fn acted(server: &Server) -> Vec<String> {
    let acted = std::mem::take(&mut server.lock().acted);
    let done = acted.into_iter();
    done.map(|(method, path, user)| {
        assert_eq!(user, USER);
        assert!(
            !["GET", "DELETE"].contains(&method.as_str()),
            "{method} {path}"
        );
        path
    })
    .collect()
}

#[tokio::test]
async fn what_an_account_may_not_is_named_before_anything_and_comes_in_once_it_may() {
    let server = server(&["configmaps"]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[service()])).await;
    assert_eq!(house.work().await, Ok(vec![LACKS.to_owned()]));
    assert_eq!((house.data(), house.outcome().0), (None, None));
    assert_eq!(acted(&server), [""; 0]);

    give(&server, &["configmaps", "services"]);
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
    assert_eq!(house.data(), Some(json!("1")));
    assert_eq!(acted(&server), ["shop/configmaps/web", "shop/services/web"]);
}

#[tokio::test]
async fn an_account_that_is_not_there_or_not_to_be_taken_is_named_with_what_helps() {
    let server = server(&["configmaps"]);
    let account = server
        .lock()
        .objects
        .remove("shop/serviceaccounts/deployer");
    server.lock().forbidden.insert("serviceaccounts".to_owned());
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[])).await;
    let waits = house.work().await.expect("it waits");
    assert!(
        waits[0]
            .starts_with("the agent may not act in the name of ServiceAccount shop/deployer: run")
            && waits[0].contains("--impersonate shop/deployer"),
        "{waits:?}"
    );
    server.lock().forbidden.clear();
    let waits = house.work().await.expect("it waits");
    assert!(
        waits[0].starts_with("ServiceAccount shop/deployer does not exist: make it"),
        "{waits:?}"
    );
    assert_eq!((acted(&server), house.data()), (Vec::new(), None));
    let account = account.expect("it was there");
    let at = "shop/serviceaccounts/deployer".to_owned();
    server.lock().objects.insert(at, account);
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.data(), Some(json!("1")));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_never_gets_its_rights_is_refused_and_the_one_before_is_held_meanwhile() {
    let server = server(&["configmaps"]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[])).await;
    house.work().await.expect("it comes in");
    house.install(&bundle(2, &[], &[service()])).await;
    assert_eq!(house.work().await, Ok(vec![LACKS.to_owned()]));

    let edited = config_map("web", "edited");
    server
        .lock()
        .objects
        .get_mut("shop/configmaps/web")
        .expect("it is there")["data"] = edited["data"].clone();
    house.unit.dirty.all = true;
    tokio::time::advance(Duration::from_secs(599)).await;
    assert_eq!(house.work().await, Ok(vec![LACKS.to_owned()]));
    assert_eq!(house.data(), Some(json!("1")), "drift is corrected");

    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(
        house.outcome(),
        (Some(UnitOutcome::Refused), LACKS.to_owned())
    );
    assert_eq!(house.data(), Some(json!("1")));
}

#[tokio::test]
async fn hooks_are_made_in_the_name_of_the_account_too() {
    let server = server(&["configmaps"]);
    let mut house = House::on(&server).await;
    let hooks = [
        job("migrate", &["pre-install"], &[]),
        job("goodbye", &["pre-delete"], &[]),
    ];
    house.install(&bundle(1, &hooks, &[])).await;
    let lacks = "hook Job/shop/migrate cannot run: ServiceAccount shop/deployer may not create jobs in \
        namespace shop";
    assert_eq!(house.work().await, Ok(vec![lacks.to_owned()]));
    server.end("migrate", "Complete");
    give(&server, &["configmaps", "jobs"]);
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(acted(&server), ["shop/jobs", "shop/configmaps/web"]);
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
}

#[tokio::test]
async fn what_goes_back_does_so_whatever_rights_were_taken_away_since() {
    let server = server(&["configmaps", "jobs"]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[])).await;
    house.work().await.expect("it comes in");
    server.end("greet", "Failed");
    let greet = job("greet", &["post-upgrade"], &[]);
    house.install(&bundle(2, &[greet], &[])).await;
    for _ in 0..60 {
        if house.outcome().0 != Some(UnitOutcome::RollingBack) {
            house.unit.pass().await.expect("a pass");
        }
    }
    assert_eq!(house.outcome().0, Some(UnitOutcome::RollingBack));
    assert_eq!(house.data(), Some(json!("2")));
    acted(&server);
    give(&server, &[]);
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Failed));
    assert_eq!(house.data(), Some(json!("1")));
    assert_eq!(acted(&server), [""; 0]);
}

#[tokio::test]
async fn an_application_goes_after_its_account_is_gone() {
    let server = server(&["configmaps", "services"]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[service()])).await;
    house.work().await.expect("it comes in");
    give(&server, &[]);
    server
        .lock()
        .objects
        .remove("shop/serviceaccounts/deployer");
    house.remove().await;
    house.work().await.expect("it goes");
    assert_eq!(house.data(), None);
    assert_eq!(server.get("shop/services/web"), None);
}

#[tokio::test]
async fn drift_is_corrected_in_the_name_of_the_account_and_what_it_may_not_is_a_warning() {
    let server = server(&["configmaps"]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[])).await;
    house.work().await.expect("it comes in");
    acted(&server);
    let edit = |server: &Server| {
        let mut kept = server.lock();
        let live = kept.objects.get_mut("shop/configmaps/web");
        live.expect("it is there")["data"] = json!({"of": "edited"});
    };
    edit(&server);
    house.unit.dirty.all = true;
    house.work().await.expect("it is corrected");
    assert_eq!(house.data(), Some(json!("1")));
    assert_eq!(acted(&server), ["shop/configmaps/web"]);

    give(&server, &[]);
    edit(&server);
    house.unit.dirty.all = true;
    house.unit.pass_and_publish().await.expect_err("it may not");
    let record = house.unit.shell.desired.unit(KEY).expect("a unit");
    let warnings = house.unit.all_warnings(&record).join("; ");
    let who = "failed to apply ConfigMap/shop/web as ServiceAccount shop/deployer";
    assert!(warnings.contains(who), "{warnings}");
    assert_eq!(house.data(), Some(json!("edited")));

    give(&server, &["configmaps"]);
    house.unit.pass_and_publish().await.expect("it may again");
    assert_eq!(house.data(), Some(json!("1")));
    let record = house.unit.shell.desired.unit(KEY).expect("a unit");
    assert_eq!(house.unit.all_warnings(&record), [""; 0]);
}

#[tokio::test]
async fn what_a_release_leaves_out_goes_although_its_account_may_nothing_any_more() {
    let server = server(&["configmaps", "services"]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[service()])).await;
    house.work().await.expect("it comes in");
    house.install(&bundle(2, &[], &[])).await;
    for _ in 0..60 {
        let record = house.record();
        if record.applied_digest != record.digest {
            house.unit.pass().await.expect("a pass");
        }
    }
    assert!(
        server.get("shop/services/web").is_some(),
        "it goes after that"
    );

    give(&server, &[]);
    let edited = json!({"of": "edited"});
    server
        .lock()
        .objects
        .get_mut("shop/configmaps/web")
        .expect("it is there")["data"] = edited;
    house.unit.dirty.all = true;
    house
        .unit
        .pass()
        .await
        .expect_err("it may not write it back");
    assert_eq!(house.data(), Some(json!("edited")));
    assert_eq!(server.get("shop/services/web"), None);
    let status = house.unit.status(&house.record());
    assert_eq!(status.outcome, UnitOutcome::Succeeded, "nothing is pruned");
}

#[tokio::test]
async fn what_the_hub_gives_back_asks_for_no_right_until_it_is_there() {
    let server = server(&["configmaps"]);
    let mut house = House::on(&server).await;
    for revision in [1, 2] {
        house.install(&bundle(revision, &[], &[])).await;
        assert_eq!(house.work().await, Ok(Vec::new()));
    }
    acted(&server);
    give(&server, &[]);
    server.lock().forbidden.insert("serviceaccounts".to_owned());
    server.end("undo", "Complete");
    let hooks = [job("undo", &["pre-rollback"], &[])];
    let mut back: Value = serde_json::from_slice(&bundle(1, &hooks, &[])).expect("a bundle");
    back["run"] = json!(uuid::Uuid::from_u128(2));
    back["attempt"] = json!(2);
    back["mode"] = json!("Plain");
    back["returns"] = json!(true);
    house.install(back.to_string().as_bytes()).await;
    assert_eq!(house.work().await, Ok(Vec::new()));
    assert_eq!(house.outcome().0, Some(UnitOutcome::Succeeded));
    assert_eq!((house.data(), house.made().len()), (Some(json!("1")), 1));
    assert_eq!(acted(&server), [""; 0]);

    // From then on it is held as any other.
    give(&server, &["configmaps"]);
    server
        .lock()
        .objects
        .get_mut("shop/configmaps/web")
        .expect("it is there")["data"] = json!({"of": "edited"});
    house.unit.dirty.all = true;
    house.work().await.expect("it is corrected");
    assert_eq!(house.data(), Some(json!("1")));
    assert_eq!(acted(&server), ["shop/configmaps/web"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_given_is_asked_about_less_and_less_often() {
    let server = server(&[]);
    let mut house = House::on(&server).await;
    house.install(&bundle(1, &[], &[service()])).await;
    let pause = async |house: &mut House| {
        let pass = house.unit.pass().await.expect("it waits");
        assert_eq!(pass.waiting_on[0].reason, "LacksRights");
        pass.wake_in.expect("it looks again").as_secs()
    };
    house.work().await.expect("it waits");
    for expected in [10, 20, 30, 30] {
        assert_eq!(pause(&mut house).await, expected);
    }
    give(&server, &["configmaps"]);
    assert_eq!(pause(&mut house).await, 5, "something was given");
    tokio::time::advance(Duration::from_secs(598)).await;
    assert_eq!(pause(&mut house).await, 2, "it ends with its time");
}

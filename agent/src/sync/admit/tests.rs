#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bellwether_api::reference::NamespacedName;
use http::{Method, StatusCode};
use serde_json::json;

use super::*;
use crate::sync::{
    cluster::double::{client, refusal},
    keep::Part,
};

#[test]
fn bookkeeping_is_no_difference() {
    let live = json!({"metadata": {"name": "a", "resourceVersion": "1", "managedFields": []},
        "spec": {"x": 1}, "status": {"y": 1}});
    let planned = json!({"metadata": {"name": "a", "resourceVersion": "2"}, "spec": {"x": 1}});
    assert!(same(&live, &planned));
    assert!(!same(
        &live,
        &json!({"metadata": {"name": "a"}, "spec": {"x": 2}})
    ));
}

#[test]
fn object_that_stands_twice_is_named() {
    let want = || {
        Wanted::new(json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "shop"}}))
        .unwrap()
    };
    assert!(repeated(&[want()]).is_empty());
    assert_eq!(
        repeated(&[want(), want()]),
        ["Service/shop/web stands in the release twice"]
    );
}

pub(super) fn bundle(sync: &Value) -> Bundle {
    serde_json::from_value(json!({
        "application": {"namespace": "default", "name": "shop"}, "release": "r", "revision": 1,
        "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain", "targetNamespace": "shop",
        "createNamespace": false, "components": [], "rollouts": [], "sync": sync, "metrics": null,
    }))
    .unwrap()
}

static NONE_TAKEN: BTreeMap<ObjectRef, String> = BTreeMap::new();
static NONE_SETTLED: BTreeSet<ObjectRef> = BTreeSet::new();

/// The admission of a unit that holds nothing yet.
pub(super) const fn admission<'a>(cluster: &'a Cluster, access: &'a Access) -> Admission<'a> {
    Admission {
        cluster,
        access,
        own: &[],
        taken: &NONE_TAKEN,
        hooks: &[],
        left: &[],
        settled: &NONE_SETTLED,
    }
}

/// What a cluster that has Deployment `web` of uid `a` says to a release with `object`.
async fn refusals(sync: &Value, want: Wanted, own: &[HeldObject]) -> Vec<String> {
    let (client, _) = client(|asked| {
        let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata":
            {"name": "web", "namespace": "shop", "uid": "a"}, "spec": {"selector": "old"}});
        if asked.path.contains("selfsubjectaccessreviews") {
            return (
                StatusCode::OK,
                json!({"spec": {}, "status": {"allowed": true}}),
            );
        }
        if asked.method == Method::GET {
            return if asked.path.contains("/deployments/web") {
                (StatusCode::OK, live)
            } else {
                refusal(StatusCode::NOT_FOUND, "page not found")
            };
        }
        let (code, mut said) = refusal(StatusCode::UNPROCESSABLE_ENTITY, "it is invalid");
        said["details"] = json!({"causes": [{"field": "spec.selector",
            "message": "Invalid value: field is immutable"}]});
        (code, said)
    });
    let cluster = Cluster::new(client);
    let access = Access::default();
    let admission = Admission {
        own,
        ..admission(&cluster, &access)
    };
    admission
        .review(&bundle(sync), &[want])
        .await
        .unwrap()
        .refusals
}

#[tokio::test]
async fn a_kind_that_neither_cluster_nor_release_has_is_named() {
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "shop"}});
    let want = Wanted::new(widget).unwrap();
    let sync = json!({"prune": true});
    let said = refusals(&sync, want.clone(), &[]).await;
    assert_eq!(
        said,
        [
            "Widget/shop/w needs kind Widget of example.com/v1, which this cluster does not serve and \
          no CustomResourceDefinition of the release defines"
        ]
    );
    let brought = Wanted {
        defined_by: Some(want.target.clone()),
        ..want
    };
    assert_eq!(refusals(&sync, brought, &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_kind_that_has_come_since_the_last_refusal_counts_at_once() {
    let is_served = Arc::new(AtomicBool::new(false));
    let (client, _) = client({
        let is_served = Arc::clone(&is_served);
        move |asked| {
            if asked.path.contains("selfsubjectaccessreviews") {
                let status = json!({"allowed": true});
                return (StatusCode::OK, json!({"spec": {}, "status": status}));
            }
            if asked.path == "/apis/example.com/v1" && is_served.load(Ordering::SeqCst) {
                let widgets = json!([{"name": "widgets", "singularName": "", "kind": "Widget",
                    "namespaced": true, "verbs": ["get", "patch"]}]);
                return (
                    StatusCode::OK,
                    json!({"kind": "APIResourceList", "groupVersion": "example.com/v1",
                        "resources": widgets}),
                );
            }
            match asked.method {
                Method::PATCH => (StatusCode::OK, asked.body.clone()),
                _ => refusal(StatusCode::NOT_FOUND, "page not found"),
            }
        }
    });
    let cluster = Cluster::new(client);
    let access = Access::default();
    let admission = admission(&cluster, &access);
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "shop"}});
    let wanted = [Wanted::new(widget).unwrap()];
    let bundle = bundle(&json!({}));
    let said = admission.review(&bundle, &wanted).await.unwrap().refusals;
    assert_eq!(said.len(), 1, "{said:?}");
    is_served.store(true, Ordering::SeqCst);
    let said = admission.review(&bundle, &wanted).await.unwrap().refusals;
    assert_eq!(said, Vec::<String>::new());
}

#[tokio::test]
async fn configuration_that_holds_what_the_release_brings_is_unchanged() {
    let object = |kind: &str, data: &Value| {
        json!({"apiVersion": "v1", "kind": kind, "data": data,
            "metadata": {"name": "web", "namespace": "shop", "uid": "a"}})
    };
    let (one, two) = (json!({"k": "1"}), json!({"k": "2"}));
    for (kind, held, live, unchanged) in [
        ("ConfigMap", false, Some(&one), true),
        ("Secret", false, Some(&one), true),
        ("ConfigMap", true, Some(&one), true),
        ("ConfigMap", false, Some(&two), false),
        ("ConfigMap", true, Some(&two), false),
        ("ConfigMap", false, None, false),
        ("Service", false, Some(&one), false),
    ] {
        let answer = live.map(|data| object(kind, data));
        let (client, _) = client(move |asked| {
            if asked.path.contains("selfsubjectaccessreviews") {
                let status = json!({"allowed": true});
                return (StatusCode::OK, json!({"spec": {}, "status": status}));
            }
            match (&asked.method, &answer) {
                (&Method::PATCH, _) => (StatusCode::OK, asked.body.clone()),
                (_, Some(live)) => (StatusCode::OK, live.clone()),
                (_, None) => refusal(StatusCode::NOT_FOUND, "not found"),
            }
        });
        let cluster = Cluster::new(client);
        let want = Wanted::new(object(kind, &one)).unwrap();
        let mut own = HeldObject::from(want.target.clone());
        own.uid = Some("a".to_owned());
        let own: Vec<HeldObject> = held.then_some(own).into_iter().collect();
        let access = Access::default();
        let admission = Admission {
            own: &own,
            ..admission(&cluster, &access)
        };
        let target = want.target.clone();
        let sync = bundle(&json!({"adopt": "Always"}));
        let admitted = admission.review(&sync, &[want]).await.unwrap();
        assert_eq!(admitted.refusals, Vec::<String>::new());
        assert_eq!(
            admitted.unchanged.contains(&target),
            unchanged,
            "{kind} {held} {live:?}"
        );
    }
}

#[tokio::test]
async fn what_is_settled_is_not_asked_for() {
    let (client, log) = client(|asked| {
        if asked.path.contains("selfsubjectaccessreviews") {
            let status = json!({"allowed": true});
            return (StatusCode::OK, json!({"spec": {}, "status": status}));
        }
        match asked.method {
            Method::PATCH => (StatusCode::OK, asked.body.clone()),
            _ => refusal(StatusCode::NOT_FOUND, "not found"),
        }
    });
    let wanted: Vec<Wanted> = [("ConfigMap", "a"), ("Service", "b"), ("ConfigMap", "c")]
        .into_iter()
        .map(|(kind, name)| {
            let metadata = json!({"name": name, "namespace": "shop"});
            Wanted::new(json!({"apiVersion": "v1", "kind": kind, "metadata": metadata})).unwrap()
        })
        .collect();
    let settled = wanted[..2].iter().map(|want| want.target.clone()).collect();
    let (cluster, access) = (Cluster::new(client), Access::default());
    let admission = Admission {
        settled: &settled,
        ..admission(&cluster, &access)
    };
    let admitted = admission
        .review(&bundle(&json!({})), &wanted)
        .await
        .unwrap();
    assert_eq!(admitted.refusals, Vec::<String>::new());
    let unchanged: Vec<&str> = admitted.unchanged.iter().map(|one| &*one.name).collect();
    assert_eq!(unchanged, ["a"], "configuration that is there already");
    let log = log.lock().unwrap();
    let asked = |path: &str| log.iter().filter(|one| one.path.contains(path)).count();
    let of_each = ["configmaps/a", "services/b", "configmaps/c"].map(asked);
    assert_eq!(
        of_each,
        [0, 0, 2],
        "read and tried out is what is not settled"
    );
}

#[tokio::test]
async fn a_field_that_cannot_be_changed_is_named_with_what_would_help() {
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": "new"}});
    let want = |uid: Option<&str>| Wanted {
        recreates: uid.map(str::to_owned),
        ..Wanted::new(web.clone()).unwrap()
    };
    let mut held = HeldObject::from(want(None).target);
    held.uid = Some("a".to_owned());
    let own = [held];
    for (force, uid, expected) in [
        (
            false,
            None,
            Some("spec.selector cannot be changed; set sync.force"),
        ),
        (
            true,
            None,
            Some("sync.force does not make anew what a Rollout governs"),
        ),
        (true, Some("another"), Some("sync.force does not make anew")),
        (true, Some("a"), None),
    ] {
        let said = refusals(&json!({"force": force}), want(uid), &own).await;
        match expected {
            Some(expected) => assert!(said[0].contains(expected), "{said:?}"),
            None => assert_eq!(said, Vec::<String>::new()),
        }
    }
}

/// Deleting is the agent's, and making anew the account's: both rights are asked about before anything is deleted.
#[tokio::test]
async fn what_an_account_could_not_make_anew_is_waited_for() {
    let (client, _) = client(|asked| {
        if asked.path.contains("selfsubjectaccessreviews") {
            let verb = &asked.body["spec"]["resourceAttributes"]["verb"];
            let allowed = asked.user.is_none() || verb != "create";
            let status = json!({"allowed": allowed});
            return (StatusCode::OK, json!({"spec": {}, "status": status}));
        }
        if asked.method == Method::GET {
            let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata":
                {"name": "web", "namespace": "shop", "uid": "a"}, "spec": {"selector": "old"}});
            return (StatusCode::OK, live);
        }
        let (code, mut said) = refusal(StatusCode::UNPROCESSABLE_ENTITY, "it is invalid");
        said["details"] = json!({"causes": [{"field": "spec.selector",
            "message": "Invalid value: field is immutable"}]});
        (code, said)
    });
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": "new"}});
    let want = Wanted {
        recreates: Some("a".to_owned()),
        part: Arc::new(Part {
            account: Some(NamespacedName {
                namespace: "shop".to_owned(),
                name: "deployer".to_owned(),
            }),
            ..Part::default()
        }),
        ..Wanted::new(web).unwrap()
    };
    let mut held = HeldObject::from(want.target.clone());
    held.uid = Some("a".to_owned());
    let cluster = Cluster::new(client);
    let access = Access::default();
    let admission = Admission {
        own: &[held],
        ..admission(&cluster, &access)
    };
    let bundle = bundle(&json!({"force": true}));
    let found = admission.review(&bundle, &[want]).await.unwrap();
    let lacks = "Deployment/shop/web cannot be made anew: ServiceAccount shop/deployer may not create \
        deployments in namespace shop";
    assert_eq!(
        (found.refusals, found.lacks),
        (Vec::new(), vec![lacks.to_owned()])
    );
}

#[tokio::test]
async fn a_component_says_itself_whether_it_makes_anew() {
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": "new"}});
    let want = |force: bool| {
        let part = Part {
            force: Some(force),
            ..Part::default()
        };
        Wanted {
            recreates: Some("a".to_owned()),
            part: Arc::new(part),
            ..Wanted::new(web.clone()).unwrap()
        }
    };
    let mut held = HeldObject::from(want(true).target);
    held.uid = Some("a".to_owned());
    let own = [held];
    let said = refusals(&json!({"force": true}), want(false), &own).await;
    assert!(said[0].contains("set sync.force"), "{said:?}");
    let said = refusals(&json!({"force": false}), want(true), &own).await;
    assert_eq!(said, Vec::<String>::new());
}

/// The conversion webhook of a kind is not there: what is there cannot be read, what is not cannot be
/// tried out.
async fn unconverted(is_there: bool, own: &[HeldObject]) -> Vec<String> {
    const SAID: &str = "conversion webhook for apps/v1, Kind=Deployment failed: Post \
        \"https://conversion.shop.svc:443/convert\": service \"conversion\" not found";
    let (client, _) = client(move |asked| {
        if asked.path.contains("selfsubjectaccessreviews") {
            let status = json!({"allowed": true});
            return (StatusCode::OK, json!({"spec": {}, "status": status}));
        }
        if asked.method == Method::GET && !is_there {
            return refusal(StatusCode::NOT_FOUND, "not found");
        }
        refusal(StatusCode::INTERNAL_SERVER_ERROR, SAID)
    });
    let cluster = Cluster::new(client);
    let access = Access::default();
    let admission = Admission {
        own,
        ..admission(&cluster, &access)
    };
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"}});
    let wanted = [Wanted::new(object).unwrap()];
    let admitted = admission.review(&bundle(&json!({})), &wanted).await;
    admitted.unwrap().refusals
}

#[tokio::test]
async fn what_cannot_be_converted_comes_in_unless_it_may_be_somebody_elses() {
    assert_eq!(unconverted(false, &[]).await, [""; 0]);
    let target = bellwether_api::reference::ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: Some("shop".to_owned()),
        name: "web".to_owned(),
    };
    let own = [HeldObject::from(target)];
    assert_eq!(unconverted(true, &own).await, [""; 0]);
    let said = unconverted(true, &[]).await.join("; ");
    assert!(
        said.contains("Deployment/shop/web exists already, and whose it is cannot be read")
            && said.contains("service \"conversion\" not found"),
        "{said}"
    );
}

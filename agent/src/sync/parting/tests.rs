//! Against an API server of a few lines, which keeps ConfigMaps of one namespace.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use bellwether_api::sync_record::Adoption;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use kube::client::Body;

use super::*;
use crate::sync::cluster::{double, reference};

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    /// Takes the place of the object that is read next, right after it was read.
    remade: Option<Value>,
    /// Everything but reads: method, name and body.
    writes: Vec<(Method, String, Value)>,
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Kept>>);

impl Server {
    fn with(object: Value) -> Self {
        let server = Self::default();
        server.lock().objects.insert("web".to_owned(), object);
        server
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0
            .lock()
            .expect("no test panics while it holds the lock")
    }

    fn object(&self) -> Option<Value> {
        self.lock().objects.get("web").cloned()
    }

    fn writes(&self) -> Vec<(Method, String, Value)> {
        std::mem::take(&mut self.lock().writes)
    }

    fn cluster(&self) -> Cluster {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Cluster::new(kube::Client::new(service, "default"))
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Full<Bytes>>, kube::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let (code, answer) = match path.strip_prefix("/api/v1/namespaces/shop/configmaps/") {
            Some(name) => self.lock().work(&parts.method, name, &body),
            None => (
                StatusCode::OK,
                json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [{
                    "name": "configmaps", "singularName": "configmap", "namespaced": true,
                    "kind": "ConfigMap", "verbs": ["get", "delete", "patch"],
                }]}),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
        *response.status_mut() = code;
        Ok(response)
    }
}

impl Kept {
    fn work(&mut self, method: &Method, name: &str, body: &Value) -> (StatusCode, Value) {
        if *method != Method::GET {
            self.writes
                .push((method.clone(), name.to_owned(), body.clone()));
        }
        let Some(object) = self.objects.get_mut(name) else {
            return failure(StatusCode::NOT_FOUND);
        };
        let asked = |at: &str, has: &Value| body.pointer(at).is_none_or(|wants| wants == has);
        let metadata = object["metadata"].clone();
        match *method {
            Method::GET => {
                let read = object.clone();
                if let Some(remade) = self.remade.take() {
                    *object = remade;
                }
                (StatusCode::OK, read)
            }
            Method::DELETE if !asked("/preconditions/uid", &metadata["uid"]) => {
                failure(StatusCode::CONFLICT)
            }
            Method::DELETE => {
                if metadata["finalizers"].is_array() {
                    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                } else {
                    self.objects.remove(name);
                }
                (
                    StatusCode::OK,
                    json!({"kind": "Status", "status": "Success"}),
                )
            }
            _ if !asked("/metadata/resourceVersion", &metadata["resourceVersion"]) => {
                failure(StatusCode::CONFLICT)
            }
            _ => {
                merge(object, body);
                let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                object["metadata"]["resourceVersion"] = json!(format!("{version}+"));
                (StatusCode::OK, object.clone())
            }
        }
    }
}

fn failure(code: StatusCode) -> (StatusCode, Value) {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason,
            "reason": reason, "code": code.as_u16()}),
    )
}

fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            object.as_object_mut().expect("made one").remove(key);
        } else {
            merge(&mut object[key], value);
        }
    }
}

fn config_map(uid: &str, data: &Value, managers: &[(&str, &str)]) -> Value {
    let fields: Vec<Value> = managers
        .iter()
        .map(|(manager, field)| {
            json!({"manager": manager, "operation": "Apply",
                "fieldsV1": {"f:data": {format!("f:{field}"): {}}}})
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data, "metadata": {
        "namespace": "shop", "name": "web", "uid": uid, "resourceVersion": "1",
        "managedFields": fields}})
}

fn held(uid: Option<&str>, adopted: bool) -> HeldObject {
    HeldObject {
        uid: uid.map(str::to_owned),
        adopted: adopted.then(|| Adoption {
            release: "two".to_owned(),
            revision: 2,
            settled: false,
            originals: Some("digest".to_owned()),
            as_found: None,
        }),
        ..HeldObject::from(ObjectRef {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "web".to_owned(),
        })
    }
}

async fn part(server: &Server, held: &HeldObject, original: Option<&Value>) -> Fate {
    part_with(&server.cluster(), held, terms(), original)
        .await
        .expect("the server answers")
}

/// A release that leaves the object out, and of whose components one is `web`.
static NEXT: LazyLock<Bundle> = LazyLock::new(|| {
    let bundle = json!({
        "application": {"namespace": "default", "name": "shop"}, "release": "r", "revision": 1,
        "run": uuid::Uuid::nil(), "attempt": 1, "mode": "Plain", "targetNamespace": "shop",
        "createNamespace": false, "components": [{"name": "web", "objects": []}], "rollouts": [],
        "sync": {},
    });
    serde_json::from_value(bundle).expect("a bundle")
});

fn terms() -> Terms<'static> {
    Terms {
        next: Some(&NEXT),
        deletion: DeletionPolicy::Delete,
    }
}

fn ours(uid: &str) -> Value {
    config_map(uid, &json!({"k": "new"}), &[(SYNC_MANAGER, "k")])
}

#[tokio::test]
async fn only_the_recorded_object_is_deleted() {
    let server = Server::with(ours("a"));
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::Gone
    );
    assert_eq!(server.object(), None);
    let (method, name, body) = server.writes().remove(0);
    assert_eq!((method, name.as_str()), (Method::DELETE, "web"));
    assert_eq!(body["preconditions"]["uid"], "a");
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::Gone
    );

    // Somebody made another, which our drift correction may have written to.
    let server = Server::with(ours("b"));
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::LeftAlone
    );
    assert_eq!(server.writes(), []);
}

#[tokio::test]
async fn an_object_that_is_made_anew_at_the_last_moment_survives() {
    let server = Server::with(ours("a"));
    server.lock().remade = Some(ours("b"));
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::LeftAlone
    );
    assert_eq!(server.object(), Some(ours("b")));
}

#[tokio::test]
async fn an_object_that_something_holds_is_on_its_way() {
    let mut object = ours("a");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let server = Server::with(object);
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::Going
    );
    assert_eq!(server.writes().len(), 1);
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::Going
    );
    assert_eq!(server.writes(), [], "it is deleted once");
}

#[tokio::test]
async fn without_a_recorded_uid_our_field_manager_decides() {
    let server = Server::with(ours("a"));
    assert_eq!(part(&server, &held(None, false), None).await, Fate::Gone);
    let server = Server::with(config_map("a", &json!({}), &[("kubectl", "k")]));
    assert_eq!(
        part(&server, &held(None, false), None).await,
        Fate::LeftAlone
    );
    assert_eq!(server.writes(), []);
}

#[tokio::test]
async fn an_adopted_object_gets_back_what_it_had() {
    let original = config_map("a", &json!({"k": "old"}), &[("kubectl", "k")]);
    let data = json!({"k": "new", "added": "1", "theirs": "1"});
    let managers = [
        (SYNC_MANAGER, "k"),
        (SYNC_MANAGER, "added"),
        ("other", "theirs"),
    ];
    let server = Server::with(config_map("a", &data, &managers));
    let fate = Fate::LetGo { restored: true };
    assert_eq!(
        part(&server, &held(Some("a"), true), Some(&original)).await,
        fate
    );
    let after = server.object().expect("it stays");
    assert_eq!(after["data"], json!({"k": "old", "theirs": "1"}));
    let owners: Vec<&str> = after["metadata"]["managedFields"]
        .as_array()
        .expect("fields have owners")
        .iter()
        .filter_map(|entry| entry["manager"].as_str())
        .collect();
    assert_eq!(owners, ["other", "kubectl"]);

    // Cut off before it was recorded: the same again changes nothing.
    server.writes();
    assert_eq!(
        part(&server, &held(Some("a"), true), Some(&original)).await,
        fate
    );
    assert_eq!((server.object(), server.writes()), (Some(after), vec![]));
}

#[tokio::test]
async fn an_adopted_object_is_never_deleted_for_what_is_not_known_of_it() {
    let server = Server::with(ours("a"));
    let fate = Fate::LetGo { restored: false };
    assert_eq!(part(&server, &held(Some("a"), true), None).await, fate);
    let after = server.object().expect("it stays");
    assert_eq!(after["data"], json!({"k": "new"}));
    assert_eq!(
        after["metadata"]["managedFields"],
        json!([{}]),
        "fields have no owner"
    );

    // What is stored is of an object of the same name that is long gone.
    let stale = config_map("z", &json!({"k": "old"}), &[]);
    let server = Server::with(ours("a"));
    assert_eq!(
        part(&server, &held(Some("a"), true), Some(&stale)).await,
        fate
    );
    assert_eq!(server.object().expect("it stays")["data"]["k"], "new");
}

#[tokio::test]
async fn nothing_is_written_over_a_change_that_was_not_seen() {
    let original = config_map("a", &json!({"k": "old"}), &[]);
    let server = Server::with(ours("a"));
    let mut changed = ours("a");
    changed["metadata"]["resourceVersion"] = json!("2");
    server.lock().remade = Some(changed);
    let parted = part_with(
        &server.cluster(),
        &held(Some("a"), true),
        terms(),
        Some(&original),
    )
    .await;
    assert_eq!(parted.expect_err("it is tried again").code(), Some(409));
    assert_eq!(server.object().expect("it stays")["data"]["k"], "new");
}

fn protected(uid: &str) -> Value {
    let mut object = ours(uid);
    object["metadata"]["annotations"] = json!({"bellwether.dev/protect": "true"});
    object
}

/// What stays is as it was, and its fields are nobody's.
fn is_left_behind(server: &Server) -> bool {
    let left = server.object().expect("it stays");
    left["data"]["k"] == "new" && left["metadata"]["managedFields"] == json!([{}])
}

#[tokio::test]
async fn what_is_protected_is_never_deleted() {
    let server = Server::with(protected("a"));
    let fate = part(&server, &held(Some("a"), false), None).await;
    assert_eq!(fate, Fate::Protected);
    assert_eq!(server.writes(), [], "a release without it changes nothing");
    let goes = Terms {
        next: None,
        ..terms()
    };
    for _ in 0..2 {
        let fate = part_with(&server.cluster(), &held(Some("a"), false), goes, None).await;
        assert_eq!(fate.expect("the server answers"), Fate::Protected);
        assert!(is_left_behind(&server));
    }
    // Protection is a word of the live object, and only this one.
    let mut not = protected("a");
    not["metadata"]["annotations"]["bellwether.dev/protect"] = json!("false");
    let server = Server::with(not);
    let fate = part(&server, &held(Some("a"), false), None).await;
    assert_eq!(fate, Fate::Gone);
}

#[tokio::test]
async fn what_is_orphaned_stays_when_the_application_goes_and_only_then() {
    use DeletionPolicy::{Delete, Orphan, SelectivelyOrphan};
    for (deletion, next, fate) in [
        (Delete, None, Fate::Gone),
        (Orphan, None, Fate::Orphaned),
        // A ConfigMap holds no data that cannot be made anew.
        (SelectivelyOrphan, None, Fate::Gone),
        // A release that leaves it out says so itself.
        (Orphan, Some(&*NEXT), Fate::Gone),
    ] {
        let server = Server::with(ours("a"));
        let terms = Terms { next, deletion };
        let found = part_with(&server.cluster(), &held(Some("a"), false), terms, None).await;
        assert_eq!(found.expect("the server answers"), fate, "{terms:?}");
        assert!(fate == Fate::Gone || is_left_behind(&server));
        // Cut off before it was recorded: the same again changes nothing.
        let again = part_with(&server.cluster(), &held(Some("a"), false), terms, None).await;
        assert_eq!(again.expect("the server answers"), fate, "{terms:?}");
    }
}

#[tokio::test]
async fn a_component_says_what_stays_when_it_goes_or_its_application() {
    use DeletionPolicy::{Delete, Orphan, SelectivelyOrphan};
    for (own, component, application, next, fate) in [
        (Some(Orphan), "db", Delete, None, Fate::Orphaned),
        (Some(Delete), "db", Orphan, None, Fate::Gone),
        (None, "db", Orphan, None, Fate::Orphaned),
        // The component is in the release no more.
        (Some(Orphan), "db", Delete, Some(&*NEXT), Fate::Orphaned),
        (
            Some(SelectivelyOrphan),
            "db",
            Delete,
            Some(&*NEXT),
            Fate::Gone,
        ),
        (None, "db", Orphan, Some(&*NEXT), Fate::Gone),
        // It is, and leaves the object out.
        (Some(Orphan), "web", Orphan, Some(&*NEXT), Fate::Gone),
    ] {
        let server = Server::with(ours("a"));
        let held = HeldObject {
            component: Some(component.to_owned()),
            deletion: own,
            ..held(Some("a"), false)
        };
        let terms = Terms {
            next,
            deletion: application,
        };
        let found = part_with(&server.cluster(), &held, terms, None).await;
        let said = format!("{own:?} of {component}, {application:?}");
        assert_eq!(found.expect("the server answers"), fate, "{said}");
        assert!(fate == Fate::Gone || is_left_behind(&server), "{said}");
    }
}

#[tokio::test]
async fn an_object_that_asks_to_be_kept_is_let_go_of_and_stays() {
    let mut object = ours("a");
    object["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    let server = Server::with(object);
    assert_eq!(
        part(&server, &held(Some("a"), false), None).await,
        Fate::Kept
    );
    let left = server.object().expect("it stays");
    assert_eq!(left["data"], json!({"k": "new"}));
    assert_eq!(
        left["metadata"]["managedFields"],
        json!([{}]),
        "no field is ours"
    );
    let methods: Vec<Method> = server.writes().into_iter().map(|write| write.0).collect();
    assert_eq!(methods, [Method::PATCH]);
}

/// A Deployment that was adopted, of some pods and an image.
fn deployment(replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7",
            "managedFields": [{"manager": SYNC_MANAGER, "operation": "Apply", "apiVersion": "apps/v1",
                "fieldsV1": {"f:spec": {"f:replicas": {}, "f:image": {}}}}]},
        "spec": {"replicas": replicas, "image": image},
    })
}

#[tokio::test]
async fn an_adopted_workload_keeps_the_size_that_its_autoscaler_gave_it() {
    for scaled in [true, false] {
        let (client, log) = double::client(move |asked| {
            let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
            let scaler = json!({"metadata": {"name": "web", "namespace": "shop"},
                "spec": {"scaleTargetRef": target}});
            if asked.path.contains("horizontalpodautoscalers") {
                let items: Vec<Value> = scaled.then_some(scaler).into_iter().collect();
                let list = json!({"apiVersion": "autoscaling/v2", "kind": "List", "metadata": {},
                    "items": items});
                return (StatusCode::OK, list);
            }
            if asked.path.contains("keda.sh") {
                return double::refusal(StatusCode::NOT_FOUND, "no such kind");
            }
            (StatusCode::OK, deployment(8, "v2"))
        });
        let object = reference(&deployment(8, "v2")).expect("it names itself");
        let (live, before) = (deployment(8, "v2"), deployment(2, "v1"));
        let cluster = Cluster::new(client);
        let fate = let_go(&cluster, &object, live, Some(&before)).await;
        assert_eq!(fate.expect("an answer"), Fate::LetGo { restored: true });
        let asked = log.lock().expect("no test panics here");
        let restored = asked
            .iter()
            .filter(|one| one.method == Method::PATCH)
            .find_map(|one| one.body.get("spec"));
        let mut expected = json!({"image": "v1", "replicas": 2});
        if scaled {
            expected = json!({"image": "v1"});
        }
        assert_eq!(restored, Some(&expected), "scaled: {scaled}");
    }
}

//! Kinds that come with a release, fields that cannot be changed, fights, restarts.

use std::collections::BTreeMap;

use bellwether_agent_core::{contention::MAX_CORRECTIONS, ignored::Ignored};
use bellwether_api::{overrides::Target, sync_policy::IgnoreRule};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::sync::cluster::double::{Answer, Asked};

/// An API server that keeps objects by path, as far as these tests need it.
#[derive(Default)]
pub(super) struct Api {
    objects: BTreeMap<String, Value>,
    made: u32,
    /// What others than the agent may do to any object.
    pub(super) rights: BTreeSet<&'static str>,
    /// Whether it serves Widgets.
    serves_widgets: bool,
    /// Whether deleted objects stay until a finalizer lets them go.
    holds: bool,
}

impl Api {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        if path == "/apis/example.com/v1" {
            return self.widgets();
        }
        if path.ends_with("/selfsubjectaccessreviews") {
            let verb = asked.body["spec"]["resourceAttributes"]["verb"].as_str();
            let allowed = asked.user.is_none() || verb.is_some_and(|it| self.rights.contains(it));
            let status = json!({"allowed": allowed});
            return (StatusCode::CREATED, json!({"spec": {}, "status": status}));
        }
        let verb = match self.objects.contains_key(path) {
            true => "patch",
            false => "create",
        };
        if asked.user.is_some() && !self.rights.contains(verb) {
            return refusal(StatusCode::FORBIDDEN, "it may not");
        }
        match asked.method {
            Method::GET if path.ends_with("autoscalers") => {
                (StatusCode::OK, json!({"metadata": {}, "items": []}))
            }
            Method::GET => self.found(path),
            Method::DELETE => self.delete(path, &asked.body),
            _ => self.apply(path, &asked.body, query.contains("dryRun")),
        }
    }

    fn widgets(&self) -> Answer {
        if !self.serves_widgets {
            return refusal(StatusCode::NOT_FOUND, "page not found");
        }
        let widgets = json!({"name": "widgets", "singularName": "", "namespaced": true,
            "kind": "Widget", "verbs": ["get", "patch"]});
        (
            StatusCode::OK,
            json!({"kind": "APIResourceList", "groupVersion": "example.com/v1",
                "resources": [widgets]}),
        )
    }

    fn found(&self, path: &str) -> Answer {
        match self.objects.get(path) {
            Some(object) => (StatusCode::OK, object.clone()),
            None => refusal(StatusCode::NOT_FOUND, "not found"),
        }
    }

    fn delete(&mut self, path: &str, body: &Value) -> Answer {
        let Some(object) = self.objects.get_mut(path) else {
            return refusal(StatusCode::NOT_FOUND, "not found");
        };
        if body["preconditions"]["uid"] != object["metadata"]["uid"] {
            return refusal(StatusCode::CONFLICT, "another uid");
        }
        if self.holds {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        } else {
            self.objects.remove(path);
        }
        (
            StatusCode::OK,
            json!({"kind": "Status", "status": "Success"}),
        )
    }

    /// What is applied comes out with what the server adds; fields that others have stay.
    fn apply(&mut self, path: &str, body: &Value, dry_run: bool) -> Answer {
        let live = self.objects.get(path);
        let selector = |object: &Value| object.pointer("/spec/selector").cloned();
        if let Some(live) = live
            && selector(live) != selector(body)
        {
            let (code, mut status) =
                refusal(StatusCode::UNPROCESSABLE_ENTITY, "Deployment is invalid");
            status["details"] = json!({"causes": [{"field": "spec.selector",
                "message": "Invalid value: field is immutable"}]});
            return (code, status);
        }
        let mut object = live.cloned().unwrap_or(Value::Null);
        if object.is_null() {
            self.made += 1;
            object = json!({"metadata": {"uid": format!("uid-{}", self.made)}, "status": {}});
        }
        merge(&mut object, body);
        object["metadata"]["managedFields"] = json!([
            {"manager": SYNC_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:00Z",
                "fieldsV1": {"f:spec": {"f:paused": {}, "f:replicas": {}}}},
        ]);
        if !dry_run {
            self.objects.insert(path.to_owned(), object.clone());
        }
        (StatusCode::OK, object)
    }
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (object, patch) => object.clone_from(patch),
    }
}

pub(super) struct Scene {
    pub(super) cluster: Cluster,
    log: Log,
    pub(super) api: Arc<Mutex<Api>>,
}

pub(super) const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";

impl Scene {
    pub(super) fn new() -> Self {
        let api = Arc::new(Mutex::new(Api::default()));
        let served = Arc::clone(&api);
        let (client, log) =
            client(move |asked| served.lock().expect("no test panics here").answer(asked));
        Self {
            cluster: Cluster::new(client),
            log,
            api,
        }
    }

    pub(super) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut api = self.api.lock().expect("no test panics here");
        change(api.objects.get_mut(path).expect(path));
    }

    pub(super) fn live(&self, path: &str) -> Option<Value> {
        let api = self.api.lock().expect("no test panics here");
        api.objects.get(path).cloned()
    }

    /// Requests since the last call that change something.
    pub(super) fn writes(&self) -> Vec<String> {
        let mut log = self.log.lock().expect("no test panics here");
        std::mem::take(&mut *log)
            .into_iter()
            .filter(|one| one.method != Method::GET && !one.path.contains("dryRun"))
            .map(|one| format!("{} {}", one.method, one.path))
            .collect()
    }

    async fn keep(&self, keeper: &mut Keeper, wanted: &[Wanted], look: FirstLook) -> Kept {
        let drift = DriftPolicy::Correct;
        keeper
            .keep(&self.cluster, wanted, &everything(), drift, look)
            .await
            .expect("the server answers")
    }
}

fn definition() -> Wanted {
    Wanted::new(
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com"}}),
    )
    .expect("it names itself")
}

fn widget() -> Wanted {
    let widget = Wanted::new(json!({"apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "shop"}, "spec": {}}))
    .expect("it names itself");
    Wanted {
        defined_by: Some(definition().target),
        ..widget
    }
}

fn reason_of(keeper: &Keeper, kind: &str) -> String {
    let statuses = keeper.statuses();
    let mut found = statuses.into_iter().filter(|one| one.object.kind == kind);
    found.next().map(|one| one.reason).unwrap_or_default()
}

#[tokio::test]
async fn an_object_waits_until_its_kind_is_in_force_and_served() {
    let scene = Scene::new();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let wanted = [definition(), widget()];
    let kept = scene.keep(&mut keeper, &wanted, FirstLook::Apply).await;
    assert_eq!(reason_of(&keeper, "Widget"), "KindNotEstablished");
    assert_ne!(keeper.health(), Health::Healthy);
    assert!(kept.look_in.is_some(), "it is looked at again by itself");
    assert_eq!(scene.writes().len(), 1, "only the definition is written");

    scene.edit(DEFINITION, |live| {
        live["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
    });
    scene.keep(&mut keeper, &wanted, FirstLook::Apply).await;
    assert_eq!(reason_of(&keeper, "Widget"), "KindNotServed");
    assert_eq!(scene.writes(), Vec::<String>::new());

    scene
        .api
        .lock()
        .expect("no test panics here")
        .serves_widgets = true;
    let kept = scene.keep(&mut keeper, &wanted, FirstLook::Apply).await;
    assert_eq!(keeper.health(), Health::Healthy);
    assert_eq!(kept.look_in, None);
    assert_eq!(scene.writes().len(), 1, "now the object is written");
}

pub(super) fn selecting(app: &str, uid: Option<&str>) -> Wanted {
    let mut want = wanted();
    want.object["spec"]["selector"] = json!({"matchLabels": {"app": app}});
    want.recreates = uid.map(str::to_owned);
    want
}

#[tokio::test]
async fn only_what_may_be_is_made_anew() {
    let scene = Scene::new();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let drift = DriftPolicy::Correct;
    let first = [selecting("a", None)];
    scene.keep(&mut keeper, &first, FirstLook::Apply).await;
    scene.writes();
    for uid in [None, Some("uid-of-another")] {
        let changed = [selecting("b", uid)];
        let look = FirstLook::Apply;
        let all = everything();
        let kept = keeper.keep(&scene.cluster, &changed, &all, drift, look);
        let error = kept.await.expect_err("the field cannot be changed").error;
        assert_eq!(error.immutable_field().as_deref(), Some("spec.selector"));
        assert!(scene.writes().iter().all(|one| !one.starts_with("DELETE")));
    }
    scene.edit(WEB, |live| {
        live["metadata"]["annotations"] = json!({"bellwether.dev/protect": "true"});
    });
    let changed = [selecting("b", Some("uid-1"))];
    let look = FirstLook::Apply;
    let all = everything();
    let kept = keeper.keep(&scene.cluster, &changed, &all, drift, look);
    kept.await.expect_err("it is protected");
    assert_eq!(
        scene.live(WEB).expect("it stays")["metadata"]["uid"],
        "uid-1"
    );
    scene.edit(WEB, |live| live["metadata"]["annotations"] = json!({}));
    let kept = scene.keep(&mut keeper, &changed, FirstLook::Apply).await;
    assert_eq!(kept.recreated[0].1, "spec.selector");
    let live = scene.live(WEB).expect("it was made anew");
    assert_eq!(live["metadata"]["uid"], "uid-2");
    assert_eq!(live["spec"]["selector"]["matchLabels"]["app"], "b");
}

#[tokio::test]
async fn an_object_that_is_made_anew_waits_for_its_own_end() {
    let scene = Scene::new();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let first = [selecting("a", None)];
    scene.keep(&mut keeper, &first, FirstLook::Apply).await;
    scene.api.lock().expect("no test panics here").holds = true;
    let changed = [selecting("b", Some("uid-1"))];
    scene.writes();
    for round in 0..3 {
        let kept = scene.keep(&mut keeper, &changed, FirstLook::Apply).await;
        assert_eq!(reason_of(&keeper, "Deployment"), "Recreating");
        assert!(kept.look_in.is_some());
        let deleted = scene.writes();
        let deleted = deleted.iter().filter(|one| one.starts_with("DELETE"));
        assert_eq!(deleted.count(), usize::from(round == 0), "deleted once");
    }
    // Gone now, and the agent was killed in between: a new one finds nothing and makes it.
    scene
        .api
        .lock()
        .expect("no test panics here")
        .objects
        .clear();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    scene.keep(&mut keeper, &changed, FirstLook::Apply).await;
    assert_eq!(scene.live(WEB).expect("made")["metadata"]["uid"], "uid-2");
}

#[tokio::test(start_paused = true)]
async fn whoever_writes_over_it_again_and_again_is_left_and_named() {
    let scene = Scene::new();
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let all = [wanted()];
    scene.keep(&mut keeper, &all, FirstLook::Apply).await;
    let flip = || scene.edit(WEB, |live| live["spec"]["paused"] = json!(true));
    for _ in 0..MAX_CORRECTIONS {
        flip();
        let kept = scene.keep(&mut keeper, &all, FirstLook::Apply).await;
        assert_eq!((kept.corrected.len(), kept.to_tell.len()), (1, 0));
        assert_eq!(scene.live(WEB).expect("web")["spec"]["paused"], false);
    }
    scene.writes();
    flip();
    let mut told = Vec::new();
    let mut pause = Duration::ZERO;
    for _ in 0..20 {
        let kept = scene.keep(&mut keeper, &all, FirstLook::Apply).await;
        assert_eq!(kept.drifted.len(), 1, "it is shown all the same");
        assert_eq!(kept.fighting.len(), 1);
        pause = kept.look_in.expect("it comes back by itself");
        told.extend(kept.to_tell);
    }
    assert_eq!(scene.writes(), Vec::<String>::new(), "it is left alone");
    assert_eq!(told.len(), 1, "and said once");
    let change = &told[0].1.change;
    assert_eq!(
        (change.field.as_str(), change.manager.as_str()),
        ("spec.paused", "kubectl-edit")
    );

    tokio::time::advance(pause).await;
    let nothing = Dirty::default();
    let drift = DriftPolicy::Correct;
    let kept = keeper.keep(&scene.cluster, &all, &nothing, drift, FirstLook::Apply);
    let kept = kept.await.expect("the server answers");
    assert_eq!(kept.corrected.len(), 1, "it is tried once more");
    flip();
    let kept = scene.keep(&mut keeper, &all, FirstLook::Apply).await;
    assert!(kept.look_in > Some(pause), "and then left for longer");
    assert_eq!(kept.to_tell.len(), 1);
}

/// An agent that starts again and finds everything as it was writes nothing; what is not, it writes.
#[tokio::test]
async fn a_restart_with_nothing_changed_writes_nothing() {
    let scene = Scene::new();
    let config = Wanted::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "1"}}))
    .expect("it names itself");
    let all = [config, wanted()];
    let mut keeper = Keeper::new(SYNC_MANAGER);
    scene.keep(&mut keeper, &all, FirstLook::Apply).await;
    assert_eq!(scene.writes().len(), 2);
    for _ in 0..3 {
        let mut keeper = Keeper::new(SYNC_MANAGER);
        let kept = scene.keep(&mut keeper, &all, FirstLook::Correct).await;
        assert_eq!(kept, Kept::default());
        assert_eq!(scene.writes(), Vec::<String>::new());
        assert_eq!(keeper.written().len(), 2, "their uids are known");
    }
    scene.edit(WEB, |live| live["spec"]["paused"] = json!(true));
    scene
        .keep(&mut Keeper::new(SYNC_MANAGER), &all, FirstLook::Correct)
        .await;
    assert_eq!(scene.writes().len(), 1);
    assert_eq!(scene.live(WEB).expect("web")["spec"]["paused"], false);
}

/// The agent is killed after every single request of a first apply; a new one finishes it, and the one
/// after that has nothing to write.
#[tokio::test]
async fn an_apply_that_is_cut_off_anywhere_is_finished_by_the_next() {
    let objects = || -> Vec<Wanted> {
        let names = ["a", "b", "c"].map(|name| {
            Wanted::new(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}}))
            .expect("it names itself")
        });
        names.into_iter().collect()
    };
    for cut in 0..=3 {
        let scene = Scene::new();
        let part = &objects()[..cut];
        scene
            .keep(&mut Keeper::new(SYNC_MANAGER), part, FirstLook::Apply)
            .await;
        scene.writes();
        let all = objects();
        let mut keeper = Keeper::new(SYNC_MANAGER);
        scene.keep(&mut keeper, &all, FirstLook::Correct).await;
        assert_eq!(scene.writes().len(), 3 - cut, "only what is missing");
        let mut keeper = Keeper::new(SYNC_MANAGER);
        scene.keep(&mut keeper, &all, FirstLook::Correct).await;
        assert_eq!(scene.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn what_is_left_to_others_is_neither_applied_nor_drift() {
    let scene = Scene::new();
    let mut want = wanted();
    want.object["spec"]["replicas"] = json!(2);
    let rule = IgnoreRule {
        target: Target {
            kind: "Deployment".to_owned(),
            ..Target::default()
        },
        json_pointers: vec!["/spec/replicas".to_owned()],
        managers: Vec::new(),
    };
    want.ignored = Ignored::of(&[rule], &want.object);
    let mut keeper = Keeper::new(SYNC_MANAGER);
    let all = [want.clone()];
    scene.keep(&mut keeper, &all, FirstLook::Apply).await;
    let live = scene.live(WEB).expect("web");
    assert_eq!(
        live["spec"]["replicas"], 2,
        "it begins with what is written"
    );
    scene.edit(WEB, |live| live["spec"]["replicas"] = json!(9));
    let kept = scene.keep(&mut keeper, &all, FirstLook::Apply).await;
    assert_eq!(kept.corrected, []);
    scene.edit(WEB, |live| live["spec"]["paused"] = json!(true));
    let kept = scene.keep(&mut keeper, &all, FirstLook::Apply).await;
    assert_eq!(kept.corrected.len(), 1, "the rest of it is put back");
    let live = scene.live(WEB).expect("web");
    assert_eq!(
        (&live["spec"]["replicas"], &live["spec"]["paused"]),
        (&json!(9), &json!(false))
    );
    // Once it is not left to others any more, it is put back too.
    let mut strict = want;
    strict.ignored = Ignored::default();
    scene.keep(&mut keeper, &[strict], FirstLook::Apply).await;
    assert_eq!(scene.live(WEB).expect("web")["spec"]["replicas"], 2);
}

//! What is written first while a run goes back.

use bellwether_agent_core::machine::{Failure, RollbackPart};
use bellwether_api::status::FailureReason;

use super::*;
use crate::sync::lanes::{AT_ONCE, Lane};

const SOURCE: &str = "http://127.0.0.1:9";

/// The bundle with a route for the first rollout, and an object that comes before any in the order.
fn with_route(image: &str) -> Bundle {
    let mut bundle = bundle(image, SOURCE);
    let mut spec = plan(0, SOURCE);
    spec["service"] = json!({"name": name(0), "port": 80});
    spec["traffic"] = json!([{"gatewayApi": {"httpRoutes": [name(0)]}}]);
    bundle.rollouts[0].spec = serde_json::from_value(spec).expect("a plan");
    let metadata = |name: String| json!({"name": name, "namespace": "shop"});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("settings".into())}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(name(0)),
            "spec": {"selector": {"app": name(0)}, "ports": [{"port": 80}]}}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": metadata(name(0)),
            "spec": {"rules": [{"backendRefs": [{"name": name(0), "port": 80}]}]}}),
    ];
    bundle.components[0].objects.extend(objects);
    bundle
}

impl House {
    /// The first of the runs splits requests by a route; `stage` is where it stands.
    pub(super) async fn with_route(stage: Stage) -> Self {
        let mut house = Self::new(SOURCE, LATER).await;
        for (digest, image) in [("new", "v2"), ("old", "v1")] {
            let bundle = std::sync::Arc::new(with_route(image));
            house.unit.bundles.insert(digest.to_owned(), bundle);
        }
        let mut track = house.server.get("rollouttracks", &name(0));
        let mut state = RunState::from_value(&track["status"]["state"]).expect("a state");
        (state.stage, state.weight, state.routed) = (stage, Weight::ZERO, true);
        track["status"]["state"] = state.to_value();
        house.server.put("rollouttracks", track);
        house
    }

    /// What a pass writes of the user's objects, in its order.
    async fn writes(&mut self) -> Vec<String> {
        self.server.take_asked();
        // Whatever else it comes to: what is looked at is the order.
        let _ = self.try_pass().await;
        let asked = self.server.take_asked();
        let of_user = |one: &String| {
            [
                "PATCH configmaps/settings",
                "PATCH services/web-0",
                "PATCH deployments/web-0",
                "PATCH httproutes/web-0",
            ]
            .contains(&one.as_str())
        };
        asked.into_iter().filter(of_user).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_back_writes_its_routes_before_anything_else() {
    let failure = Failure {
        reason: FailureReason::Manual,
        message: "no".to_owned(),
    };
    let mut house = House::with_route(Stage::RollingBack {
        failure,
        part: RollbackPart::Unloading,
    })
    .await;
    let writes = house.writes().await;
    assert_eq!(
        writes.first().map(String::as_str),
        Some("PATCH httproutes/web-0")
    );
    assert!(writes.iter().any(|one| one == "PATCH configmaps/settings"));
    // A run that goes on keeps the order of kinds.
    let mut house = House::with_route(Stage::Pinning).await;
    let writes = house.writes().await;
    assert_eq!(
        writes.first().map(String::as_str),
        Some("PATCH configmaps/settings")
    );
}

/// Passes of others fill their lanes and wait for an API server that tells them to come back later.
#[tokio::test(start_paused = true)]
async fn a_run_that_goes_back_waits_for_no_pass_of_others() {
    let failure = Failure {
        reason: FailureReason::FailedChecks,
        message: "no".to_owned(),
    };
    let stage = Stage::RollingBack {
        failure,
        part: RollbackPart::Unloading,
    };
    for (stage, waits) in [(stage, false), (Stage::Pinning, true)] {
        let mut house = House::with_route(stage).await;
        let shell = std::sync::Arc::clone(&house.unit.shell);
        assert_eq!(house.unit.lane(), Lane::Plain, "it has no run yet");
        house.writes().await;
        let mut others = Vec::new();
        for lane in [Lane::Plain, Lane::Run] {
            for _ in 0..AT_ONCE {
                let entered = shell.lanes.enter(|| lane, std::future::pending).await;
                others.push(entered.expect("lanes stay open"));
            }
        }
        let entered = shell
            .lanes
            .enter(|| house.unit.lane(), std::future::pending);
        let entered = tokio::time::timeout(LATER, entered).await;
        assert_eq!(entered.is_err(), waits, "{:?}", house.unit.lane());
    }
}

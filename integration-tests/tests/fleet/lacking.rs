//! Plans that ask of a route what the gateway behind it cannot do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bellwether_api::{status::FailureReason, view::ClusterPhase};
use bellwether_integration_tests::{
    fixture::cluster_view, manifests::Shop, traffic::tally, wait::until,
};

use crate::{Case, scene::Scene};

/// It is judged by requests that were lost.
pub const UNDER_TRAFFIC: &[Case] = &[(
    "what_a_gateway_lacks_is_refused_by_name_and_no_request_fails",
    "lacking",
    lacking,
)];

/// Traefik answers every request of a rule with a mirror with 500, and sets no cookie by a filter of a
/// backend. Neither is ever written.
fn lacking(scene: &Scene) -> Result<()> {
    let shop = scene.small_shop();
    scene.install(&shop)?;
    let member = scene.member(0)?;
    let generation = || -> Result<i64> {
        let route = scene.object(&member, "HTTPRoute", "web")?;
        let generation = route.context("the route")?["metadata"]["generation"].as_i64();
        generation.context("a generation")
    };
    let written = generation()?;
    let traffic = scene.traffic(&["c1"])?;
    until(Duration::from_secs(30), "requests to be answered", || {
        // Until the first second is over there is no file to read.
        let begun = traffic.so_far().is_ok_and(|seconds| !seconds.is_empty());
        Ok(begun.then_some(()))
    })?;
    let mirrored = Shop {
        strategy: "{canary: {weights: [20], mirror: true}}".into(),
        ..shop.version("v2")
    };
    let sticky = Shop {
        strategy: "{canary: {weights: [20]}}".into(),
        extra_rollout: "  sessionAffinity: {cookieName: release, maxAge: 1h}\n".into(),
        ..shop.version("v4")
    };
    for (revision, asked, named) in [
        (2, &mirrored, "HTTPRouteRequestMirror"),
        (3, &sticky, "filters of backendRefs"),
    ] {
        scene.cli.apply(&asked.documents())?;
        let view = scene.cluster_state(revision, ClusterPhase::Failed)?;
        let track = &cluster_view(&view, "c1")?.tracks[0];
        ensure!(track.failure == Some(FailureReason::Refused), "{track:?}");
        let told = scene
            .cli
            .run(&["events", &format!("rollout/{}-web", scene.name)])?;
        for part in ["traefik.io/gateway-controller", named] {
            ensure!(told.contains(part), "{part}: {told}");
        }
    }
    ensure!(generation()? == written, "the route was written meanwhile");
    let seconds = traffic.stop()?;
    let all = tally(&seconds, None, 0, i64::MAX);
    ensure!(
        all.total > 0 && all.failed == 0 && all.share_percent("v1") >= 100.0,
        "{:?} {:?}",
        all.total,
        all.failures
    );
    scene.assert_restored(&member, &shop)
}

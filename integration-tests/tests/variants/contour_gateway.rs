//! HTTPRoutes of Contour's Gateway: users who stay on their version, mirrored requests, and the way back, under
//! measured traffic through its Envoy on the real cluster.

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bellwether_api::view::RunPhase;
use bellwether_integration_tests::{
    manifests::Shop, request::Visitor, suite::Case, traffic::Traffic,
};
use serde_json::json;

use crate::{
    mirrored,
    providers::{RATE, has_share, none_lost, registered, shop, waits_at},
    scene::Scene,
};

pub const CASES: &[Case<Scene>] = &[
    (
        "provider_contour_gateway_keeps_users_on_their_version_and_loses_no_request",
        USERS,
        users,
    ),
    (
        "provider_contour_gateway_mirrors_goes_back_and_loses_no_request",
        COPIES,
        copies,
    ),
];

/// Applications and their namespaces.
pub const USERS: &str = "users";
pub const COPIES: &str = "copies";

/// Users who keep their cookies, and how often each asks when a weight is new.
const VISITORS: usize = 100;
const OFTEN: usize = 25;
/// How often each asks to see that nothing has changed.
const AGAIN: usize = 3;
/// What tells a browser to keep a cookie.
const KEPT: &str = "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax";
/// How long Envoy may use what it knew while Contour tells it the end.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// The shop behind an HTTPRoute of Contour's Gateway.
fn behind_contour(scene: &Scene) -> Shop {
    let base = shop(scene);
    Shop {
        routes: vec![json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "web", "namespace": scene.name},
            "spec": {
                "parentRefs": [{"name": "contour", "namespace": "gateway"}],
                "hostnames": [base.host()],
                "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
            },
        })],
        analysis: "{interval: 1s}".into(),
        ..base
    }
}

/// Traffic through its Envoy.
fn traffic(scene: &Scene, shop: &Shop) -> Result<Traffic> {
    let file = scene
        .directory
        .join(format!("traffic-contour-{}.jsonl", scene.name));
    Traffic::start_through("contour", &scene.lab, &["c1"], &shop.host(), RATE, &file)
}

fn users(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 20}, {weight: 60}]}}".into(),
        extra_rollout: "  sessionAffinity: {cookieName: release, maxAge: 1h}\n".into(),
        ..behind_contour(scene)
    };
    scene.install(&shop)?;
    let url = scene.lab.cluster("c1")?.contour_url.clone();
    let traffic = traffic(scene, &shop)?;
    let mut crowd = Crowd::at(url, shop.host());
    crowd.ask(AGAIN)?;
    ensure!(
        (crowd.on_new(), crowd.drawn) == (0, 0),
        "nobody is drawn yet"
    );
    scene.cli.apply(&shop.version("v2").documents())?;
    let mut before = vec!["v1".to_owned(); VISITORS];
    // Of 100 who are drawn, as many as their weight by four and a half standard deviations.
    for (weight, band) in [(20, 2..=38), (60, 38..=82)] {
        waits_at(scene, weight)?;
        crowd.ask(OFTEN)?;
        crowd.is_drawn(weight, &band)?;
        ensure!(crowd.drawn == VISITORS, "{} were drawn", crowd.drawn);
        let moved = crowd.versions.iter().zip(&before);
        let moved = moved.filter(|(now, before)| now != before).count();
        ensure!(moved > 0, "nobody was drawn anew at {weight} %");
        println!("{moved} of {VISITORS} users changed their version at {weight} %");
        // Everybody else is drawn at every request, for as long as the weight stays.
        has_share(&traffic, weight)?;
        before.clone_from(&crowd.versions);
        crowd.ask(AGAIN)?;
        ensure!(crowd.versions == before, "users moved at {weight} %");
        ensure!(crowd.drawn == 0, "{} were drawn once more", crowd.drawn);
        scene.cli.run(&["rollout", "approve", &scene.name])?;
    }
    scene.ended(2, RunPhase::Succeeded)?;
    std::thread::sleep(TOLD_WITHIN);
    crowd.ask(AGAIN)?;
    ensure!((crowd.on_new(), crowd.drawn) == (VISITORS, 0), "v1 is gone");
    none_lost(traffic)?;
    scene.assert_restored(&member, &shop.version("v2"))
}

/// Users who keep their cookies.
struct Crowd {
    url: String,
    host: String,
    visitors: Vec<Visitor>,
    /// The version that answered each, in every request of the last round.
    versions: Vec<String>,
    /// How many of them its first answer gave a cookie.
    drawn: usize,
}

impl Crowd {
    fn at(url: String, host: String) -> Self {
        Self {
            url,
            host,
            visitors: vec![Visitor::default(); VISITORS],
            versions: Vec::new(),
            drawn: 0,
        }
    }

    /// Lets each user ask so many times, and fails where one of them is answered by both versions.
    fn ask(&mut self, times: usize) -> Result<()> {
        self.versions.clear();
        self.drawn = 0;
        for visitor in &mut self.visitors {
            let first = visitor.ask(&self.url, &self.host)?;
            if let [cookie] = first.set_cookies.as_slice() {
                ensure!(cookie.ends_with(KEPT), "{cookie}");
                self.drawn += 1;
            }
            for _ in 1..times {
                let next = visitor.ask(&self.url, &self.host)?;
                ensure!(
                    next.version == first.version,
                    "a user of {} was answered by {}, with {visitor:?}",
                    first.version,
                    next.version
                );
                ensure!(
                    next.set_cookies.is_empty(),
                    "who is known is told nothing: {next:?}"
                );
            }
            self.versions.push(first.version);
        }
        Ok(())
    }

    /// How many users v2 answered.
    fn on_new(&self) -> usize {
        let new = self.versions.iter().filter(|version| *version == "v2");
        new.count()
    }

    /// Fails unless the users of v2 are in `band` and each user has one cookie, which says its version.
    fn is_drawn(&self, weight: u8, band: &RangeInclusive<usize>) -> Result<()> {
        let new = self.on_new();
        println!("{new} of {VISITORS} users are on v2 at {weight} %");
        ensure!(
            band.contains(&new),
            "{new} of {VISITORS} users are on v2 at {weight} %"
        );
        for (visitor, version) in self.visitors.iter().zip(&self.versions) {
            let says = if version == "v2" {
                "-canary"
            } else {
                "-stable"
            };
            let cookie = visitor.cookies.get("release").context("the cookie")?;
            ensure!(
                visitor.cookies.len() == 1 && cookie.ends_with(says),
                "{visitor:?} is on {version}"
            );
        }
        Ok(())
    }
}

fn copies(scene: &Scene) -> Result<()> {
    let member = registered(scene)?;
    let shop = Shop {
        strategy: "{canary: {steps: [{weight: 0, mirror: 100}, {weight: 50}]}}".into(),
        ..behind_contour(scene)
    };
    scene.install(&shop)?;
    let traffic = traffic(scene, &shop)?;
    scene.cli.apply(&shop.version("v2").documents())?;
    waits_at(scene, 0)?;
    mirrored::gets_copies(scene, &member, "v1", &[&traffic])?;
    scene.cli.run(&["rollout", "approve", &scene.name])?;
    waits_at(scene, 50)?;
    has_share(&traffic, 50)?;
    scene
        .cli
        .run(&["rollout", "abort", &scene.name, "--reason", "seen enough"])?;
    scene.ended(2, RunPhase::Aborted)?;
    std::thread::sleep(TOLD_WITHIN);
    none_lost(traffic)?;
    scene.assert_restored(&member, &shop)
}

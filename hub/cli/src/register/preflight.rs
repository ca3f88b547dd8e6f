//! What must hold before anything is changed in a cluster.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::future::try_join_all;
use k8s_openapi::{
    api::authorization::v1::{
        ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    },
    apimachinery::pkg::version::Info,
};
use kube::{Api, Client, api::PostParams, client::Body};

use super::member::registered_as;

/// The oldest minor version of Kubernetes 1 that agents work with.
const OLDEST_MINOR: u32 = 28;
/// Certificates are not valid beyond this difference of clocks.
const MAX_SKEW_S: f64 = 300.0;

/// What a cluster looks like before the agent comes.
pub struct Seen {
    /// How long the API server took to answer.
    pub answered_in: Duration,
    /// Its version, such as `v1.33.2`.
    pub version: String,
    /// How far its clock is from this machine's.
    pub clock_skew_s: f64,
    /// Whether this cluster's agent is there already.
    pub agent_before: bool,
}

/// Checks version, clock, rights and other agents.
///
/// # Errors
/// The first thing that stands in the way, with the way out.
pub async fn check(client: &Client, name: &str, webhook: bool) -> anyhow::Result<Seen> {
    let start = Instant::now();
    let (version, clock_skew_s) = version_and_clock(client).await?;
    let answered_in = start.elapsed();
    refuse_old(&version)?;
    if clock_skew_s.abs() > MAX_SKEW_S {
        bail!(
            "the clocks of the cluster and of this machine differ by {:.0} s; certificates would \
             not be valid: set the clock that is wrong",
            clock_skew_s.abs()
        );
    }
    require_rights(client, webhook).await?;
    super::remove::namespace_gone(client).await?;
    let agent_before = match registered_as(client).await? {
        Some(other) if other != name => bail!(
            "that cluster is registered already as {other:?}; take it out first: bellwether \
             unregister cluster {other}"
        ),
        other => other.is_some(),
    };
    Ok(Seen {
        answered_in,
        version: version.git_version,
        clock_skew_s,
        agent_before,
    })
}

async fn version_and_clock(client: &Client) -> anyhow::Result<(Info, f64)> {
    let request = http::Request::get("/version").body(Body::empty())?;
    let response = client.send(request).await.context(
        "the cluster's API server does not answer; check the context, the network and whether you \
         are logged in",
    )?;
    let date = response
        .headers()
        .get(http::header::DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
        .map(|date| date.timestamp());
    // The header has whole seconds; half of one is the best guess.
    let skew = date.map_or(0.0, |date| {
        (jiff::Timestamp::now().duration_since(date).as_secs_f64() - 0.5).max(-1e9)
    });
    let skew = if skew.abs() <= 1.0 { 0.0 } else { skew };
    let status = response.status();
    if !status.is_success() {
        bail!("the cluster's API server answered {status} to /version; are you logged in?");
    }
    let bytes = http_body_util::BodyExt::collect(response.into_body())
        .await
        .context("failed to read the cluster's version")?
        .to_bytes();
    Ok((
        serde_json::from_slice(&bytes).context("failed to read the cluster's version")?,
        skew,
    ))
}

fn refuse_old(version: &Info) -> anyhow::Result<()> {
    let digits: String = version
        .minor
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let minor: u32 = digits.parse().unwrap_or(0);
    if version.major == "1" && minor < OLDEST_MINOR {
        bail!(
            "Kubernetes {} is too old; agents need 1.{OLDEST_MINOR} or newer",
            version.git_version
        );
    }
    Ok(())
}

async fn require_rights(client: &Client, webhook: bool) -> anyhow::Result<()> {
    let mut wanted = vec![
        ("", "namespaces", "create"),
        ("", "serviceaccounts", "create"),
        ("", "secrets", "create"),
        ("apps", "deployments", "create"),
        (
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "create",
        ),
        ("rbac.authorization.k8s.io", "clusterroles", "create"),
        ("rbac.authorization.k8s.io", "clusterrolebindings", "create"),
        ("rbac.authorization.k8s.io", "roles", "create"),
        ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ];
    if webhook {
        wanted.extend([
            ("", "services", "create"),
            (
                "admissionregistration.k8s.io",
                "mutatingwebhookconfigurations",
                "create",
            ),
        ]);
    }
    let missing: Vec<String> = try_join_all(wanted.iter().map(|right| review(client, *right)))
        .await
        .context("failed to ask the cluster for your rights")?
        .into_iter()
        .flatten()
        .collect();
    if !missing.is_empty() {
        bail!(
            "your rights in the cluster do not reach: {}{}",
            missing.join(", "),
            without_webhook(&missing)
        );
    }
    Ok(())
}

/// What may be left out, if that is what is missing.
fn without_webhook(missing: &[String]) -> &'static str {
    let is_its = |right: &String| right.contains("webhook") || right == "create services";
    if missing.iter().all(is_its) {
        "; only the admission webhook needs that: leave it out by --admission-webhook off"
    } else {
        ""
    }
}

/// Returns the right's name if it is missing.
async fn review(
    client: &Client,
    (group, resource, verb): (&str, &str, &str),
) -> Result<Option<String>, kube::Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    Ok((!allowed).then(|| format!("{verb} {resource}")))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::version::Info;

    use super::{refuse_old, without_webhook};

    #[test]
    fn what_only_the_webhook_needs_may_be_left_out() {
        let services = "create services".to_owned();
        let webhooks = "create mutatingwebhookconfigurations".to_owned();
        let hint = without_webhook(&[services.clone(), webhooks]);
        assert!(hint.contains("--admission-webhook off"), "{hint}");
        assert_eq!(without_webhook(&[services, "create roles".to_owned()]), "");
    }

    #[test]
    fn old_clusters_are_refused() {
        let info = |minor: &str| Info {
            major: "1".into(),
            minor: minor.into(),
            git_version: format!("v1.{minor}.0"),
            ..Info::default()
        };
        assert!(refuse_old(&info("33+")).is_ok());
        assert!(refuse_old(&info("22")).is_err());
    }
}

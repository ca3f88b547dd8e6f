//! Reads what policy engines found in the cluster, where there are some and the agent may.

use std::time::Duration;

use bellwether_agent_core::compliance::ComplianceSum;
use bellwether_api::compliance::Compliance;
use bellwether_proto::wire;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{error::chain, facts::Facts};

/// How often reports are counted.
const EVERY: Duration = Duration::from_secs(300);
/// Objects that one request lists; a report may hold many results.
const PAGE: u32 = 100;
/// Pages of one kind that are read.
const MAX_PAGES: usize = 200;
/// Kinds of constraints that are read.
const MAX_CONSTRAINT_KINDS: usize = 100;
/// Group and version of reports.
const REPORTS: &str = "wgpolicyk8s.io/v1alpha2";
/// Group and version of constraints.
const CONSTRAINTS: &str = "constraints.gatekeeper.sh/v1beta1";

/// Counts again and again, and says what changed; nothing is said of a cluster that never had a policy
/// engine.
pub(super) async fn keep(
    client: kube::Client,
    facts: watch::Receiver<Facts>,
    told: watch::Sender<Option<Compliance>>,
    shutdown: CancellationToken,
) {
    loop {
        let kinds = facts.borrow().api_kinds.clone();
        let found = read(&client, &kinds).await;
        told.send_if_modified(|now| {
            // One that was taken out has nothing to say any more.
            let found = found.or_else(|| now.as_ref().map(|_| Compliance::default()));
            let differs = *now != found;
            *now = found;
            differs
        });
        let pause = tokio::time::sleep(EVERY);
        if shutdown.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// What is read of one kind.
struct Source {
    resource: ApiResource,
    add: fn(&mut ComplianceSum, &serde_json::Value),
}

/// The kinds that are read, of those that the cluster serves.
fn sources(kinds: &[String]) -> Vec<Source> {
    let source = |version: &str, kind: &str, plural: String| {
        let (group, version) = version.split_once('/').unwrap_or_default();
        let kind = GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&kind, &plural)
    };
    let served = |version: &str, kind: &str| {
        kinds.iter().any(|one| {
            one.strip_prefix(version)
                .and_then(|one| one.strip_prefix('/'))
                == Some(kind)
        })
    };
    let reports = ["PolicyReport", "ClusterPolicyReport"]
        .into_iter()
        .filter(|kind| served(REPORTS, kind))
        .map(|kind| Source {
            resource: source(REPORTS, kind, format!("{}s", kind.to_lowercase())),
            add: ComplianceSum::add_report,
        });
    let constraints = kinds
        .iter()
        .filter_map(|one| one.strip_prefix(CONSTRAINTS)?.strip_prefix('/'))
        .take(MAX_CONSTRAINT_KINDS)
        .map(|kind| Source {
            resource: source(CONSTRAINTS, kind, kind.to_lowercase()),
            add: ComplianceSum::add_constraint,
        });
    reports.chain(constraints).collect()
}

/// Counts once; absent = the cluster serves none of the kinds.
async fn read(client: &kube::Client, kinds: &[String]) -> Option<Compliance> {
    let sources = sources(kinds);
    if sources.is_empty() {
        return None;
    }
    let mut sum = ComplianceSum::default();
    let mut problems: Vec<String> = Vec::new();
    for source in &sources {
        if let Some(problem) = add_all(client, source, &mut sum).await
            && !problems.contains(&problem)
        {
            problems.push(problem);
        }
    }
    problems.truncate(3);
    Some(sum.told(&problems.join("; ")))
}

/// Adds every object of a kind; gives why that was not all.
async fn add_all(
    client: &kube::Client,
    source: &Source,
    sum: &mut ComplianceSum,
) -> Option<String> {
    let resource = &source.resource;
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let mut page = ListParams::default().limit(PAGE);
    for _ in 0..MAX_PAGES {
        let listed = match api.list(&page).await {
            Ok(listed) => listed,
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Some(format!(
                    "the agent may not list {}: register the cluster again with --policy-reports",
                    resource.group
                ));
            }
            // The kind went since it was found.
            Err(kube::Error::Api(status)) if status.code == 404 => return None,
            Err(error) => {
                tracing::debug!(error = %chain(&error), kind = resource.kind, "not readable");
                return Some(format!("{} could not be listed", resource.plural));
            }
        };
        for mut object in listed.items {
            // Of a list the items do not say their kind.
            object.types.get_or_insert_with(|| kube::api::TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            if let Ok(object) = serde_json::to_value(&object) {
                (source.add)(sum, &object);
            }
        }
        match listed.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return None,
        }
    }
    let most = MAX_PAGES * usize::try_from(PAGE).unwrap_or_default();
    Some(format!("of {} only {most} are counted", resource.plural))
}

/// What was found, as it travels.
pub(super) fn report(found: &Compliance) -> wire::ComplianceReport {
    let policies = found.policies.iter().map(|one| wire::PolicyCounts {
        policy: one.policy.clone(),
        source: format!("{:?}", one.source),
        pass: one.counts.pass,
        fail: one.counts.fail,
        warn: one.counts.warn,
        error: one.counts.error,
        skip: one.counts.skip,
    });
    wire::ComplianceReport {
        policies: policies.collect(),
        more: found.more,
        problem: found.problem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn kinds() -> Vec<String> {
        [
            "apps/v1/Deployment",
            "constraints.gatekeeper.sh/v1beta1/K8sRequiredLabels",
            "wgpolicyk8s.io/v1alpha2/ClusterPolicyReport",
            "wgpolicyk8s.io/v1alpha2/PolicyReport",
        ]
        .map(str::to_owned)
        .into()
    }

    fn list(items: Value, next: &str) -> (u16, Value) {
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"continue": next},
            "items": items});
        (200, list)
    }

    fn report_of(result: &str) -> Value {
        json!({"metadata": {"name": result}, "results": [{"policy": "labels", "result": result}]})
    }

    /// Two pages of reports, a constraint, and reports of the cluster that the agent may not see.
    fn server() -> kube::Client {
        let answer = |request: Request<Body>| {
            let query = request.uri().query().unwrap_or_default();
            let (status, body) = match request.uri().path() {
                "/apis/wgpolicyk8s.io/v1alpha2/policyreports" if query.contains("continue=") => {
                    list(json!([report_of("fail")]), "")
                }
                "/apis/wgpolicyk8s.io/v1alpha2/policyreports" => {
                    list(json!([report_of("pass"), report_of("fail")]), "more")
                }
                "/apis/constraints.gatekeeper.sh/v1beta1/k8srequiredlabels" => list(
                    json!([{"metadata": {"name": "owner"}, "status": {"totalViolations": 4}}]),
                    "",
                ),
                _ => (
                    403,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "reason": "Forbidden", "message": "no", "code": 403}),
                ),
            };
            let body = Body::from(body.to_string().into_bytes());
            let response = Response::builder().status(status).body(body);
            futures::future::ready(Ok::<_, std::convert::Infallible>(
                response.expect("an answer"),
            ))
        };
        kube::Client::new(tower::service_fn(answer), "default")
    }

    #[tokio::test]
    async fn every_page_of_every_kind_counts_and_what_may_not_be_read_is_said() {
        let found = read(&server(), &kinds()).await.expect("there are engines");
        let shown: Vec<(&str, u64, u64)> = found
            .policies
            .iter()
            .map(|one| (one.policy.as_str(), one.counts.pass, one.counts.fail))
            .collect();
        assert_eq!(shown, [("K8sRequiredLabels/owner", 0, 4), ("labels", 1, 2)]);
        assert!(
            found.problem.contains("--policy-reports"),
            "{}",
            found.problem
        );
        let told = report(&found);
        assert_eq!(told.policies[0].source, "Gatekeeper");
        assert_eq!(told.policies[1].fail, 2);
    }

    #[tokio::test]
    async fn of_a_cluster_without_engines_nothing_is_said_and_nothing_is_asked() {
        assert_eq!(
            read(&server(), &["apps/v1/Deployment".to_owned()]).await,
            None
        );
    }
}

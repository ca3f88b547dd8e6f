//! What the agent may not do that registering its cluster today would let it.

use std::collections::BTreeSet;

use bellwether_agent_core::rights::{Allowed, missing_at_home, missing_at_work};
use k8s_openapi::api::authorization::v1::{
    SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use kube::{Api, api::PostParams};

use super::error::chain;

/// Namespaces that are looked at.
const MAX_NAMESPACES: usize = 20;
/// Sentences that are told; the hub takes no more.
const MAX_SENTENCES: usize = 32;

/// Where the agent lives and works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// Its own namespace.
    pub(super) home: String,
    /// Those in which it holds objects.
    pub(super) work: BTreeSet<String>,
}

/// Reads what is missing, one sentence for each namespace; absent = the cluster does not say.
pub(super) async fn read(client: &kube::Client, places: &Places) -> Option<Vec<String>> {
    let mut sentences = Vec::new();
    let missing = missing_at_home(&rules(client, &places.home).await?);
    sentences.extend(sentence(
        &format!("namespace {} and the cluster", places.home),
        &missing,
    ));
    for namespace in places.work.iter().take(MAX_NAMESPACES) {
        let missing = missing_at_work(&rules(client, namespace).await?);
        sentences.extend(sentence(&format!("namespace {namespace}"), &missing));
    }
    sentences.truncate(MAX_SENTENCES);
    Some(sentences)
}

fn sentence(place: &str, missing: &[String]) -> Option<String> {
    /// Bytes of a sentence; the hub takes no longer one.
    const MAX_BYTES: usize = 250;
    if missing.is_empty() {
        return None;
    }
    let mut text = format!("may not in {place}: {}", missing.join("; "));
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        text.push('…');
    }
    Some(text)
}

/// The rules of a namespace; absent = they are not to be had, or not all of them.
async fn rules(client: &kube::Client, namespace: &str) -> Option<Vec<Allowed>> {
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let asked = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let answer = match reviews.create(&PostParams::default(), &asked).await {
        Ok(answer) => answer.status?,
        Err(error) => {
            tracing::debug!(error = %chain(&error), "the agent's own rights are not readable");
            return None;
        }
    };
    // Of some authorizers only part is known: what is not listed may be allowed.
    (!answer.incomplete).then(|| allowed(answer))
}

fn allowed(answer: SubjectRulesReviewStatus) -> Vec<Allowed> {
    let of = |rule: k8s_openapi::api::authorization::v1::ResourceRule| Allowed {
        groups: rule.api_groups.unwrap_or_default(),
        resources: rule.resources.unwrap_or_default(),
        verbs: rule.verbs,
        names: rule.resource_names.unwrap_or_default(),
    };
    answer.resource_rules.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
        json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
    }

    /// An API server whose authorizer lets the agent do everything in `home` and `whole`, little in any
    /// other namespace, and says in `unclear` that it does not know all.
    fn server() -> kube::Client {
        let answer = |request: Request<Body>| async move {
            let body = request
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes();
            let mut review: Value = serde_json::from_slice(&body).expect("a review");
            let namespace = review["spec"]["namespace"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let rules = match namespace.as_str() {
                "home" | "whole" => vec![rule("*", "*", &["*"])],
                _ => vec![rule("", "pods", &["get", "list", "watch"])],
            };
            review["status"] = json!({"resourceRules": rules, "nonResourceRules": [],
                "incomplete": namespace == "unclear"});
            let body = Body::from(review.to_string().into_bytes());
            Ok::<_, std::convert::Infallible>(Response::new(body))
        };
        kube::Client::new(tower::service_fn(answer), "default")
    }

    fn places(work: &[&str]) -> Places {
        Places {
            home: "home".to_owned(),
            work: work.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    #[tokio::test]
    async fn each_namespace_that_lacks_something_has_a_sentence() {
        let missing = read(&server(), &places(&["whole", "old"])).await;
        let missing = missing.expect("the cluster says");
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(
            missing[0].starts_with("may not in namespace old: delete pods; "),
            "{missing:?}"
        );
        assert!(missing[0].len() <= 256, "the hub takes no longer one");
        assert_eq!(read(&server(), &places(&["whole"])).await, Some(Vec::new()));
    }

    #[tokio::test]
    async fn what_is_not_known_is_not_said_to_be_missing() {
        assert_eq!(read(&server(), &places(&["unclear"])).await, None);
    }
}

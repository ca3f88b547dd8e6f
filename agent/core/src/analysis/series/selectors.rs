//! By which labels each set tells the two versions apart.

use bellwether_api::query_template::{promql_literal, regex_literal};

use super::{QueryTarget, SeriesSet, Side};
use crate::names::{canary_name, cut};

/// A part of a name that the data plane adds.
const ANY: &str = "[0-9a-zA-Z-]+";
/// The two parts that a ReplicaSet adds to its pods' names.
const POD: &str = "-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)";
/// The part that a DaemonSet adds to its pods' names.
const POD_OF_NODE: &str = "-[0-9a-zA-Z]+";

/// Returns the matchers of a target; `None` = its Service's port is not known, and is needed.
pub(super) fn matchers(target: &QueryTarget) -> Option<String> {
    Some(match target.series {
        SeriesSet::TraefikGateway => equal("service", &traefik_gateway(target)?),
        SeriesSet::Traefik => traefik(target),
        SeriesSet::Nginx => nginx(target),
        SeriesSet::Istio => format!(
            "reporter=\"destination\",{},{}",
            equal("destination_workload_namespace", &target.namespace),
            equal("destination_workload", &target.deployment())
        ),
        SeriesSet::Apisix => apisix(target),
        SeriesSet::Contour => cluster(&format!(
            "{}_{}_{ANY}",
            regex_literal(&target.namespace),
            regex_literal(&target.backend())
        )),
        SeriesSet::Linkerd => format!(
            "{},{},direction=\"inbound\"",
            equal("namespace", &target.namespace),
            equal(
                if target.per_node {
                    "daemonset"
                } else {
                    "deployment"
                },
                &target.deployment()
            )
        ),
        SeriesSet::Kuma => like(
            "service",
            &format!(
                "{}_{}_svc_{ANY}",
                regex_literal(&target.backend()),
                regex_literal(&target.namespace)
            ),
        ),
        SeriesSet::Gloo => gloo(target),
        SeriesSet::Skipper => skipper(target),
        SeriesSet::AppMesh | SeriesSet::Application => format!(
            "{},{}",
            equal("kubernetes_namespace", &target.namespace),
            like(
                "kubernetes_pod_name",
                &format!(
                    "{}{}",
                    regex_literal(&target.deployment()),
                    if target.per_node { POD_OF_NODE } else { POD }
                )
            )
        ),
        SeriesSet::Knative => cluster(&format!(
            "{}/{}",
            regex_literal(&target.namespace),
            regex_literal(&target.deployment())
        )),
    })
}

fn equal(label: &str, value: &str) -> String {
    format!("{label}=\"{}\"", promql_literal(value))
}

fn like(label: &str, pattern: &str) -> String {
    format!("{label}=~\"{}\"", promql_literal(pattern))
}

fn unlike(label: &str, pattern: &str) -> String {
    format!("{label}!~\"{}\"", promql_literal(pattern))
}

fn cluster(pattern: &str) -> String {
    like("envoy_cluster_name", pattern)
}

/// Traefik labels a backend of a Gateway API route `<namespace>-<service>-http-<port>` and joins
/// the runs of letters and digits with `-`.
fn traefik_gateway(target: &QueryTarget) -> Option<String> {
    let name = format!(
        "{}-{}-http-{}",
        target.namespace,
        target.backend(),
        target.port?
    );
    let parts: Vec<_> = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect();
    Some(format!("{}@kubernetesgateway", parts.join("-")))
}

fn traefik(target: &QueryTarget) -> String {
    let of = |service: &str| {
        format!(
            "{}-{}-{ANY}@kubernetescrd",
            regex_literal(&target.namespace),
            regex_literal(service)
        )
    };
    let own = like("service", &of(&target.backend()));
    match target.side {
        Side::Canary => own,
        // The canary's name begins with the apex's, and the rest may hold any `-`.
        Side::Stable => format!(
            "{own},{}",
            unlike("service", &of(&canary_name(&target.service)))
        ),
    }
}

/// Requests that the canary Ingress took carry its backend in `canary`, under the Ingress that they
/// came in by.
fn nginx(target: &QueryTarget) -> String {
    let canary = match target.side {
        Side::Canary => "canary!=\"\"",
        Side::Stable => "canary=\"\"",
    };
    format!(
        "{},{},{canary}",
        equal("namespace", &target.namespace),
        equal("ingress", &target.route)
    )
}

/// APISIX counts by rule, and by the node that answered: a pod, or the Service where rules resolve no
/// finer. Where nobody knows the canary's, only the rules that a run makes for matches tell the
/// versions apart.
fn apisix(target: &QueryTarget) -> String {
    let rules = format!(
        "{}_{}_",
        regex_literal(&target.namespace),
        regex_literal(&target.route)
    );
    if !target.canary_addresses.is_empty() {
        let nodes: Vec<String> = (target.canary_addresses.iter())
            .map(|address| regex_literal(address))
            .collect();
        let nodes = nodes.join("|");
        let of_canary = match target.side {
            Side::Canary => like("node", &nodes),
            Side::Stable => unlike("node", &nodes),
        };
        return format!("{},{of_canary}", like("route", &format!("{rules}.+")));
    }
    let canary = format!("{rules}.*-canary-[0-9]+");
    match target.side {
        Side::Canary => like("route", &canary),
        Side::Stable => format!(
            "{},{}",
            like("route", &format!("{rules}.+")),
            unlike("route", &canary)
        ),
    }
}

/// Envoy's clusters are counted as `<Upstream>_<namespace>`, and by newer versions as
/// `kube-…_<namespace>_<Service>_<port>`. An Upstream is the user's, or the run's like of it, or the one
/// that Gloo discovers for a Service; a Service itself is one whose name begins with `kube-svc:`, of which
/// Envoy makes `kube-svc_`.
fn gloo(target: &QueryTarget) -> String {
    let (namespace, service) = (
        regex_literal(&target.namespace),
        regex_literal(&target.backend()),
    );
    let discovered = format!(
        "(kube-svc[:_])?{namespace}-{service}-[0-9]+_{ANY}|kube-.+_{namespace}_{service}_[0-9]+"
    );
    let upstream = match target.side {
        Side::Canary => cut(&format!("{}-{}", target.backend(), target.copied)),
        Side::Stable => target.copied.clone(),
    };
    cluster(&if target.copied.is_empty() {
        discovered
    } else {
        format!("{discovered}|{}_{ANY}", regex_literal(&upstream))
    })
}

/// Skipper writes everything but letters and digits as `_` in the ids of routes.
fn skipper(target: &QueryTarget) -> String {
    let id = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let ingress = match target.side {
        Side::Canary => format!("{}(_canary)?", id(&target.route)),
        Side::Stable => id(&target.route),
    };
    like(
        "route",
        &format!(
            "kube(ew)?_{}__{ingress}__.*__{}(_[0-9]+)?",
            id(&target.namespace),
            id(&target.backend())
        ),
    )
}

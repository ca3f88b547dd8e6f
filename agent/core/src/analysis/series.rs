//! The series by which each traffic provider's requests are measured.

use bellwether_api::{
    fleet::GatewaySeries,
    query_template::{promql_literal, regex_literal},
    traffic::Traffic,
};

use crate::names::canary_name;

/// Whose series a run's requests are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesSet {
    /// Traefik as a Gateway API implementation.
    TraefikGateway,
    /// Traefik with its own kinds.
    Traefik,
    /// The NGINX ingress controller.
    Nginx,
    /// Istio's sidecars, as the receiving pod counts.
    Istio,
    /// APISIX.
    Apisix,
    /// Contour's Envoy, for HTTPProxy and for Gateway API.
    Contour,
    /// Linkerd's sidecars, as the receiving pod counts.
    Linkerd,
    /// Kuma's sidecars.
    Kuma,
    /// Gloo's Envoy.
    Gloo,
    /// Skipper.
    Skipper,
    /// App Mesh's Envoys.
    AppMesh,
    /// Knative's Envoy.
    Knative,
    /// What the application's own pods count: for gateways that do not tell Services apart.
    Application,
}

/// Which of the two versions is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The new version.
    Canary,
    /// The old version.
    Stable,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryTarget {
    /// Whose series count its requests.
    pub series: SeriesSet,
    /// The workload's namespace.
    pub namespace: String,
    /// The user's own Deployment.
    pub workload: String,
    /// The apex Service; empty = there is none.
    pub service: String,
    /// The Service's port by number; absent = it cannot be told.
    pub port: Option<u16>,
    /// The route that splits traffic; empty = there is none.
    pub route: String,
    /// Which version.
    pub side: Side,
    /// Whether pods of both versions are the workload's own: only its Services tell them apart.
    pub in_place: bool,
}

impl QueryTarget {
    /// Returns the Deployment of the measured side.
    #[must_use]
    pub fn deployment(&self) -> String {
        if self.in_place {
            return self.workload.clone();
        }
        self.named(&self.workload)
    }

    /// Returns the Service of the measured side; empty = there is none.
    #[must_use]
    pub fn backend(&self) -> String {
        if self.service.is_empty() {
            String::new()
        } else {
            self.named(&self.service)
        }
    }

    fn named(&self, name: &str) -> String {
        match self.side {
            Side::Canary => canary_name(name),
            Side::Stable => name.to_owned(),
        }
    }
}

/// The series of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    /// Their names and labels.
    pub frame: Frame,
    /// The matchers of the side.
    pub matchers: String,
}

/// What does not depend on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// The counter of requests.
    pub requests: &'static str,
    /// The histogram of durations, without `_bucket`, `_sum` and `_count`.
    pub duration: &'static str,
    /// More matchers that the histogram needs; empty = none.
    pub duration_matchers: &'static str,
    /// What turns the histogram's unit into milliseconds.
    pub to_milliseconds: u32,
    /// The matcher of requests that did not fail.
    pub succeeded: &'static str,
    /// The label of the status code.
    pub code: &'static str,
}

impl SeriesSet {
    /// Every set.
    pub const ALL: [Self; 13] = [
        Self::TraefikGateway,
        Self::Traefik,
        Self::Nginx,
        Self::Istio,
        Self::Apisix,
        Self::Contour,
        Self::Linkerd,
        Self::Kuma,
        Self::Gloo,
        Self::Skipper,
        Self::AppMesh,
        Self::Knative,
        Self::Application,
    ];

    /// Returns the set of a provider, as its key stands under `traffic`; `None` = there is no such
    /// provider. An ALB and a plain Service count nothing per version, but the pods may.
    #[must_use]
    pub fn of_provider(key: &str, gateway: GatewaySeries) -> Option<Self> {
        Some(match key {
            "gatewayApi" => match gateway {
                GatewaySeries::Traefik => Self::TraefikGateway,
                GatewaySeries::Contour => Self::Contour,
                GatewaySeries::Application => Self::Application,
            },
            "traefik" => Self::Traefik,
            "nginx" => Self::Nginx,
            "istio" => Self::Istio,
            "apisix" => Self::Apisix,
            "contour" => Self::Contour,
            "linkerd" => Self::Linkerd,
            "kuma" => Self::Kuma,
            "gloo" => Self::Gloo,
            "skipper" => Self::Skipper,
            "appMesh" => Self::AppMesh,
            "knative" => Self::Knative,
            "alb" | "none" => Self::Application,
            _ => return None,
        })
    }

    /// Returns the set and the route's name of the first provider that has one; without a provider
    /// the pods themselves are asked.
    #[must_use]
    pub fn of_traffic(traffic: &[Traffic], gateway: GatewaySeries) -> (Self, String) {
        traffic
            .iter()
            .find_map(|traffic| {
                let fields = serde_json::to_value(traffic).ok()?;
                fields.as_object()?.iter().find_map(|(key, value)| {
                    Some((Self::of_provider(key, gateway)?, first_name(value)))
                })
            })
            .unwrap_or((Self::Application, String::new()))
    }

    /// Whether the set tells versions apart by their Services, so that there must be one.
    const fn needs_service(self) -> bool {
        matches!(
            self,
            Self::TraefikGateway
                | Self::Traefik
                | Self::Contour
                | Self::Kuma
                | Self::Gloo
                | Self::Skipper
        )
    }
}

/// The first text in a provider's fields names its route.
fn first_name(fields: &serde_json::Value) -> String {
    match fields {
        serde_json::Value::String(name) => Some(name.clone()),
        serde_json::Value::Array(items) => {
            items.iter().map(first_name).find(|name| !name.is_empty())
        }
        serde_json::Value::Object(fields) => fields
            .values()
            .map(first_name)
            .find(|name| !name.is_empty()),
        _ => None,
    }
    .unwrap_or_default()
}

/// A part of a name that the data plane adds.
const ANY: &str = "[0-9a-zA-Z-]+";
/// The two parts that a ReplicaSet adds to its pods' names.
const POD: &str = "-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)";

/// Returns the series of a target; `None` = there is no Service to tell the versions apart by, or
/// its port is not known.
pub(super) fn series_of(target: &QueryTarget) -> Option<Series> {
    let set = target.series;
    if set.needs_service() && target.service.is_empty() {
        return None;
    }
    let by_workload = matches!(
        set,
        SeriesSet::Istio
            | SeriesSet::Linkerd
            | SeriesSet::AppMesh
            | SeriesSet::Application
            | SeriesSet::Knative
    );
    if by_workload && target.in_place && target.side == Side::Canary {
        return None;
    }
    let matchers = match set {
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
            equal("deployment", &target.deployment())
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
                &format!("{}{POD}", regex_literal(&target.deployment()))
            )
        ),
        SeriesSet::Knative => cluster(&format!(
            "{}/{}",
            regex_literal(&target.namespace),
            regex_literal(&target.deployment())
        )),
    };
    Some(Series {
        frame: frame(set),
        matchers,
    })
}

const fn frame(set: SeriesSet) -> Frame {
    const ENVOY: Frame = Frame {
        requests: "envoy_cluster_upstream_rq",
        duration: "envoy_cluster_upstream_rq_time",
        duration_matchers: "",
        to_milliseconds: 1,
        succeeded: "envoy_response_code!~\"5..\"",
        code: "envoy_response_code",
    };
    const TRAEFIK: Frame = Frame {
        requests: "traefik_service_requests_total",
        duration: "traefik_service_request_duration_seconds",
        to_milliseconds: 1_000,
        succeeded: "code!~\"5..\"",
        code: "code",
        ..ENVOY
    };
    match set {
        SeriesSet::TraefikGateway | SeriesSet::Traefik => TRAEFIK,
        SeriesSet::Nginx => Frame {
            requests: "nginx_ingress_controller_requests",
            duration: "nginx_ingress_controller_response_duration_seconds",
            to_milliseconds: 1_000,
            succeeded: "status!~\"5..\"",
            code: "status",
            ..ENVOY
        },
        SeriesSet::Istio => Frame {
            requests: "istio_requests_total",
            duration: "istio_request_duration_milliseconds",
            succeeded: "response_code!~\"5..\"",
            code: "response_code",
            ..ENVOY
        },
        SeriesSet::Apisix => Frame {
            requests: "apisix_http_status",
            duration: "apisix_http_latency",
            duration_matchers: ",type=\"request\"",
            succeeded: "code!~\"5..\"",
            code: "code",
            ..ENVOY
        },
        SeriesSet::Linkerd => Frame {
            requests: "response_total",
            duration: "response_latency_ms",
            succeeded: "classification!=\"failure\"",
            code: "status_code",
            ..ENVOY
        },
        SeriesSet::Skipper => Frame {
            requests: "skipper_response_duration_seconds_count",
            duration: "skipper_serve_route_duration_seconds",
            to_milliseconds: 1_000,
            succeeded: "code!~\"5..\"",
            code: "code",
            ..ENVOY
        },
        SeriesSet::Application => Frame {
            requests: "http_request_duration_seconds_count",
            duration: "http_request_duration_seconds",
            to_milliseconds: 1_000,
            succeeded: "status!~\"5..\"",
            code: "status",
            ..ENVOY
        },
        SeriesSet::Contour
        | SeriesSet::Kuma
        | SeriesSet::Gloo
        | SeriesSet::AppMesh
        | SeriesSet::Knative => ENVOY,
    }
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

/// APISIX counts by rule, not by backend: only the rules that a run makes for matches are the
/// canary's alone. By weight both versions answer the same rule, and nothing tells them apart.
fn apisix(target: &QueryTarget) -> String {
    let rules = format!(
        "{}_{}_",
        regex_literal(&target.namespace),
        regex_literal(&target.route)
    );
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

fn gloo(target: &QueryTarget) -> String {
    let namespace = regex_literal(&target.namespace);
    let pattern = match target.side {
        Side::Canary => format!(
            "{namespace}-{}upstream-{ANY}_{ANY}",
            regex_literal(&canary_name(&target.service))
        ),
        Side::Stable => format!("{}_{ANY}", regex_literal(&target.route)),
    };
    cluster(&pattern)
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

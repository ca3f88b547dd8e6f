//! The series by which each traffic provider's requests are measured.

mod selectors;

use std::collections::BTreeSet;

use bellwether_api::{fleet::GatewaySeries, traffic::Traffic};

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
    /// The user's own workload.
    pub workload: String,
    /// The apex Service; empty = there is none.
    pub service: String,
    /// The Service's port by number; absent = it cannot be told.
    pub port: Option<u16>,
    /// The route that splits traffic; empty = there is none.
    pub route: String,
    /// The user's own object by which routes know the Service; empty = they know the Service itself.
    pub copied: String,
    /// Where the canary's pods and its Service are reached; empty = nobody knows.
    pub canary_addresses: BTreeSet<String>,
    /// Which version.
    pub side: Side,
    /// Whether pods of both versions are the workload's own: only its Services tell them apart.
    pub in_place: bool,
    /// Whether the pods belong to the workload itself, with no ReplicaSet between: a DaemonSet with a copy
    /// beside it, or a kind that an adapter tells of.
    pub per_node: bool,
    /// The old and the new revision of a workload that keeps them itself; absent = it does not, or they
    /// are not known.
    pub revisions: Option<[String; 2]>,
}

impl QueryTarget {
    /// Returns the workload of the measured side, or its revision where the workload keeps them.
    #[must_use]
    pub fn deployment(&self) -> String {
        if let Some([old, new]) = &self.revisions {
            return match self.side {
                Side::Canary => new.clone(),
                Side::Stable => old.clone(),
            };
        }
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
        let mut routes = traffic.iter().flat_map(Traffic::routes);
        routes
            .find_map(|route| {
                let field = route.provider.field();
                let key = field.split_once('.').map_or(field, |(key, _)| key);
                Some((Self::of_provider(key, gateway)?, route.name.to_owned()))
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
    let matchers = selectors::matchers(target)?;
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

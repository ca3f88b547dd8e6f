//! Traffic providers: which objects of the user split requests between two versions.

mod capability;
mod copied;
mod create;
mod demand;
mod provider;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use capability::Capability;
pub use copied::CopiedObject;
pub use create::{Cors, HeaderChanges, HeaderEdits, HeaderValue, Retries, RouteCreation};
pub use demand::{Demand, Lack};
pub use provider::Provider;

/// One traffic provider: exactly one key beside `namespace`, `rules` and `create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Routes of the Kubernetes Gateway API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_api: Option<GatewayApiTraffic>,
    /// An Ingress of ingress-nginx, split by a second, canary Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nginx: Option<IngressTraffic>,
    /// Routes of Istio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<IstioTraffic>,
    /// A route of Apache APISIX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apisix: Option<ApisixTraffic>,
    /// A route or service of Traefik's own kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traefik: Option<TraefikTraffic>,
    /// A proxy of Contour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contour: Option<ContourTraffic>,
    /// A route or split of Linkerd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkerd: Option<LinkerdTraffic>,
    /// A Service in a mesh of Kuma, split by a MeshHTTPRoute of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kuma: Option<KumaTraffic>,
    /// An Ingress of the AWS Load Balancer Controller, split by its `actions` annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alb: Option<IngressTraffic>,
    /// An Ingress of Skipper, split by its weights annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipper: Option<IngressTraffic>,
    /// Routes of Gloo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gloo: Option<GlooTraffic>,
    /// A virtual router of AWS App Mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_mesh: Option<AppMeshTraffic>,
    /// Revisions of a Knative Service, which is workload and route in one: it has no `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knative: Option<NoFields>,
    /// No router: the Service selects both versions, and the share of traffic is the share of pods,
    /// which `instances.mode: FixedTotal` sets by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<NoFields>,
    /// The namespace of the routes; absent = the workload's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The rules that are split, by name or by index from 0; empty = every rule whose backend is
    /// the apex Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleRef>,
    /// The routes that are named here are part of the release, looking like this, unless the
    /// application writes them itself; they go when the Rollout goes. Absent = they are there already.
    /// For HTTPRoutes and for VirtualServices of Istio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<RouteCreation>,
}

/// Routes of the Kubernetes Gateway API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayApiTraffic {
    /// Names of HTTPRoutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http_routes: Vec<String>,
    /// Names of GRPCRoutes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grpc_routes: Vec<String>,
    /// Names of TCPRoutes; connections are split, not requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp_routes: Vec<String>,
}

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressTraffic {
    /// The name of the Ingress.
    pub ingress: String,
}

/// Routes of Istio.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IstioTraffic {
    /// Names of VirtualServices, delegates among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_services: Vec<String>,
    /// The DestinationRule of the apex Service: the run makes its like for the canary's, so that its
    /// policies hold and its subsets exist there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_rule: Option<String>,
}

/// A route of Apache APISIX.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApisixTraffic {
    /// The name of the ApisixRoute.
    pub route: String,
}

/// A route or service of Traefik's own kinds: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraefikTraffic {
    /// The name of a TraefikService that is weighted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The name of an IngressRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_route: Option<String>,
    /// The name of an IngressRouteTCP; connections are split, not requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_route_tcp: Option<String>,
}

/// A proxy of Contour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContourTraffic {
    /// The name of the HTTPProxy.
    pub http_proxy: String,
}

/// A route or split of Linkerd: exactly one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkerdTraffic {
    /// The name of an HTTPRoute of `policy.linkerd.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<String>,
    /// The name of a TrafficSplit of `split.smi-spec.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_split: Option<String>,
}

/// A service of Kuma.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KumaTraffic {
    /// The name of the MeshService, which is that of the rollout's Service.
    pub mesh_service: String,
}

/// Routes of Gloo: exactly one of `routeTable` and `virtualService`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GlooTraffic {
    /// The name of a RouteTable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_table: Option<String>,
    /// The name of a VirtualService of `gateway.solo.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_service: Option<String>,
    /// The Upstream of the apex Service, where the routes lead to one that you wrote: the run makes
    /// its like for the canary's Service. Absent = they lead to the Service itself, or to the Upstream
    /// that Gloo discovers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
}

/// A virtual router of AWS App Mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppMeshTraffic {
    /// The name of the VirtualRouter.
    pub virtual_router: String,
    /// The VirtualNode of the apex Service: the run makes its like for the canary's. Absent = it has
    /// the Service's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_node: Option<String>,
}

/// A provider that has nothing to name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

impl JsonSchema for NoFields {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoFields".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// A rule of a route, by name or by index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RuleRef {
    /// The rule's place among the rules that the user wrote, from 0.
    Index(u32),
    /// The rule's name.
    Name(String),
}

impl JsonSchema for RuleRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RuleRef".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-int-or-string": true})
    }
}

impl std::fmt::Display for RuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// One object of the user that splits traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedRoute<'a> {
    /// What splits by it.
    pub provider: Provider,
    /// The object's name; empty for providers that have nothing to name.
    pub name: &'a str,
    /// Its place in the provider's list; absent = the provider names one object.
    pub index: Option<usize>,
}

impl Traffic {
    /// Names every object that is to be split, in the order in which fields are declared.
    #[must_use]
    pub fn routes(&self) -> Vec<NamedRoute<'_>> {
        let mut routes = Vec::new();
        if let Some(gateway) = &self.gateway_api {
            list(&mut routes, Provider::HttpRoute, &gateway.http_routes);
            list(&mut routes, Provider::GrpcRoute, &gateway.grpc_routes);
            list(&mut routes, Provider::TcpRoute, &gateway.tcp_routes);
        }
        if let Some(istio) = &self.istio {
            list(
                &mut routes,
                Provider::VirtualService,
                &istio.virtual_services,
            );
        }
        let single = self.single().into_iter();
        routes.extend(single.filter_map(|(provider, name)| {
            name.map(|name| NamedRoute {
                provider,
                name,
                index: None,
            })
        }));
        routes
    }

    fn single(&self) -> [(Provider, Option<&str>); 16] {
        let traefik = self.traefik.as_ref();
        let linkerd = self.linkerd.as_ref();
        let gloo = self.gloo.as_ref();
        [
            (Provider::Nginx, name_of(self.nginx.as_ref())),
            (
                Provider::ApisixRoute,
                self.apisix.as_ref().map(|one| one.route.as_str()),
            ),
            (
                Provider::TraefikService,
                traefik.and_then(|one| one.service.as_deref()),
            ),
            (
                Provider::IngressRoute,
                traefik.and_then(|one| one.ingress_route.as_deref()),
            ),
            (
                Provider::IngressRouteTcp,
                traefik.and_then(|one| one.ingress_route_tcp.as_deref()),
            ),
            (
                Provider::HttpProxy,
                self.contour.as_ref().map(|one| one.http_proxy.as_str()),
            ),
            (
                Provider::LinkerdHttpRoute,
                linkerd.and_then(|one| one.http_route.as_deref()),
            ),
            (
                Provider::TrafficSplit,
                linkerd.and_then(|one| one.traffic_split.as_deref()),
            ),
            (
                Provider::Kuma,
                self.kuma.as_ref().map(|one| one.mesh_service.as_str()),
            ),
            (Provider::Alb, name_of(self.alb.as_ref())),
            (Provider::Skipper, name_of(self.skipper.as_ref())),
            (
                Provider::GlooRouteTable,
                gloo.and_then(|one| one.route_table.as_deref()),
            ),
            (
                Provider::GlooVirtualService,
                gloo.and_then(|one| one.virtual_service.as_deref()),
            ),
            (
                Provider::AppMesh,
                self.app_mesh
                    .as_ref()
                    .map(|one| one.virtual_router.as_str()),
            ),
            (Provider::Knative, self.knative.as_ref().map(|_| "")),
            (Provider::None, self.none.as_ref().map(|_| "")),
        ]
    }
}

/// Tells whether no router splits traffic, so that both versions share it by their pods.
#[must_use]
pub fn is_by_pods(traffic: &[Traffic]) -> bool {
    traffic.iter().any(|one| one.none.is_some())
}

fn name_of(ingress: Option<&IngressTraffic>) -> Option<&str> {
    ingress.map(|one| one.ingress.as_str())
}

fn list<'a>(routes: &mut Vec<NamedRoute<'a>>, provider: Provider, names: &'a [String]) {
    routes.extend(names.iter().enumerate().map(|(index, name)| NamedRoute {
        provider,
        name,
        index: Some(index),
    }));
}

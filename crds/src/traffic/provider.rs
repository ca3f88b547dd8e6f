//! Which providers there are, and what each of them can do.

use super::{Capability, table};

/// What splits requests, by the kind of object in which the user writes it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// Gateway API HTTPRoute.
    HttpRoute,
    /// Gateway API GRPCRoute.
    GrpcRoute,
    /// Gateway API TCPRoute.
    TcpRoute,
    /// Ingress of ingress-nginx.
    Nginx,
    /// Istio VirtualService.
    VirtualService,
    /// APISIX ApisixRoute.
    ApisixRoute,
    /// Traefik TraefikService.
    TraefikService,
    /// Traefik IngressRoute.
    IngressRoute,
    /// Traefik IngressRouteTCP.
    IngressRouteTcp,
    /// Contour HTTPProxy.
    HttpProxy,
    /// Linkerd HTTPRoute.
    LinkerdHttpRoute,
    /// SMI TrafficSplit.
    TrafficSplit,
    /// Kuma.
    Kuma,
    /// Ingress of the AWS Load Balancer Controller.
    Alb,
    /// Ingress of Skipper.
    Skipper,
    /// Gloo RouteTable.
    GlooRouteTable,
    /// Gloo VirtualService.
    GlooVirtualService,
    /// AWS App Mesh.
    AppMesh,
    /// Knative.
    Knative,
    /// No router.
    None,
}

/// What every provider is, beside what it can do.
struct Facts {
    /// Where it stands in `traffic[]`.
    field: &'static str,
    /// Group and version of the user's object.
    api_version: &'static str,
    /// Kind of the user's object.
    kind: &'static str,
    /// Plural of the kind.
    plural: &'static str,
}

const fn facts(
    field: &'static str,
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Facts {
    Facts {
        field,
        api_version,
        kind,
        plural,
    }
}

const GATEWAY: &str = "gateway.networking.k8s.io/v1";
const INGRESS: &str = "networking.k8s.io/v1";
const GLOO: &str = "gateway.solo.io/v1";
const TRAEFIK: &str = "traefik.io/v1alpha1";

impl Provider {
    /// Every provider, in the order of tables.
    pub const ALL: [Self; 20] = [
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::TcpRoute,
        Self::Nginx,
        Self::VirtualService,
        Self::ApisixRoute,
        Self::TraefikService,
        Self::IngressRoute,
        Self::IngressRouteTcp,
        Self::HttpProxy,
        Self::LinkerdHttpRoute,
        Self::TrafficSplit,
        Self::Kuma,
        Self::Alb,
        Self::Skipper,
        Self::GlooRouteTable,
        Self::GlooVirtualService,
        Self::AppMesh,
        Self::Knative,
        Self::None,
    ];

    fn facts(self) -> Facts {
        match self {
            Self::HttpRoute => facts("gatewayApi.httpRoutes", GATEWAY, "HTTPRoute", "httproutes"),
            Self::GrpcRoute => facts("gatewayApi.grpcRoutes", GATEWAY, "GRPCRoute", "grpcroutes"),
            Self::TcpRoute => facts(
                "gatewayApi.tcpRoutes",
                "gateway.networking.k8s.io/v1alpha2",
                "TCPRoute",
                "tcproutes",
            ),
            Self::Nginx => facts("nginx.ingress", INGRESS, "Ingress", "ingresses"),
            Self::VirtualService => facts(
                "istio.virtualServices",
                "networking.istio.io/v1",
                "VirtualService",
                "virtualservices",
            ),
            Self::ApisixRoute => facts(
                "apisix.route",
                "apisix.apache.org/v2",
                "ApisixRoute",
                "apisixroutes",
            ),
            Self::TraefikService => facts(
                "traefik.service",
                TRAEFIK,
                "TraefikService",
                "traefikservices",
            ),
            Self::IngressRoute => facts(
                "traefik.ingressRoute",
                TRAEFIK,
                "IngressRoute",
                "ingressroutes",
            ),
            Self::IngressRouteTcp => facts(
                "traefik.ingressRouteTcp",
                TRAEFIK,
                "IngressRouteTCP",
                "ingressroutetcps",
            ),
            Self::HttpProxy => facts(
                "contour.httpProxy",
                "projectcontour.io/v1",
                "HTTPProxy",
                "httpproxies",
            ),
            Self::LinkerdHttpRoute => facts(
                "linkerd.httpRoute",
                "policy.linkerd.io/v1beta3",
                "HTTPRoute",
                "httproutes",
            ),
            Self::TrafficSplit => facts(
                "linkerd.trafficSplit",
                "split.smi-spec.io/v1alpha2",
                "TrafficSplit",
                "trafficsplits",
            ),
            // Kuma makes the MeshService of the Service of that name.
            Self::Kuma => facts("kuma.meshService", "v1", "Service", "services"),
            Self::Alb => facts("alb.ingress", INGRESS, "Ingress", "ingresses"),
            Self::Skipper => facts("skipper.ingress", INGRESS, "Ingress", "ingresses"),
            Self::GlooRouteTable => facts("gloo.routeTable", GLOO, "RouteTable", "routetables"),
            Self::GlooVirtualService => facts(
                "gloo.virtualService",
                GLOO,
                "VirtualService",
                "virtualservices",
            ),
            Self::AppMesh => facts(
                "appMesh.virtualRouter",
                "appmesh.k8s.aws/v1beta2",
                "VirtualRouter",
                "virtualrouters",
            ),
            Self::Knative => facts("knative", "serving.knative.dev/v1", "Service", "services"),
            Self::None => facts("none", "v1", "Service", "services"),
        }
    }

    /// What it can do; empty = this version of Bellwether does not have it.
    #[must_use]
    pub fn capabilities(self) -> &'static [Capability] {
        match self {
            Self::HttpRoute => table::HTTP_ROUTE,
            Self::GrpcRoute => table::GRPC_ROUTE,
            Self::TcpRoute | Self::IngressRouteTcp => table::CONNECTIONS,
            Self::Nginx => table::NGINX,
            Self::VirtualService => table::VIRTUAL_SERVICE,
            Self::ApisixRoute => table::APISIX_ROUTE,
            Self::IngressRoute => table::INGRESS_ROUTE,
            Self::TraefikService => table::TRAEFIK_SERVICE,
            Self::HttpProxy => table::HTTP_PROXY,
            Self::LinkerdHttpRoute => table::LINKERD_HTTP_ROUTE,
            Self::TrafficSplit | Self::Alb | Self::Skipper | Self::Knative | Self::None => {
                table::WEIGHTS
            }
            Self::Kuma => table::MESH_SERVICE,
            Self::GlooRouteTable | Self::GlooVirtualService => table::GLOO,
            Self::AppMesh => table::VIRTUAL_ROUTER,
        }
    }

    /// Tells whether this version of Bellwether has it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        !self.capabilities().is_empty()
    }

    /// Tells whether it splits by an object of the user; otherwise it does by pods alone.
    #[must_use]
    pub fn has_object(self) -> bool {
        self != Self::None
    }

    /// Tells whether its objects may name Services of other namespaces.
    #[must_use]
    pub fn crosses(self) -> bool {
        matches!(
            self,
            Self::HttpRoute
                | Self::GrpcRoute
                | Self::TcpRoute
                | Self::VirtualService
                | Self::LinkerdHttpRoute
                | Self::GlooRouteTable
                | Self::GlooVirtualService
        )
    }

    /// Where it stands in `traffic[]`, such as `gatewayApi.httpRoutes`.
    #[must_use]
    pub fn field(self) -> &'static str {
        self.facts().field
    }

    /// Group and version of the user's object, where the user's own manifest does not say.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        self.facts().api_version
    }

    /// The group of the user's object.
    #[must_use]
    pub fn group(self) -> &'static str {
        self.api_version()
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// The kind of the user's object.
    #[must_use]
    pub fn kind(self) -> &'static str {
        self.facts().kind
    }

    /// What the agent needs rights on, as `plural.group`.
    #[must_use]
    pub fn resource(self) -> String {
        format!("{}.{}", self.facts().plural, self.group())
    }
}

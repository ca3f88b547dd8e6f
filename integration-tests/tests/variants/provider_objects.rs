//! What users write for each traffic provider.

use bellwether_api::traffic::Provider;
use serde_json::{Value, json};

/// An object that stands beside the user's while a run splits: group and version, kind, name.
pub type Beside = (&'static str, &'static str, String);

/// What a user writes to have an application's Service split by one provider. Everything of it has one name.
pub struct Routed {
    pub provider: Provider,
    /// The item of the Rollout's `traffic`.
    pub traffic: Value,
    /// The object that is split, and what belongs to it; none = it is a Service, which every application has.
    pub objects: Vec<Value>,
    /// What the run makes beside the object; absent = nothing.
    pub beside: Option<Beside>,
}

/// The annotation by which Skipper splits.
pub const SKIPPER_WEIGHTS: &str = "zalando.org/backend-weights";

/// The objects of a provider; `None` = it splits by none.
pub fn routed(provider: Provider, namespace: &str, name: &str) -> Option<Routed> {
    let traffic = item(provider, name)?;
    let spec = spec(provider, namespace, name);
    let mut objects: Vec<Value> = spec
        .map(|spec| user_object(provider, namespace, name, spec))
        .into_iter()
        .collect();
    let beside = match (companion(provider, namespace, name), provider) {
        (Some((api_version, kind, spec)), _) => {
            objects.push(json!({"apiVersion": api_version, "kind": kind,
                "metadata": {"name": name, "namespace": namespace}, "spec": spec}));
            Some((api_version, kind, format!("{name}-canary-{name}")))
        }
        (None, Provider::Nginx) => {
            Some((provider.api_version(), "Ingress", format!("{name}-canary")))
        }
        (None, Provider::Kuma) => {
            let split = format!("{name}-canary-split");
            Some(("kuma.io/v1alpha1", "MeshHTTPRoute", split))
        }
        (None, _) => None,
    };
    Some(Routed {
        provider,
        traffic,
        objects,
        beside,
    })
}

/// The user's object of the Service whose like a run makes for the canary's: group and version, kind, spec.
fn companion(
    provider: Provider,
    namespace: &str,
    name: &str,
) -> Option<(&'static str, &'static str, Value)> {
    Some(match provider {
        Provider::VirtualService => {
            let spec = json!({"host": name, "subsets": [{"name": "all", "labels": {"tier": "web"}}],
                "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}}});
            (provider.api_version(), "DestinationRule", spec)
        }
        Provider::GlooVirtualService => {
            let to = json!({"serviceName": name, "serviceNamespace": namespace, "servicePort": 80});
            ("gloo.solo.io/v1", "Upstream", json!({"kube": to}))
        }
        Provider::AppMesh => {
            let host = format!("{name}.{namespace}.svc.cluster.local");
            let spec = json!({"podSelector": {"matchLabels": {"app": name}},
                "listeners": [{"portMapping": {"port": 8080, "protocol": "http"}}],
                "serviceDiscovery": {"dns": {"hostname": host}}});
            (provider.api_version(), "VirtualNode", spec)
        }
        _ => return None,
    })
}

fn user_object(provider: Provider, namespace: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": provider.api_version(), "kind": provider.kind(),
        "metadata": {"name": name, "namespace": namespace, "labels": {"team": "shop"}},
        "spec": spec,
    });
    if provider == Provider::Skipper {
        let weights = json!({name: 80, "other": 20}).to_string();
        object["metadata"]["annotations"] = json!({SKIPPER_WEIGHTS: weights});
    }
    object
}

/// The item of `traffic`; `None` = the provider splits by no object.
fn item(provider: Provider, name: &str) -> Option<Value> {
    // One arm for each provider that there is: a new one does not compile without.
    Some(match provider {
        Provider::HttpRoute => json!({"gatewayApi": {"httpRoutes": [name]}}),
        Provider::GrpcRoute => json!({"gatewayApi": {"grpcRoutes": [name]}}),
        Provider::TcpRoute => json!({"gatewayApi": {"tcpRoutes": [name]}}),
        Provider::Nginx => json!({"nginx": {"ingress": name}}),
        Provider::Alb => json!({"alb": {"ingress": name}}),
        Provider::Skipper => json!({"skipper": {"ingress": name}}),
        Provider::VirtualService => {
            json!({"istio": {"virtualServices": [name], "destinationRule": name}})
        }
        Provider::ApisixRoute => json!({"apisix": {"route": name}}),
        Provider::TraefikService => json!({"traefik": {"service": name}}),
        Provider::IngressRoute => json!({"traefik": {"ingressRoute": name}}),
        Provider::IngressRouteTcp => json!({"traefik": {"ingressRouteTcp": name}}),
        Provider::HttpProxy => json!({"contour": {"httpProxy": name}}),
        Provider::LinkerdHttpRoute => json!({"linkerd": {"httpRoute": name}}),
        Provider::TrafficSplit => json!({"linkerd": {"trafficSplit": name}}),
        Provider::Kuma => json!({"kuma": {"meshService": name}}),
        Provider::GlooRouteTable => json!({"gloo": {"routeTable": name}}),
        Provider::GlooVirtualService => json!({"gloo": {"virtualService": name, "upstream": name}}),
        Provider::AppMesh => json!({"appMesh": {"virtualRouter": name}}),
        Provider::Knative => json!({"knative": {}}),
        Provider::None => return None,
    })
}

/// The spec of the user's object; `None` = it is a Service, which every application has.
fn spec(provider: Provider, namespace: &str, name: &str) -> Option<Value> {
    let to = json!([{"name": name, "port": 80}]);
    Some(match provider {
        Provider::HttpRoute | Provider::GrpcRoute | Provider::TcpRoute => {
            json!({"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": to}]})
        }
        Provider::LinkerdHttpRoute => json!({
            "parentRefs": [{"group": "core", "kind": "Service", "name": name, "port": 80}],
            "rules": [{"backendRefs": to}]}),
        Provider::Nginx | Provider::Alb | Provider::Skipper => {
            let backend = json!({"service": {"name": name, "port": {"number": 80}}});
            json!({"rules": [{"host": "shop.example", "http": {"paths":
                [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]})
        }
        Provider::VirtualService => virtual_service(name),
        Provider::ApisixRoute => json!({"http": [{"name": "all", "match": {"paths": ["/*"]},
            "backends": [{"serviceName": name, "servicePort": 80}]}]}),
        Provider::TraefikService => json!({"weighted": {"services": to}}),
        Provider::IngressRoute => json!({"routes": [
            {"kind": "Rule", "match": "Host(`shop.example`)", "services": to}]}),
        Provider::IngressRouteTcp => json!({"routes": [{"match": "HostSNI(`*`)", "services": to}]}),
        Provider::HttpProxy => json!({"virtualhost": {"fqdn": "shop.example"},
            "routes": [{"services": to}]}),
        Provider::TrafficSplit => json!({"service": format!("{name}-root"),
            "backends": [{"service": name, "weight": 100}]}),
        Provider::GlooRouteTable => {
            let to = json!({"kube": {"ref": {"name": name, "namespace": namespace}, "port": 80}});
            json!({"routes": [{"matchers": [{"prefix": "/"}], "routeAction": {"single": to}}]})
        }
        Provider::GlooVirtualService => {
            let to = json!({"upstream": {"name": name, "namespace": namespace}});
            json!({"virtualHost": {"domains": ["shop.example"], "routes":
                [{"matchers": [{"prefix": "/"}], "routeAction": {"single": to}}]}})
        }
        Provider::AppMesh => {
            let to = json!([{"virtualNodeRef": {"name": name}, "weight": 1}]);
            json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}],
                "routes": [{"name": "all", "httpRoute":
                    {"match": {"prefix": "/"}, "action": {"weightedTargets": to}}}]})
        }
        Provider::Knative | Provider::Kuma | Provider::None => return None,
    })
}

/// Routes of requests and of connections, to a subset.
fn virtual_service(name: &str) -> Value {
    let to = json!([{"destination": {"host": name, "subset": "all", "port": {"number": 80}}}]);
    json!({"hosts": [name],
        "http": [{"timeout": "5s", "route": to}],
        "tcp": [{"match": [{"port": 5432}], "route": to}],
        "tls": [{"match": [{"port": 443, "sniHosts": ["shop.example"]}], "route": to}]})
}

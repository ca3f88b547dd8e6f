//! The kinds that are rendered like HTTPRoutes.

use bellwether_api::traffic::Provider;
use serde_json::{Value, json};

use crate::provider::{
    Split,
    golden::{by_matches, check, headers, mirrored, rendered, weight},
};

fn grpc_route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "kept-parent"}], "rules": [
            {"matches": [{"method": {"service": "shop.Cart", "method": "Add"}}, {"headers": [{"name": "x-tenant", "value": "a"}]}],
             "backendRefs": [{"name": "web", "port": 9000}]},
        ]},
    })
}

fn tcp_route() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1alpha2", "kind": "TCPRoute",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "kept-parent", "sectionName": "db"}], "rules": [{"backendRefs": [{"name": "web", "port": 5432}]}]},
    })
}

fn linkerd_route() -> Value {
    json!({
        "apiVersion": "policy.linkerd.io/v1beta3", "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"parentRefs": [{"group": "core", "kind": "Service", "name": "kept-parent"}], "rules": [
            {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": [{"name": "web", "port": 80}]},
        ]},
    })
}

#[test]
fn what_holds_for_every_provider() {
    check(Provider::GrpcRoute, &grpc_route());
    check(Provider::TcpRoute, &tcp_route());
    check(Provider::LinkerdHttpRoute, &linkerd_route());
}

#[test]
fn golden() {
    let by = Split::by_weight(weight(20));
    let matches = by_matches(vec![headers(&[("x-user", "=insider")])]);
    for (name, provider, object, split) in [
        (
            "grpc_route_matches",
            Provider::GrpcRoute,
            grpc_route(),
            matches.clone(),
        ),
        (
            "grpc_route_mirror",
            Provider::GrpcRoute,
            grpc_route(),
            mirrored(20, 100),
        ),
        ("tcp_route_weight", Provider::TcpRoute, tcp_route(), by),
        (
            "linkerd_route_matches",
            Provider::LinkerdHttpRoute,
            linkerd_route(),
            matches,
        ),
    ] {
        let objects = rendered(provider, &object, &split);
        insta::assert_json_snapshot!(name, objects);
    }
}

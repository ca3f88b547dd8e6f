//! Services, and what splits traffic.

use serde_json::{Value, json};

use super::{beside, canary, refused, spec, translate};

/// What splits traffic, of a Canary with these fields and with these objects beside it.
fn traffic(spec: Value, more: &[Value]) -> Result<Value, String> {
    let mut objects = beside();
    objects.extend(more.iter().cloned());
    objects.push(canary(|canary| {
        for (key, value) in spec.as_object().expect("fields") {
            canary["spec"][key] = value.clone();
        }
    }));
    let translated = translate(&objects).map_err(|error| error.to_string())?;
    Ok(translated.rollouts[0]["spec"]["traffic"].clone())
}

/// The field `service`, with further fields.
fn service(more: Value) -> Value {
    let mut service = json!({"name": "app-full", "port": 80, "targetPort": "http"});
    for (key, value) in more.as_object().expect("fields") {
        service[key] = value.clone();
    }
    service
}

#[test]
fn providers_have_one_spelling_each() {
    let old = json!({
        "apiVersion": "extensions/v1beta1", "kind": "Ingress",
        "metadata": {"name": "app-full", "annotations": {"kubernetes.io/ingress.class": "skipper"}},
    });
    assert_eq!(
        traffic(json!({"provider": "ingress"}), std::slice::from_ref(&old)),
        Ok(json!([{"skipper": {"ingress": "app-full"}}]))
    );
    assert_eq!(
        traffic(json!({"provider": null}), std::slice::from_ref(&old)),
        Ok(json!([{"skipper": {"ingress": "app-full"}}]))
    );
    assert_eq!(
        traffic(
            json!({"provider": "apisix", "routeRef": {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "name": "app-route"}}),
            &[]
        ),
        Ok(json!([{"apisix": {"route": "app-route"}}]))
    );
    let proxy = json!({
        "apiVersion": "projectcontour.io/v1", "kind": "HTTPProxy", "metadata": {"name": "app-full"},
    });
    assert_eq!(
        traffic(json!({"provider": "contour"}), &[proxy]),
        Ok(json!([{"contour": {"httpProxy": "app-full"}}]))
    );
    // Nothing says: the fleet's own default does.
    assert_eq!(
        traffic(json!({"provider": null, "ingressRef": null}), &[]),
        Ok(Value::Null)
    );
}

#[test]
fn routes_that_flagger_makes_are_asked_for() {
    for provider in ["gatewayapi:v1", "gatewayapi:v1beta1", "gateway"] {
        let made = service(json!({
            "hosts": ["app.example"], "gatewayRefs": [{"name": "gw", "namespace": "infra"}],
            "timeout": "10s", "headers": {"request": {"set": {"x-a": "b"}, "remove": ["x-c"]}},
            "match": [{"uri": {"prefix": "/app"}}],
        }));
        assert_eq!(
            traffic(json!({"provider": provider, "service": made}), &[]),
            Ok(
                json!([{"gatewayApi": {"httpRoutes": ["app-full"]}, "create": {
                    "gateways": ["infra/gw"], "hosts": ["app.example"], "timeout": "10s", "path": "/app",
                    "headers": {"request": {"set": [{"name": "x-a", "value": "b"}], "remove": ["x-c"]}},
                }}])
            )
        );
    }
    let made = service(json!({
        "gateways": ["istio-system/public", "mesh"], "hosts": ["app.example"],
        "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
        "corsPolicy": {"allowOrigins": [{"exact": "https://a.example"}], "allowMethods": ["GET"], "maxAge": "24h"},
    }));
    assert_eq!(
        traffic(json!({"provider": "istio", "service": made}), &[]),
        Ok(
            json!([{"istio": {"virtualServices": ["app-full"]}, "create": {
                "gateways": ["istio-system/public", "mesh"], "hosts": ["app.example", "app-full"],
                "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
                "cors": {"allowOrigins": ["https://a.example"], "allowMethods": ["GET"], "maxAge": "24h"},
            }}])
        )
    );
}

#[test]
fn what_a_provider_cannot_say_is_refused_by_name() {
    for (spec, path) in [
        (
            json!({"provider": "contour"}),
            "spec.provider: Flagger would make HTTPProxy",
        ),
        (
            json!({"provider": "osm"}),
            "spec.provider: \"osm\" has no counterpart",
        ),
        (json!({"provider": "apisix"}), "spec.routeRef"),
        (json!({"ingressRef": null}), "spec.ingressRef"),
        (
            json!({"provider": "nginx", "service": service(json!({"hosts": ["a"]}))}),
            "spec.service.hosts",
        ),
        (
            json!({"provider": "istio", "service": service(json!({"trafficPolicy": {"tls": {"mode": "DISABLE"}}}))}),
            "spec.service.trafficPolicy",
        ),
        (
            json!({"provider": "istio", "service": service(json!({"rewrite": {"uri": "/"}}))}),
            "spec.service.rewrite",
        ),
        (
            json!({"provider": "gatewayapi"}),
            "spec.service.gatewayRefs",
        ),
        (json!({"upstreamRef": {"name": "a"}}), "spec.upstreamRef"),
        (
            json!({"provder": "nginx"}),
            "spec.provder: it has no counterpart; did you mean \"provider\"?",
        ),
    ] {
        let error = traffic(spec.clone(), &[]).expect_err("refused");
        assert!(error.contains(path), "{spec}: {error}");
    }
}

#[test]
fn a_service_that_nobody_wrote_is_made_and_one_that_is_written_is_left() {
    let mut objects = beside();
    objects.push(canary(|canary| {
        canary["spec"]["service"] = json!({
            "port": 9898, "targetPort": 8080, "portName": "web", "appProtocol": "http",
            "portDiscovery": true, "apex": {"labels": {"team": "blue"}},
        });
    }));
    let translated = translate(&objects).expect("translated");
    assert_eq!(
        translated.rollouts[0]["spec"]["service"],
        json!({"name": "app", "port": 9898}),
        "the workload's name where it has none of its own"
    );
    assert_eq!(
        translated.services,
        vec![json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "app", "labels": {"team": "blue"}},
            "spec": {"type": "ClusterIP", "selector": {"app": "app"}, "ports": [
                {"name": "web", "port": 9898, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"},
                {"name": "grpc", "port": 9090, "targetPort": 9090, "protocol": "TCP"},
                {"name": "tcp-app-2", "port": 7070, "targetPort": 7070, "protocol": "TCP"},
            ]},
        })]
    );
    assert!(
        translate(&[canary(|_| {})]).is_err(),
        "no workload, no Service"
    );
    for (service, path) in [
        (json!({"name": "app-full", "port": 81}), "spec.service.port"),
        (
            json!({"name": "app-full", "port": 80, "targetPort": 9090}),
            "spec.service.targetPort",
        ),
        (
            json!({"name": "app-full", "port": 80, "targetPort": "http", "portName": "x"}),
            "spec.service.portName",
        ),
        (
            json!({"name": "app-full", "port": 80, "targetPort": "http", "apex": {"labels": {"a": "b"}}}),
            "spec.service.apex",
        ),
        (
            json!({"name": "app-full", "port": 80, "targetPort": "http", "primary": {"labels": {"a": "b"}}}),
            "spec.service.primary",
        ),
        (json!({"name": "app-full"}), "spec.service.port"),
    ] {
        let text = refused(|canary| canary["spec"]["service"] = service.clone());
        assert!(text.contains(path), "{service}: {text}");
    }
}

#[test]
fn the_runs_own_service_carries_what_the_canary_says_and_there_is_no_other() {
    let words = json!({"labels": {"team": "shop"}, "annotations": {"a": "b"}});
    let said = spec(canary(|canary| {
        canary["spec"]["service"]["canary"] = words.clone();
    }));
    assert_eq!(
        said["service"],
        json!({"name": "app-full", "port": 80, "canary": words})
    );
    let text = refused(|canary| {
        canary["spec"]["service"]["primary"] = words.clone();
        canary["spec"]["service"]["canary"] = json!({"finalizers": ["a"]});
    });
    for path in [
        "spec.service.primary: no Service is made for the stable version",
        "spec.service.canary.finalizers: it has no counterpart",
    ] {
        assert!(text.contains(path), "{text}");
    }
}

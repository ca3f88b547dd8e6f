use std::collections::BTreeSet;

use bellwether_api::{
    analysis::{Aggregation, BUILT_IN_TEMPLATES, Metric, TemplateRef},
    duration::Dur,
    fleet::GatewaySeries,
    metric_template::MetricSourceKind,
};

use super::{
    super::series::{QueryTarget, SeriesSet, Side},
    MetricQueryError, counts_requests, filled, queries,
};

const WINDOW: Dur = Dur::from_secs(30);

fn target(series: SeriesSet, side: Side) -> QueryTarget {
    QueryTarget {
        series,
        namespace: "shop".into(),
        workload: "web".into(),
        service: "web-svc".into(),
        port: Some(80),
        route: "web.in".into(),
        copied: String::new(),
        canary_addresses: BTreeSet::new(),
        side,
        in_place: false,
        per_node: false,
        revisions: None,
    }
}

fn metric(name: &str) -> Metric {
    Metric {
        name: name.to_owned(),
        ..Metric::default()
    }
}

fn template(name: &str) -> Metric {
    Metric {
        template: Some(TemplateRef {
            name: name.to_owned(),
            namespace: None,
        }),
        ..metric("m")
    }
}

/// What every set counts by: its selector for the new version and for the old one, the counter, the
/// matcher of success, and the durations' histogram with its factor to milliseconds.
const SETS: [(SeriesSet, [&str; 2], &str, &str, &str); 13] = [
    (
        SeriesSet::TraefikGateway,
        [
            "service=\"shop-web-svc-canary-http-80@kubernetesgateway\"",
            "service=\"shop-web-svc-http-80@kubernetesgateway\"",
        ],
        "traefik_service_requests_total",
        "code!~\"5..\"",
        "1000 * traefik_service_request_duration_seconds",
    ),
    (
        SeriesSet::Traefik,
        [
            "service=~\"shop-web-svc-canary-[0-9a-zA-Z-]+@kubernetescrd\"",
            "service=~\"shop-web-svc-[0-9a-zA-Z-]+@kubernetescrd\",service!~\"shop-web-svc-canary-[0-9a-zA-Z-]+@kubernetescrd\"",
        ],
        "traefik_service_requests_total",
        "code!~\"5..\"",
        "1000 * traefik_service_request_duration_seconds",
    ),
    (
        SeriesSet::Nginx,
        [
            "namespace=\"shop\",ingress=\"web.in\",canary!=\"\"",
            "namespace=\"shop\",ingress=\"web.in\",canary=\"\"",
        ],
        "nginx_ingress_controller_requests",
        "status!~\"5..\"",
        "1000 * nginx_ingress_controller_response_duration_seconds",
    ),
    (
        SeriesSet::Istio,
        [
            "reporter=\"destination\",destination_workload_namespace=\"shop\",destination_workload=\"web-canary\"",
            "reporter=\"destination\",destination_workload_namespace=\"shop\",destination_workload=\"web\"",
        ],
        "istio_requests_total",
        "response_code!~\"5..\"",
        "istio_request_duration_milliseconds",
    ),
    (
        SeriesSet::Apisix,
        [
            "route=~\"shop_web\\\\.in_.*-canary-[0-9]+\"",
            "route=~\"shop_web\\\\.in_.+\",route!~\"shop_web\\\\.in_.*-canary-[0-9]+\"",
        ],
        "apisix_http_status",
        "code!~\"5..\"",
        "apisix_http_latency",
    ),
    (
        SeriesSet::Contour,
        [
            "envoy_cluster_name=~\"shop_web-svc-canary_[0-9a-zA-Z-]+\"",
            "envoy_cluster_name=~\"shop_web-svc_[0-9a-zA-Z-]+\"",
        ],
        "envoy_cluster_upstream_rq",
        "envoy_response_code!~\"5..\"",
        "envoy_cluster_upstream_rq_time",
    ),
    (
        SeriesSet::Linkerd,
        [
            "namespace=\"shop\",deployment=\"web-canary\",direction=\"inbound\"",
            "namespace=\"shop\",deployment=\"web\",direction=\"inbound\"",
        ],
        "response_total",
        "classification!=\"failure\"",
        "response_latency_ms",
    ),
    (
        SeriesSet::Kuma,
        [
            "service=~\"web-svc-canary_shop_svc_[0-9a-zA-Z-]+\"",
            "service=~\"web-svc_shop_svc_[0-9a-zA-Z-]+\"",
        ],
        "envoy_cluster_upstream_rq",
        "envoy_response_code!~\"5..\"",
        "envoy_cluster_upstream_rq_time",
    ),
    (
        SeriesSet::Gloo,
        [
            "envoy_cluster_name=~\"(kube-svc[:_])?shop-web-svc-canary-[0-9]+_[0-9a-zA-Z-]+|kube-.+_shop_web-svc-canary_[0-9]+\"",
            "envoy_cluster_name=~\"(kube-svc[:_])?shop-web-svc-[0-9]+_[0-9a-zA-Z-]+|kube-.+_shop_web-svc_[0-9]+\"",
        ],
        "envoy_cluster_upstream_rq",
        "envoy_response_code!~\"5..\"",
        "envoy_cluster_upstream_rq_time",
    ),
    (
        SeriesSet::Skipper,
        [
            "route=~\"kube(ew)?_shop__web_in(_canary)?__.*__web_svc_canary(_[0-9]+)?\"",
            "route=~\"kube(ew)?_shop__web_in__.*__web_svc(_[0-9]+)?\"",
        ],
        "skipper_response_duration_seconds_count",
        "code!~\"5..\"",
        "1000 * skipper_serve_route_duration_seconds",
    ),
    (
        SeriesSet::AppMesh,
        [
            "kubernetes_namespace=\"shop\",kubernetes_pod_name=~\"web-canary-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"",
            "kubernetes_namespace=\"shop\",kubernetes_pod_name=~\"web-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"",
        ],
        "envoy_cluster_upstream_rq",
        "envoy_response_code!~\"5..\"",
        "envoy_cluster_upstream_rq_time",
    ),
    (
        SeriesSet::Knative,
        [
            "envoy_cluster_name=~\"shop/web-canary\"",
            "envoy_cluster_name=~\"shop/web\"",
        ],
        "envoy_cluster_upstream_rq",
        "envoy_response_code!~\"5..\"",
        "envoy_cluster_upstream_rq_time",
    ),
    (
        SeriesSet::Application,
        [
            "kubernetes_namespace=\"shop\",kubernetes_pod_name=~\"web-canary-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"",
            "kubernetes_namespace=\"shop\",kubernetes_pod_name=~\"web-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"",
        ],
        "http_request_duration_seconds_count",
        "status!~\"5..\"",
        "1000 * http_request_duration_seconds",
    ),
];

#[track_caller]
fn parses(query: &str) {
    if let Err(error) = promql_parser::parser::parse(query) {
        panic!("{query}: {error}");
    }
}

#[test]
fn every_set_asks_for_its_own_series() {
    let tabled: Vec<SeriesSet> = SETS.iter().map(|row| row.0).collect();
    assert_eq!(tabled, SeriesSet::ALL);
    for (set, selectors, counter, succeeded, histogram) in SETS {
        let (scale, histogram) = match histogram.split_once(" * ") {
            Some((factor, name)) => (format!("{factor} * "), name),
            None => (String::new(), histogram),
        };
        // APISIX has several latencies in one histogram.
        let more = if set == SeriesSet::Apisix {
            ",type=\"request\""
        } else {
            ""
        };
        for (side, selector) in [Side::Canary, Side::Stable].into_iter().zip(selectors) {
            let target = target(set, side);
            let rate = queries(&metric("request-success-rate"), &target, WINDOW, 0)
                .expect("a built-in metric");
            let all = format!("sum(rate({counter}{{{selector}}}[30000ms]))");
            assert_eq!(
                rate.value,
                format!(
                    "100 * (sum(rate({counter}{{{selector},{succeeded}}}[30000ms])) or vector(0)) / {all}"
                )
            );
            assert_eq!(
                rate.requests,
                Some(format!("sum(increase({counter}{{{selector}}}[30000ms]))"))
            );
            assert_eq!(
                rate.scrapes,
                Some(format!(
                    "max(count_over_time({counter}{{{selector}}}[30000ms]))"
                ))
            );
            assert_eq!(
                rate.age,
                Some(format!("time() - max(timestamp({counter}{{{selector}}}))"))
            );
            let duration = queries(&metric("request-duration"), &target, WINDOW, 0)
                .expect("a built-in metric");
            assert_eq!(
                duration.value,
                format!(
                    "{scale}histogram_quantile(0.99, sum by (le) (rate({histogram}_bucket{{{selector}{more}}}[30000ms])))"
                )
            );
            let average = Metric {
                aggregation: Some(Aggregation::Avg),
                ..metric("request-duration")
            };
            let average = queries(&average, &target, WINDOW, 0).expect("a built-in metric");
            assert_eq!(
                average.value,
                format!(
                    "{scale}sum(rate({histogram}_sum{{{selector}{more}}}[30000ms])) / sum(rate({histogram}_count{{{selector}{more}}}[30000ms]))"
                )
            );
            for made in [rate, duration, average] {
                parses(&made.value);
                for query in [made.requests, made.scrapes, made.age] {
                    parses(&query.expect("built-in metrics have all of them"));
                }
            }
        }
    }
}

#[test]
fn durations_take_the_aggregation() {
    for (aggregation, quantile) in [
        (Aggregation::P50, "0.5"),
        (Aggregation::P90, "0.9"),
        (Aggregation::P95, "0.95"),
        (Aggregation::P99, "0.99"),
    ] {
        let metric = Metric {
            aggregation: Some(aggregation),
            ..metric("request-duration")
        };
        let made = queries(&metric, &target(SeriesSet::Istio, Side::Canary), WINDOW, 0);
        let made = made.expect("a built-in metric").value;
        assert!(
            made.starts_with(&format!("histogram_quantile({quantile}, ")),
            "{made}"
        );
    }
}

#[test]
fn every_built_in_template_has_a_query_for_every_set() {
    for name in BUILT_IN_TEMPLATES {
        for set in SeriesSet::ALL {
            for side in [Side::Canary, Side::Stable] {
                let made = queries(&template(name), &target(set, side), WINDOW, 0);
                let made = made.expect("a built-in template");
                parses(&made.value);
                parses(&made.scrapes.expect("their series are known"));
                parses(&made.age.expect("their series are known"));
            }
        }
    }
    let of = |name, set| {
        queries(&template(name), &target(set, Side::Canary), WINDOW, 0)
            .expect("a built-in template")
            .value
    };
    let selector = "namespace=\"shop\",ingress=\"web.in\",canary!=\"\"";
    let all = format!("sum(rate(nginx_ingress_controller_requests{{{selector}}}[30000ms]))");
    assert_eq!(
        of("not-found-percentage", SeriesSet::Nginx),
        format!(
            "100 * (sum(rate(nginx_ingress_controller_requests{{{selector},status=\"404\"}}[30000ms])) or vector(0)) / {all}"
        )
    );
    assert_eq!(
        of("client-error-percentage", SeriesSet::Nginx),
        format!(
            "100 * (sum(rate(nginx_ingress_controller_requests{{{selector},status=~\"4..\"}}[30000ms])) or vector(0)) / {all}"
        )
    );
    let pods = "namespace=\"shop\",pod=~\"web-canary-[0-9a-z]+-[0-9a-z]+\"";
    assert_eq!(
        of("cpu-usage", SeriesSet::Nginx),
        format!(
            "1000 * avg(sum by (pod) (rate(container_cpu_usage_seconds_total{{{pods},container!=\"\"}}[30000ms])))"
        )
    );
    assert_eq!(
        of("memory-usage", SeriesSet::Nginx),
        format!(
            "avg(sum by (pod) (container_memory_working_set_bytes{{{pods},container!=\"\"}})) / 1048576"
        )
    );
    assert_eq!(
        of("error-log-rate", SeriesSet::Nginx),
        format!(
            "60 * (sum(rate(log_messages_total{{{pods},level=~\"(?i:error|critical|fatal|alert|emerg.*|panic)\"}}[30000ms])) or 0 * sum(rate(log_messages_total{{{pods}}}[30000ms])))"
        )
    );
}

#[test]
fn every_provider_has_a_set() {
    let keys = [
        "gatewayApi",
        "nginx",
        "istio",
        "apisix",
        "traefik",
        "contour",
        "linkerd",
        "kuma",
        "alb",
        "skipper",
        "gloo",
        "appMesh",
        "knative",
        "none",
    ];
    for key in keys {
        let set = SeriesSet::of_provider(key, GatewaySeries::Traefik);
        assert!(set.is_some(), "{key}");
    }
    assert_eq!(
        SeriesSet::of_provider("haproxy", GatewaySeries::Traefik),
        None
    );
    let gateway = |series| SeriesSet::of_provider("gatewayApi", series);
    assert_eq!(
        gateway(GatewaySeries::Traefik),
        Some(SeriesSet::TraefikGateway)
    );
    assert_eq!(gateway(GatewaySeries::Contour), Some(SeriesSet::Contour));
    assert_eq!(
        gateway(GatewaySeries::Application),
        Some(SeriesSet::Application)
    );
}

#[test]
fn the_plans_traffic_tells_set_and_route() {
    let traffic = vec![
        serde_json::from_value(serde_json::json!({"gatewayApi": {"httpRoutes": ["web", "api"]}}))
            .expect("a provider"),
    ];
    assert_eq!(
        SeriesSet::of_traffic(&traffic, GatewaySeries::Traefik),
        (SeriesSet::TraefikGateway, "web".to_owned())
    );
    for (traffic, set) in [
        (
            serde_json::json!({"istio": {"destinationRule": "a", "virtualServices": ["web"]}}),
            SeriesSet::Istio,
        ),
        (
            serde_json::json!({"gloo": {"upstream": "a", "virtualService": "web"}}),
            SeriesSet::Gloo,
        ),
    ] {
        let traffic = [serde_json::from_value(traffic).expect("a provider")];
        assert_eq!(
            SeriesSet::of_traffic(&traffic, GatewaySeries::Traefik),
            (set, "web".to_owned()),
            "the route, not what is copied"
        );
    }
    assert_eq!(
        SeriesSet::of_traffic(&[], GatewaySeries::Traefik),
        (SeriesSet::Application, String::new())
    );
}

#[test]
fn apisix_tells_versions_apart_by_the_nodes_that_answered() {
    let selector = |side| {
        let target = QueryTarget {
            canary_addresses: ["10.0.0.1", "10.96.0.9"].map(str::to_owned).into(),
            ..target(SeriesSet::Apisix, side)
        };
        let metric = metric("request-success-rate");
        let made = queries(&metric, &target, WINDOW, 0).expect("a built-in metric");
        parses(&made.value);
        made.requests.expect("requests are counted")
    };
    let rules = "sum(increase(apisix_http_status{route=~\"shop_web\\\\.in_.+\"";
    let nodes = "\"10\\\\.0\\\\.0\\\\.1|10\\\\.96\\\\.0\\\\.9\"";
    assert_eq!(
        selector(Side::Canary),
        format!("{rules},node=~{nodes}}}[30000ms]))")
    );
    assert_eq!(
        selector(Side::Stable),
        format!("{rules},node!~{nodes}}}[30000ms]))")
    );
}

#[test]
fn gloo_counts_by_upstream_where_the_user_names_one() {
    let selector = |side| {
        let target = QueryTarget {
            copied: "shop.http".into(),
            ..target(SeriesSet::Gloo, side)
        };
        let metric = metric("request-success-rate");
        let made = queries(&metric, &target, WINDOW, 0).expect("a built-in metric");
        parses(&made.value);
        made.value
    };
    let (canary, stable) = (selector(Side::Canary), selector(Side::Stable));
    let of_user = "|shop\\\\.http_[0-9a-zA-Z-]+\"";
    assert!(
        canary.contains("|web-svc-canary-shop\\\\.http_[0-9a-zA-Z-]+\""),
        "{canary}"
    );
    assert!(
        stable.contains(of_user) && !canary.contains(of_user),
        "{stable}"
    );
}

#[test]
fn names_are_literal_in_queries() {
    let evil = QueryTarget {
        namespace: "a\"b".into(),
        workload: "w.b".into(),
        ..target(SeriesSet::Application, Side::Stable)
    };
    let made = queries(&metric("request-success-rate"), &evil, WINDOW, 0).expect("built in");
    assert!(
        made.value.contains("kubernetes_namespace=\"a\\x22b\""),
        "{}",
        made.value
    );
    assert!(made.value.contains("=~\"w\\\\.b-["), "{}", made.value);
    parses(&made.value);
}

#[test]
fn pods_of_daemon_sets_are_told_apart_by_their_names() {
    let asked = |set, name: &str, side| {
        let target = QueryTarget {
            per_node: true,
            ..target(set, side)
        };
        let made = queries(&metric(name), &target, WINDOW, 0).expect("a built-in metric");
        parses(&made.value);
        made.value
    };
    let has = |query: &str, part: &str| assert!(query.contains(part), "{query}");
    for (side, name) in [(Side::Canary, "web-canary"), (Side::Stable, "web")] {
        let own = asked(SeriesSet::Application, "request-success-rate", side);
        has(
            &own,
            &format!("kubernetes_pod_name=~\"{name}-[0-9a-zA-Z]+\""),
        );
        let linkerd = asked(SeriesSet::Linkerd, "request-success-rate", side);
        has(&linkerd, &format!("daemonset=\"{name}\""));
    }
}

#[test]
fn sets_by_service_need_one() {
    for set in [
        SeriesSet::TraefikGateway,
        SeriesSet::Contour,
        SeriesSet::Gloo,
    ] {
        let bare = QueryTarget {
            service: String::new(),
            ..target(set, Side::Canary)
        };
        assert_eq!(
            queries(&metric("request-success-rate"), &bare, WINDOW, 0),
            Err(MetricQueryError::NoService)
        );
    }
    let bare = QueryTarget {
        port: None,
        ..target(SeriesSet::TraefikGateway, Side::Canary)
    };
    assert_eq!(
        queries(&metric("request-duration"), &bare, WINDOW, 0),
        Err(MetricQueryError::NoService)
    );
}

#[test]
fn a_metric_with_its_own_query_asks_that() {
    let own = Metric {
        query: Some("sum(rate(up{ns=\"{{ namespace }}\",pod=~\"{{ target }}-.*\",svc=\"{{ service }}\"}[{{ interval }}]))".into()),
        ..metric("mine")
    };
    let canary = target(SeriesSet::Istio, Side::Canary);
    let made = queries(&own, &canary, WINDOW, 0).expect("filled in");
    assert_eq!(
        made.value,
        "sum(rate(up{ns=\"shop\",pod=~\"web-canary-.*\",svc=\"web-svc-canary\"}[30s]))"
    );
    assert_eq!((made.requests, made.scrapes, made.age), (None, None, None));
    assert!(
        made.freshness
            .is_some_and(|asked| asked.query.contains("web-canary-.*")),
        "how fresh its series are is asked beside it"
    );
    let made = queries(&own, &canary, WINDOW, 10).expect("filled in");
    assert!(
        made.requests
            .is_some_and(|query| query.contains("istio_requests_total")),
        "asked for because requests must be counted"
    );
    let stable = target(SeriesSet::Istio, Side::Stable);
    let odd = Dur::from_millis(1_500);
    assert_eq!(
        filled(&own, MetricSourceKind::Prometheus, &stable, odd).as_deref(),
        Ok("sum(rate(up{ns=\"shop\",pod=~\"web-.*\",svc=\"web-svc\"}[1500ms]))")
    );
}

#[test]
fn what_is_not_built_in_has_no_query() {
    let error = queries(
        &metric("errors"),
        &target(SeriesSet::Istio, Side::Canary),
        WINDOW,
        0,
    );
    assert_eq!(
        error,
        Err(MetricQueryError::NotBuiltIn {
            name: "errors".into()
        })
    );
}

#[test]
fn shares_of_requests_know_that_they_are() {
    for name in ["request-success-rate", "request-duration"] {
        assert!(counts_requests(&metric(name)), "{name}");
    }
    assert!(counts_requests(&template("not-found-percentage")));
    assert!(!counts_requests(&template("cpu-usage")));
    let own = Metric {
        query: Some("x".into()),
        ..metric("request-success-rate")
    };
    assert!(!counts_requests(&own));
}

#[test]
fn revisions_of_knative_are_measured_by_their_names() {
    let asked = |side| {
        let target = QueryTarget {
            service: String::new(),
            port: None,
            revisions: Some(["web-00001".into(), "web-00002".into()]),
            ..target(SeriesSet::Knative, side)
        };
        let made = queries(&metric("request-success-rate"), &target, WINDOW, 0);
        made.expect("built in").value
    };
    let canary = asked(Side::Canary);
    assert!(
        canary.contains("envoy_cluster_name=~\"shop/web-00002\""),
        "{canary}"
    );
    let stable = asked(Side::Stable);
    assert!(
        stable.contains("envoy_cluster_name=~\"shop/web-00001\""),
        "{stable}"
    );
}

//! Regular expressions of matches are read before a cluster sees them.

use bellwether_api::document::load;

fn errors(traffic: &str, matched: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1
kind: Rollout
metadata: {{name: web, namespace: default}}
spec:
  application: shop
  workload: {{apiVersion: apps/v1, kind: Deployment, name: web}}
  service: {{name: web, port: 80}}
  strategy: {{abTest: {{iterations: 1, match: [{matched}]}}}}
  traffic: [{traffic}]
"
    );
    let found = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

const HTTP: &str = "{gatewayApi: {httpRoutes: [web]}}";

#[test]
fn what_no_data_plane_reads_is_refused_where_it_stands() {
    let found = errors(
        HTTP,
        "{headers: [{name: a, regex: 'in(side'}], path: {regex: '/[a'}}",
    );
    assert_eq!(
        found,
        [
            "in.yaml:8:67 spec.strategy.abTest.match[0].headers[0].regex: no data plane reads this \
             regular expression: unclosed group at character 3",
            "in.yaml:8:94 spec.strategy.abTest.match[0].path.regex: no data plane reads this regular \
             expression: unclosed character class at character 2",
        ]
    );
}

#[test]
fn what_only_pcre_reads_is_refused_where_the_data_plane_does_not() {
    let header = "{headers: [{name: a, regex: 'in(?=side)'}]}";
    let found = errors(HTTP, header);
    assert!(
        found.len() == 1
            && found[0].contains("gatewayApi.httpRoutes (HTTPRoute) cannot match by the regex")
            && found[0].contains("it looks around at character 3"),
        "{found:?}"
    );
    assert_eq!(errors("{nginx: {ingress: web}}", header), [""; 0]);
    assert_eq!(errors("{apisix: {route: web}}", header), [""; 0]);
}

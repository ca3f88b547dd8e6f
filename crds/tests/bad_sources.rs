//! Sources that say too little, too much, or the wrong thing.

use bellwether_api::document::load;

/// What is wrong with a component of these fields, paths below the component.
fn errors(component: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\n\
         metadata: {{name: shop, namespace: default}}\nspec:\n  destination: {{fleet: eu}}\n  \
         components:\n  - {{name: web, {component}}}\n"
    );
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    errors
        .iter()
        .map(|error| {
            let path = error.path.to_string();
            let meant = error.suggestion.as_deref();
            let meant = meant.map_or_else(String::new, |meant| format!(" ({meant}?)"));
            let path = path.trim_start_matches("spec.components[0]");
            format!("{}: {}{meant}", path.trim_start_matches('.'), error.message)
        })
        .collect()
}

#[track_caller]
fn check(component: &str, expected: &[&str]) {
    assert_eq!(errors(component), expected, "{component}");
}

#[test]
fn every_kind_of_source_is_accepted() {
    for component in [
        "helm: {repository: 'https://charts.example', chart: web, version: 1.2.0}",
        "helm: {repository: 'oci://registry.example/charts', chart: web, version: ~1.2, values: {a: {b: [1]}}}",
        "helm: {git: {url: 'https://git.example/web', tag: v1, path: charts/web}, hooks: false}",
        "git: {url: 'https://git.example/web', branch: main, path: deploy}",
        "git: {url: 'https://git.example/web', commit: 0123456789abcdef0123456789abcdef01234567}",
        "oci: {url: 'oci://registry.example/web', semver: ^1}",
        "helm: {repository: 'https://charts.example', chart: web, version: 1.2.0, \
         credentialsRef: {name: charts}, \
         valuesFrom: [{kind: Secret, name: web}, {kind: Secret, name: web, key: prod.yaml}]}",
        "git: {url: 'ssh://git@git.example/a/web', branch: main, credentialsRef: {name: key}, \
         knownHostsRef: {name: hosts}}",
        "git: {url: 'git@git.example:a/web', branch: main, credentialsRef: {name: key}}",
        "oci: {url: 'oci://registry.example/web', tag: v1, credentialsRef: {name: registry}}",
        "kustomize: {git: {url: 'https://git.example/web', semver: ^1, credentialsRef: {name: git}}}",
        "kustomize: {git: {url: 'https://git.example/web', semver: ^1}, path: prod, \
         images: [{name: web, newTag: v2}]}",
        "plugin: {name: web-service, params: {image: 'shop:1', ports: [80]}}",
        "plugin: {name: web-service}",
    ] {
        check(component, &[]);
    }
}

#[test]
fn there_is_exactly_one_source_and_one_revision() {
    check(
        "oci: {url: 'oci://r.example/a', tag: v1}, git: {url: 'https://g.example/a', branch: b}",
        &["oci: a component has exactly one source, found git and oci"],
    );
    check(
        "git: {url: 'https://g.example/a'}",
        &["git: a revision is exactly one of: branch, tag, semver, commit"],
    );
    check(
        "git: {url: 'https://g.example/a', branch: main, tag: v1}",
        &["git.tag: a revision is exactly one of, found branch and tag"],
    );
    check(
        "helm: {chart: web, version: 1.0.0}",
        &["helm: a chart comes from exactly one of: repository, git"],
    );
    check(
        "helm: {repository: 'https://c.example'}",
        &[
            "helm.chart: name the chart in the repository",
            "helm.version: say which version, exactly or as a range such as ~1.2",
        ],
    );
}

#[test]
fn addresses_are_of_schemes_that_are_fetched_and_hold_no_secret() {
    check(
        "helm: {repository: charts.example, chart: web, version: 1.0.0}",
        &[r#"helm.repository: "charts.example" is no address; use https://… or oci://…"#],
    );
    check(
        "git: {url: 'https://me:pass@g.example/a', branch: b}",
        &["git.url: an address holds no user and no password"],
    );
    check(
        "git: {url: 'git@g.example:a/b', branch: b}",
        &[
            "git: ssh needs credentialsRef: a secret with identity, the private key (bellwether secret \
             set)",
        ],
    );
    check(
        "git: {url: 'ssh://me:pass@g.example/a', branch: b, credentialsRef: {name: key}}",
        &["git.url: an address holds no password"],
    );
    check(
        "git: {url: 'ssh://g.example/a', branch: b, credentialsRef: {name: key}}",
        &[
            r#"git.url: "ssh://g.example/a" is no address; use ssh://USER@HOST/PATH or USER@HOST:PATH"#,
        ],
    );
    check(
        "oci: {url: 'https://r.example/a', digest: 'sha256:12', path: ../up}",
        &[
            r#"oci.url: "https://r.example/a" is no address; use oci://…"#,
            "oci.digest: a digest is sha256: and 64 hexadecimal digits",
            "oci.path: a folder is named from the root of its source, without ..",
        ],
    );
}

#[test]
fn a_plugin_has_a_name_and_a_map_of_parameters() {
    check(
        "plugin: {name: Web, params: {}}",
        &[
            r#"plugin.name: "Web" is no name; use a-z, 0-9 and -, with a letter or digit at both ends (web?)"#,
        ],
    );
    check(
        "plugin: {name: web, params: {}}, oci: {url: 'oci://r.example/a', tag: v1}",
        &["plugin: a component has exactly one source, found oci and plugin"],
    );
    let found = errors("plugin: {name: web, params: [1]}");
    assert!(
        found.len() == 1 && found[0].starts_with("plugin.params: "),
        "{found:?}"
    );
    let found = errors("plugin: {name: web, parms: {}}");
    assert!(
        found.len() == 1 && found[0].ends_with("plugin.parms: unknown field (params?)"),
        "{found:?}"
    );
}

#[test]
fn secrets_are_named_where_they_are_used() {
    check(
        "git: {url: 'https://g.example/a', branch: b, knownHostsRef: {name: hosts}}",
        &[
            "git.knownHostsRef: known hosts are for ssh://USER@HOST/PATH; https trusts by certificate",
        ],
    );
    check(
        "helm: {git: {url: 'https://g.example/a', branch: b}, credentialsRef: {name: git}}",
        &[
            "helm.credentialsRef: these are for a repository; those of Git stand at git.credentialsRef",
        ],
    );
    check(
        "helm: {repository: 'https://c.example', chart: w, version: 1.0.0, \
         valuesFrom: [{kind: Secret, name: Web, key: a/b}]}",
        &[
            r#"helm.valuesFrom[0].name: "Web" is no name; use a-z, 0-9 and -, with a letter or digit at both ends (web?)"#,
            "helm.valuesFrom[0].key: a key has 1 to 253 letters, digits, '-', '_' or '.'",
        ],
    );
    let found = errors(
        "helm: {repository: 'https://c.example', chart: w, version: 1.0.0, \
         valuesFrom: [{kind: ConfigMap, name: web}]}",
    );
    assert!(
        found.len() == 1
            && found[0].contains("helm.valuesFrom[0].kind")
            && found[0].contains("Secret"),
        "{found:?}"
    );
    let found = errors(
        "oci: {url: 'oci://r.example/a', tag: v1, credentialsRef: {name: a, namespace: other}}",
    );
    assert!(
        found.len() == 1 && found[0].contains("oci.credentialsRef.namespace: unknown field"),
        "{found:?}"
    );
}

#[test]
fn an_unknown_field_of_a_source_is_named_with_what_was_meant() {
    check(
        "helm: {repo: 'https://c.example', chart: w, version: 1.0.0}",
        &["helm.repo: unknown field (repository?)"],
    );
}

//! Overrides that change nothing, or something that they must not.

use bellwether_api::document::load;

const APPLICATION: &str = "apiVersion: bellwether.dev/v1alpha1
kind: Application
metadata: {name: shop}
spec:
  destination: {fleet: eu}
  overrides:
  - OVERRIDE
  components:
  - name: web
    manifests:
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec: {template: {spec: {containers: [{name: web, image: shop/web:1}]}}}
    - {apiVersion: v1, kind: Secret, metadata: {name: web}}
  - name: db
    manifests:
    - {apiVersion: v1, kind: ConfigMap, metadata: {name: db}}
";

/// Reads the application with one override; the errors below `spec.overrides[0]`.
fn errors(text: &str) -> Vec<String> {
    let text = APPLICATION.replace("OVERRIDE", text);
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    errors
        .iter()
        .map(ToString::to_string)
        .map(|error| {
            error
                .split_once("spec.overrides[0]")
                .map_or(error.clone(), |(_, rest)| rest.to_owned())
        })
        .collect()
}

#[test]
fn what_fits_is_accepted() {
    for text in [
        "{name: a, images: [{name: shop/web, newTag: '{{ cluster.labels.tag }}'}]}",
        "{name: a, remove: [{kind: ConfigMap, name: db}]}",
        "{name: a, clusters: [c1], args: [{target: {kind: Deployment}, append: [x]}]}",
        "{name: a, patches: [{target: {kind: Deployment}, jsonPatch: [{op: test, path: /metadata/name, value: web}, {op: add, path: /spec/paused, value: true}]}]}",
    ] {
        assert_eq!(errors(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn what_does_not_fit_is_named_with_what_was_meant() {
    for (text, expected) in [
        (
            "{name: a, values: {replicas: 3}}",
            ".values: none of the components is a chart or a plugin",
        ),
        (
            "{name: a, components: [web], values: {replicas: 3}}",
            ".components[0]: \"web\" is no chart and no plugin",
        ),
        ("{name: a, values: [3]}", ".values"),
        ("{name: a}", ": an override changes something"),
        (
            "{name: a, components: [wab], labels: {a: b}}",
            ".components[0]: the application has no component \"wab\"; did you mean \"web\"?",
        ),
        (
            "{name: a, replicas: [{target: {kind: Deployment, name: wab}, count: 2}]}",
            ".replicas[0].target: no object of these components is Deployment wab; did you mean \"web\"?",
        ),
        (
            "{name: a, replicas: [{target: {kind: Deploiment}, count: 2}]}",
            ".replicas[0].target: no object of these components is every Deploiment; did you mean \"Deployment\"?",
        ),
        (
            "{name: a, components: [db], remove: [{kind: Deployment}]}",
            ".remove[0]: no object of these components is every Deployment",
        ),
        (
            "{name: a, images: [{name: 'shop/web:1', newTag: '2'}]}",
            ".images[0].name: write the image without its tag and digest",
        ),
        (
            "{name: a, images: [{name: shop/wab, newTag: '2'}]}",
            ".images[0].name: no container of these components uses \"shop/wab\"; did you mean \"shop/web\"?",
        ),
        (
            "{name: a, images: [{name: shop/web}]}",
            ".images[0]: set newName, newTag or digest, or leave it out",
        ),
        (
            "{name: a, images: [{name: shop/web, digest: 'sha256:xyz'}]}",
            ".images[0].digest: a digest is sha256: and 64 digits of 0-9 and a-f",
        ),
        (
            "{name: a, patches: [{target: {kind: Secret}, merge: {data: {a: Yg==}}}]}",
            ".patches[0].target: a Secret's content stands in no other object",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}}]}",
            ".patches[0]: a patch has exactly one of jsonPatch, merge, strategic, text",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, strategic: {metadata: {name: b}}}]}",
            ".patches[0].strategic: apiVersion, kind, name and namespace make an object",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, strategic: {spec: {$setElementOrder/a: []}}}]}",
            ".patches[0].strategic: /spec/$setElementOrder/a: $setElementOrder/a is not supported",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, strategic: {spec: {replicas: '{{ cluster.nme }}'}}}]}",
            ".patches[0].strategic.spec.replicas: ",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, merge: {metadata: {name: b}}}]}",
            ".patches[0].merge: apiVersion, kind, name and namespace make an object",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, jsonPatch: [{op: replace, path: /kind, value: b}]}]}",
            ".patches[0].jsonPatch[0].path: apiVersion, kind, name and namespace make an object",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, jsonPatch: [{op: replace, path: spec.paused, value: true}]}]}",
            ".patches[0].jsonPatch[0].path: \"spec.paused\" is no JSON pointer; one begins with /; did you mean \"/spec/paused\"?",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, jsonPatch: [{op: add, path: /spec/paused}]}]}",
            ".patches[0].jsonPatch[0]: this operation needs a `value` other than null",
        ),
        (
            "{name: a, patches: [{target: {kind: Deployment}, jsonPatch: [{op: move, path: /spec/a}]}]}",
            ".patches[0].jsonPatch[0]: this operation needs `from`",
        ),
        (
            "{name: a, labels: {env: '{{ cluster.nam }}'}}",
            ".labels.env: failed to fill in \"{{ cluster.nam }}\": there is no placeholder \"cluster.nam\"",
        ),
        (
            "{name: a, labels: {'bellwether.dev/x': b}}",
            ".labels[\"bellwether.dev/x\"]: keys of bellwether.dev are the product's own",
        ),
    ] {
        let found = errors(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
    }
}

#[test]
fn fields_of_one_cluster_are_warned_of() {
    let text = APPLICATION
        .replace("  overrides:\n  - OVERRIDE\n", "")
        .replace("metadata: {name: db}}", "metadata: {name: db, uid: '7'}}");
    let loaded = load("in.yaml", text.as_bytes()).expect("it is accepted");
    let warnings: Vec<&str> = loaded
        .warnings
        .iter()
        .map(|one| one.message.as_str())
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("ConfigMap db: /metadata/uid"),
        "{warnings:?}"
    );
}

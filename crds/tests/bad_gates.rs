//! Waves and gates that can never do what they say.

use bellwether_api::document::load;

/// Reads an application whose one wave has these fields; the errors below `spec.waves[0]`.
fn errors(fields: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: bellwether.dev/v1alpha1\nkind: Application\nmetadata: {{name: shop}}\nspec:\n  \
         destination: {{fleet: eu}}\n  waves: [{{name: one, {fields}}}]\n  components:\n  - name: web\n    \
         manifests: [{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}]\n"
    );
    let errors = load("in.yaml", text.as_bytes()).err().unwrap_or_default();
    errors
        .iter()
        .map(|error| {
            let text = error.to_string();
            text.split_once("spec.waves[0]")
                .map_or(text.clone(), |(_, rest)| rest.to_owned())
        })
        .collect()
}

#[test]
fn gates_that_fit_are_accepted() {
    for fields in [
        "percent: 10",
        "progressDeadline: 10m",
        "before: [{window: {schedule: '0 9 * * 1-5', duration: 8h}}]",
        "before: [{window: {schedule: '*/5 * * * *', timeZone: Asia/Shanghai, duration: 1m}}]",
        "after: [{verdicts: {}}, {soak: 1m}]",
    ] {
        assert_eq!(errors(fields), Vec::<String>::new(), "{fields}");
    }
}

#[test]
fn gates_that_can_never_open_are_refused() {
    for (fields, expected) in [
        (
            "percent: 0",
            ".percent: a share of 0 takes no cluster; leave the wave out",
        ),
        (
            "percent: 10, clusters: [a]",
            ".percent: a wave has a share, or a selector and clusters, not both",
        ),
        (
            "progressDeadline: 0s",
            ".progressDeadline: a deadline of 0s has always passed",
        ),
        (
            "before: [{}]",
            ".before[0]: exactly one must be set of: approval, external, metric, soak, verdicts, window",
        ),
        (
            "before: [{soak: 1m, verdicts: {}}]",
            ".before[0]: exactly one may be set, found soak and verdicts",
        ),
        (
            "after: [{verdicts: {percent: 0}}]",
            ".after[0].verdicts.percent: a share of 0 asks for nothing",
        ),
        (
            "before: [{window: {schedule: 9am, duration: 8h}}]",
            ".before[0].window.schedule: failed to read \"9am\" as a schedule",
        ),
        (
            "before: [{window: {schedule: '0 9 * * *', duration: 0s}}]",
            ".before[0].window.duration: a window of 0s is never open",
        ),
        (
            "before: [{window: {schedule: '0 9 * * *', timeZone: Europe/Berlim, duration: 1h}}]",
            ".before[0].window.timeZone: failed to find the time zone \"Europe/Berlim\"; did you mean \"Europe/Berlin\"?",
        ),
    ] {
        let found = errors(fields);
        assert_eq!(found.len(), 1, "{fields}: {found:?}");
        assert!(found[0].starts_with(expected), "{fields}: {found:?}");
    }
}

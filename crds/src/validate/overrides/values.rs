use crate::{
    application::{ApplicationSpec, Component},
    document::FieldPath,
    overrides::Override,
    validate::finding::Findings,
};

/// Checks that there are charts or renderers which take an override's values.
pub(super) fn check(
    findings: &mut Findings,
    path: &FieldPath,
    one: &Override,
    spec: &ApplicationSpec,
) {
    let Some(values) = &one.values else {
        return;
    };
    let at = path.key("values");
    match values.as_object() {
        None => findings.error(&at, "values are a map"),
        Some(map) if map.is_empty() => {
            findings.error(&at, "set at least one value, or leave it out");
        }
        Some(_) => {}
    }
    let takes_values =
        |component: &Component| component.helm.is_some() || component.plugin.is_some();
    for (index, name) in one.components.iter().enumerate() {
        let component = spec.components.iter().find(|known| known.name == *name);
        if component.is_some_and(|component| !takes_values(component)) {
            let at = path.key("components").index(index);
            findings.error(
                &at,
                format!("{name:?} is no chart and no plugin, and takes no values"),
            );
        }
    }
    if one.components.is_empty() && !spec.components.iter().any(takes_values) {
        findings.error(
            &at,
            "none of the components is a chart or a plugin, which alone take values",
        );
    }
}

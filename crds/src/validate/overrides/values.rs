use crate::{
    application::{ApplicationSpec, Component},
    document::FieldPath,
    overrides::Override,
    validate::finding::Findings,
};

/// Checks that there are charts which take an override's values.
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
    let is_chart = |component: &Component| component.helm.is_some();
    for (index, name) in one.components.iter().enumerate() {
        let component = spec.components.iter().find(|known| known.name == *name);
        if component.is_some_and(|component| !is_chart(component)) {
            let at = path.key("components").index(index);
            findings.error(&at, format!("{name:?} is no chart and takes no values"));
        }
    }
    if one.components.is_empty() && !spec.components.iter().any(is_chart) {
        findings.error(
            &at,
            "none of the components is a chart, which alone takes values",
        );
    }
}

//! Which override set what.

mod values;

use bellwether_api::call::{FieldSet, OverridesExplained};

use super::{
    list::grid,
    style::{Mood, Style},
};

/// Draws the overrides of one cluster in their order, under them every field that one of them set, the same
/// of the values of charts, and what its rollouts leave to the fleet.
#[must_use]
pub fn explain(answer: &OverridesExplained, style: Style) -> String {
    let mut text = style.bold(&format!(
        "application {} in cluster {}: {}",
        answer.application, answer.cluster, answer.of
    ));
    text.push('\n');
    text.push_str(&overrides(answer, style));
    text.push_str(&values::values(&answer.values, style));
    if answer.defaults.is_empty() {
        return text;
    }
    let rows = answer.defaults.iter().map(|one| {
        let one = one.clone();
        vec![one.rollout, one.field, one.value, one.from]
    });
    let titles = ["ROLLOUT", "FIELD", "VALUE", "DEFAULT-OF"];
    format!("{text}\n{}", grid(&titles, rows))
}

fn overrides(answer: &OverridesExplained, style: Style) -> String {
    let mut text = String::new();
    if answer.overrides.is_empty() {
        text.push_str("it has no overrides: every cluster gets what is written\n");
        return text;
    }
    text.push_str("overrides in the order in which they are applied; later wins\n");
    let rows = answer.overrides.iter().enumerate().map(|(index, one)| {
        let (mood, word) = match (one.holds, one.changed) {
            (false, _) => (Mood::Idle, "not here".to_owned()),
            (true, 0) => (Mood::Warn, "changes nothing".to_owned()),
            (true, 1) => (Mood::Good, "1 field".to_owned()),
            (true, count) => (Mood::Good, format!("{count} fields")),
        };
        vec![
            (index + 1).to_string(),
            one.name.clone(),
            style.paint(mood, &word),
        ]
    });
    text.push_str(&grid(&["ORDER", "OVERRIDE", "HERE"], rows));
    if answer.fields.is_empty() {
        return text;
    }
    let rows = answer.fields.iter().map(|field| {
        let (last, earlier) = over(&field.set);
        let path = match field.path.as_str() {
            "" => "(the object)",
            path => path,
        };
        vec![
            field.object.clone(),
            path.to_owned(),
            last.map_or_else(String::new, |set| value(set.to.as_deref())),
            last.map(|set| set.by.clone()).unwrap_or_default(),
            earlier,
            field.written.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let titles = ["OBJECT", "FIELD", "VALUE", "SET-BY", "OVER", "WRITTEN"];
    format!("{text}\n{}", grid(&titles, rows))
}

/// Who set something last, and over whom.
fn over(set: &[FieldSet]) -> (Option<&FieldSet>, String) {
    let earlier = set.iter().rev().skip(1);
    let earlier: Vec<String> = earlier
        .map(|set| format!("{} ({})", set.by, value(set.to.as_deref())))
        .collect();
    let earlier = match earlier.is_empty() {
        true => "-".to_owned(),
        false => earlier.join(", "),
    };
    (set.last(), earlier)
}

fn value(to: Option<&str>) -> String {
    to.unwrap_or("removed").to_owned()
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        call::{DefaultExplained, FieldExplained, FieldSet, OverrideExplained, OverridesExplained},
        reference::NamespacedName,
    };

    use super::explain;
    use crate::render::Style;

    #[test]
    fn the_last_override_wins_and_what_it_went_over_is_told() {
        let set = |by: &str, to: Option<&str>| FieldSet {
            by: by.into(),
            to: to.map(str::to_owned),
        };
        let one = |name: &str, holds, changed| OverrideExplained {
            name: name.into(),
            holds,
            changed,
        };
        let answer = OverridesExplained {
            application: NamespacedName {
                namespace: "shop".into(),
                name: "web".into(),
            },
            cluster: "eu-1".into(),
            of: "what is stored".into(),
            overrides: vec![one("eu", true, 2), one("us", false, 0), one("big", true, 1)],
            fields: vec![
                FieldExplained {
                    object: "ConfigMap/shop/debug".into(),
                    path: String::new(),
                    written: None,
                    set: vec![set("eu", None)],
                },
                FieldExplained {
                    object: "Deployment/shop/web".into(),
                    path: "/spec/replicas".into(),
                    written: Some("2".into()),
                    set: vec![set("eu", Some("5")), set("big", Some("7"))],
                },
            ],
            values: Vec::new(),
            defaults: vec![DefaultExplained {
                rollout: "web-plan".into(),
                field: "alerts".into(),
                value: r#"[{"provider":{"name":"ops"},"severity":"Warn"}]"#.into(),
                from: "fleet prod".into(),
            }],
        };
        insta::assert_snapshot!(explain(&answer, Style::PLAIN));
    }
}

//! Which source set which value of a chart.

use bellwether_api::call::{ValuesExplained, ValuesSource};

use super::{super::list::grid, Mood, Style, over, value};

/// Draws the sources of each component in their order, and under them every value that one of them set.
pub(super) fn values(components: &[ValuesExplained], style: Style) -> String {
    let mut text = String::new();
    for one in components {
        text.push_str(&format!(
            "\nvalues of {} in the order in which they are laid over one another; later wins\n",
            one.component
        ));
        let sources = one.sources.iter().enumerate();
        let rows = sources.map(|(index, source)| {
            vec![
                (index + 1).to_string(),
                source.name.clone(),
                here(source, style),
            ]
        });
        text.push_str(&grid(&["ORDER", "SOURCE", "HERE"], rows));
        if one.values.is_empty() {
            continue;
        }
        let rows = one.values.iter().map(|set| {
            let (last, earlier) = over(&set.set);
            vec![
                set.path.clone(),
                last.map_or_else(String::new, |last| value(last.to.as_deref())),
                last.map(|last| last.by.clone()).unwrap_or_default(),
                earlier,
            ]
        });
        let table = grid(&["PATH", "VALUE", "SET-BY", "OVER"], rows);
        text.push_str(&format!("\n{table}"));
    }
    text
}

fn here(source: &ValuesSource, style: Style) -> String {
    let (mood, word) = match (source.holds, source.set) {
        (false, _) => (Mood::Idle, "not here".to_owned()),
        (true, None) => (Mood::Idle, "not shown".to_owned()),
        (true, Some(0)) => (Mood::Warn, "sets nothing".to_owned()),
        (true, Some(1)) => (Mood::Good, "1 value".to_owned()),
        (true, Some(count)) => (Mood::Good, format!("{count} values")),
    };
    style.paint(mood, &word)
}

#[cfg(test)]
mod tests {
    use bellwether_api::call::{FieldSet, ValueExplained, ValuesExplained, ValuesSource};

    use super::values;
    use crate::render::Style;

    #[test]
    fn sources_stand_in_their_order_and_secrets_show_nothing() {
        let source = |name: &str, holds, set| ValuesSource {
            name: name.into(),
            holds,
            set,
        };
        let set = |by: &str, to: Option<&str>| FieldSet {
            by: by.into(),
            to: to.map(str::to_owned),
        };
        let found = ValuesExplained {
            component: "web".into(),
            sources: vec![
                source("helm.valuesFrom[0] (secret web, values.yaml)", true, None),
                source("helm.values", true, Some(2)),
                source("eu", true, Some(1)),
                source("us", false, Some(0)),
            ],
            values: vec![
                ValueExplained {
                    path: "/ingress/host".into(),
                    set: vec![set("helm.values", Some(r#""svc.ink""#))],
                },
                ValueExplained {
                    path: "/replicaCount".into(),
                    set: vec![set("helm.values", Some("3")), set("eu", Some("5"))],
                },
            ],
        };
        insta::assert_snapshot!(values(&[found], Style::PLAIN));
    }
}

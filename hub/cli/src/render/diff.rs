//! Differences between releases, by groups of clusters.

use bellwether_api::call::{DiffChange, DiffGroup, ObjectDiff, ReleaseDiff};

use super::style::{Mood, Style};

/// Names that a heading lists.
const MAX_NAMES: usize = 8;

/// Draws a comparison.
#[must_use]
pub fn diff(found: &ReleaseDiff, style: Style) -> String {
    let title = format!(
        "application {}: {} → {}",
        found.application, found.from, found.to
    );
    let title = if style.glyphs {
        title
    } else {
        title.replace('→', "->")
    };
    let mut text = style.bold(&title);
    text.push('\n');
    for group in &found.groups {
        text.push_str(&drawn(group, found, style));
    }
    if !found.same.is_empty() {
        let names = clusters(&found.same, style);
        text.push_str(&format!("no difference in {names}\n"));
    }
    for one in &found.unknown {
        let line = format!("{}: not compared: {}", one.cluster, one.why);
        text.push_str(&format!("{}\n", style.paint(Mood::Warn, &line)));
    }
    if found.groups.is_empty() && found.same.is_empty() && found.unknown.is_empty() {
        text.push_str("no cluster has it or shall get it\n");
    }
    text
}

/// `12 clusters: c1, c2, …`.
fn clusters(names: &[String], style: Style) -> String {
    let count = match names.len() {
        1 => "1 cluster".to_owned(),
        count => format!("{count} clusters"),
    };
    let mut shown: Vec<&str> = names.iter().map(String::as_str).take(MAX_NAMES).collect();
    if names.len() > MAX_NAMES {
        shown.push(style.pick("…", "..."));
    }
    format!("{count}: {}", shown.join(", "))
}

fn drawn(group: &DiffGroup, found: &ReleaseDiff, style: Style) -> String {
    let mut text = format!("{}\n", style.bold(&clusters(&group.clusters, style)));
    for object in &group.objects {
        let (old, new) = match object.change {
            DiffChange::Added => ("/dev/null", found.to.as_str()),
            DiffChange::Removed => (found.from.as_str(), "/dev/null"),
            DiffChange::Changed => (found.from.as_str(), found.to.as_str()),
        };
        text.push_str(&style.paint(Mood::Bad, &format!("--- {}  {old}", object.object)));
        text.push('\n');
        text.push_str(&style.paint(Mood::Good, &format!("+++ {}  {new}", object.object)));
        text.push('\n');
        text.push_str(&lines(object, style));
    }
    text
}

fn lines(object: &ObjectDiff, style: Style) -> String {
    if object.text.is_empty() {
        return "  (too long to show)\n".to_owned();
    }
    let line = |line: &str| {
        let painted = match line.as_bytes().first() {
            Some(b'+') => style.paint(Mood::Good, line),
            Some(b'-') => style.paint(Mood::Bad, line),
            Some(b'@') => style.paint(Mood::Busy, line),
            _ => line.to_owned(),
        };
        format!("{painted}\n")
    };
    object.text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use bellwether_api::{
        call::{DiffChange, DiffGroup, NotCompared, ObjectDiff, ReleaseDiff},
        reference::NamespacedName,
    };

    use super::diff;
    use crate::render::Style;

    fn found() -> ReleaseDiff {
        let object = |object: &str, change, text: &str| ObjectDiff {
            object: object.into(),
            change,
            text: text.into(),
        };
        ReleaseDiff {
            application: NamespacedName {
                namespace: "shop".into(),
                name: "web".into(),
            },
            from: "revision 3".into(),
            to: "revision 4".into(),
            groups: vec![
                DiffGroup {
                    clusters: (1..=12).map(|number| format!("c{number}")).collect(),
                    objects: vec![object(
                        "Deployment/shop/web",
                        DiffChange::Changed,
                        "@@ -8,3 +8,3 @@\n       containers:\n-      - image: web:1\n+      - image: web:2\n",
                    )],
                },
                DiffGroup {
                    clusters: vec!["edge".into()],
                    objects: vec![
                        object(
                            "ConfigMap/shop/edge",
                            DiffChange::Added,
                            "@@ -0,0 +1 @@\n+kind: ConfigMap\n",
                        ),
                        object("ConfigMap/shop/huge", DiffChange::Removed, ""),
                    ],
                },
            ],
            same: vec!["lab".into()],
            unknown: vec![NotCompared {
                cluster: "far".into(),
                why: "its agent has not said yet what runs there".into(),
            }],
        }
    }

    #[test]
    fn clusters_with_the_same_difference_stand_together() {
        insta::assert_snapshot!(diff(&found(), Style::PLAIN));
    }

    #[test]
    fn colours_are_only_where_they_may_be() {
        assert!(!diff(&found(), Style::GLYPHS).contains('\x1b'));
        let colourful = Style {
            colour: true,
            glyphs: true,
        };
        assert!(diff(&found(), colourful).contains("\x1b["));
    }
}

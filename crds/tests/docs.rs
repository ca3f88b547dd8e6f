//! Every example of the pages is one that can be applied.

use std::{fs, path::Path};

use bellwether_api::document::load;

/// The YAML blocks of a page.
fn examples(text: &str) -> Vec<String> {
    let blocks = text.split("```yaml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next())
        .map(str::to_owned)
        .collect()
}

/// Every example of a page is accepted, and nothing is to be warned of.
fn can_be_applied(path: &Path) {
    let name = path.display().to_string();
    let examples = examples(&fs::read_to_string(path).expect("a page is text"));
    assert!(!examples.is_empty(), "{name} has no example");
    for example in examples {
        let loaded = load(&name, example.as_bytes());
        let loaded = loaded.unwrap_or_else(|errors| {
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            panic!("{}", errors.join("\n"))
        });
        assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
    }
}

#[test]
fn example_of_hooks_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/hooks.md"));
}

#[test]
fn examples_of_strategies_can_be_applied() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/strategies");
    let mut pages = 0;
    for entry in fs::read_dir(&directory).expect("the pages") {
        can_be_applied(&entry.expect("a page").path());
        pages += 1;
    }
    assert!(pages >= 4, "one page a strategy, {pages} were found");
}

#[test]
fn the_example_of_a_workload_of_somebody_else_can_be_applied() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/adopted-workloads.md");
    can_be_applied(&page);
}

#[test]
fn the_example_of_alerts_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/alerts.md"));
}

#[test]
fn the_example_of_overrides_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/overrides.md"));
}

#[test]
fn the_documents_among_the_examples_of_sources_can_be_applied() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sources.md");
    let text = fs::read_to_string(page).expect("a page is text");
    let documents = examples(&text)
        .into_iter()
        .filter(|example| example.starts_with("apiVersion"));
    let mut plugins = 0;
    for document in documents {
        // Their Rollouts have no metrics, which is warned of and beside the point there.
        load("sources.md", document.as_bytes()).expect("it can be applied");
        plugins += usize::from(document.contains("plugin:"));
    }
    assert_eq!(plugins, 1, "the plugin is among them");
}

#[test]
fn the_example_of_releases_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/releases.md"));
}

#[test]
fn the_example_of_waves_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/waves.md"));
}

#[test]
fn the_example_of_sync_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sync.md"));
}

#[test]
fn the_example_of_placement_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/placement.md"));
}

#[test]
fn the_example_of_dependencies_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dependencies.md"));
}

#[test]
fn the_example_of_records_in_git_can_be_applied() {
    can_be_applied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gitops.md"));
}

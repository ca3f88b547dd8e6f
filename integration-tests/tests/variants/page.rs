//! Examples of the pages in docs, for tests that run them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

/// The first YAML example of a page, such as `waves.md`, that has this text in it.
pub fn example(page: &str, marker: &str) -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page);
    let text = fs::read_to_string(file)?;
    let mut examples = text
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    examples
        .find(|example| example.contains(marker))
        .map(str::to_owned)
        .with_context(|| format!("{page} has no example with {marker:?}"))
}

/// The text with each of these in place of what the page has: names, addresses and times of the test.
pub fn fitted(text: &str, changes: &[(&str, &str)]) -> Result<String> {
    let mut text = text.to_owned();
    for (from, to) in changes {
        ensure!(text.contains(from), "the example has no {from:?}:\n{text}");
        text = text.replace(from, to);
    }
    Ok(text)
}

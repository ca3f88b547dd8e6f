//! Pages that say which test shows what name tests that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Pages whose tables end in a column of tests, and how many rows they have at least.
const PAGES: &[(&str, usize)] = &[
    ("docs/COMPARISON.md", 31),
    ("docs/reference/distribution.md", 34),
    ("docs/reference/faults.md", 31),
    (INVARIANTS, 20),
];
/// Says which rule is judged where, and without which guard it breaks.
const INVARIANTS: &str = "docs/reference/invariants.md";
/// Folders without sources of ours.
const SKIPPED: &[&str] = &["target", ".git", ".build"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !SKIPPED.contains(&name.as_ref()) {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// A test, and the parts of the path of its file.
type Test = (String, Vec<String>);

/// Every test of the sources: functions with a test attribute, and cases of the tests on clusters.
fn tests() -> Vec<Test> {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source is text");
        let parts: Vec<String> = file
            .strip_prefix(root())
            .expect("a file of the repository")
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        let on_clusters = ["fleet", "variants"].map(|suite| ["integration-tests", "tests", suite]);
        let names = if on_clusters.iter().any(|one| parts.iter().take(3).eq(one)) {
            cases(&text)
        } else {
            functions(&text)
        };
        found.extend(names.into_iter().map(|name| (name, parts.clone())));
    }
    found
}

fn functions(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.split_once("fn ").filter(|_| is_test);
        if let Some((_, rest)) = function {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            found.push(name.to_owned());
            is_test = false;
        }
    }
    found
}

/// The names in `("name", "namespace", test)`; the namespace may be a constant.
fn cases(text: &str) -> Vec<String> {
    let dense: String = text.split_whitespace().collect();
    dense
        .split("(\"")
        .skip(1)
        .filter_map(|rest| {
            let (name, rest) = rest.split_once("\",")?;
            let (namespace, _) = rest.split_once(',')?;
            let is_text = namespace.len() > 2 && namespace.matches('"').count() == 2;
            let mut letters = namespace.chars();
            let is_constant = letters.all(|one| one.is_ascii_uppercase() || one == '_');
            let case = (is_text || is_constant) && name.contains('_') && !name.contains('"');
            case.then(|| name.to_owned())
        })
        .collect()
}

/// The last cell of every row of a page's tables.
fn last_cells(text: &str) -> Vec<&str> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| row.trim_end().strip_suffix('|')?.rsplit('|').next())
        .map(str::trim)
        .filter(|cell| *cell != "shown by")
        .collect()
}

fn exists(named: &str, tests: &[Test]) -> bool {
    let (of, name) = match named.rsplit_once("::") {
        Some((of, name)) => (Some(of.to_owned()), name),
        None => (None, named),
    };
    tests
        .iter()
        .any(|(test, parts)| test == name && of.as_ref().is_none_or(|of| parts.contains(of)))
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = tests();
    assert!(tests.len() > 500, "only {} tests were found", tests.len());
    for (page, rows) in PAGES {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        let cells = last_cells(&text);
        assert!(cells.len() >= *rows, "{page}: only {} rows", cells.len());
        let mut missing = BTreeSet::new();
        for cell in cells {
            let named: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
            assert!(
                !named.is_empty() || cell.contains("not yet"),
                "{page}: a row with neither a test nor \"not yet\": {cell}"
            );
            missing.extend(named.into_iter().filter(|name| !exists(name, &tests)));
        }
        assert!(missing.is_empty(), "{page} names no tests: {missing:?}");
    }
}

/// What stands in backticks, but for tests, which the page's last column names.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn is_rule(text: &str) -> bool {
    text.split_once('-').is_some_and(|(number, _)| {
        let digits = number.trim_start_matches(['I', 'R']);
        digits.len() < number.len() && digits.parse::<u32>().is_ok()
    })
}

/// Names of rules that the simulation and the checker of the hub's decisions judge by.
fn rules_judged() -> BTreeSet<String> {
    let mut files = vec![root().join("hub/core/src/check.rs")];
    rust_files(&root().join("integration-tests/sim/src"), &mut files);
    let texts = files
        .iter()
        .map(|file| fs::read_to_string(file).expect("a source is text"));
    let literals = texts.flat_map(|text| {
        let parts: Vec<String> = text
            .split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        parts
    });
    literals.filter(|literal| is_rule(literal)).collect()
}

/// The variants of the enum of guards that can be removed.
fn mutants() -> BTreeSet<String> {
    let file = root().join("integration-tests/sim/src/mutant.rs");
    let text = fs::read_to_string(file).expect("a source is text");
    let variants = text
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','));
    let variants = variants.filter(|name| *name != "None");
    variants.map(str::to_owned).collect()
}

#[test]
fn every_rule_and_mutant_of_the_simulation_is_on_its_page() {
    let page = fs::read_to_string(root().join(INVARIANTS)).expect("a page");
    let rows: String = page.lines().filter(|line| line.starts_with("| ")).collect();
    let quoted = quoted(&rows);
    let told: BTreeSet<String> = quoted
        .iter()
        .filter(|name| is_rule(name))
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(told, rules_judged(), "rules on the page, and in the code");
    let mutants = mutants();
    assert!(
        mutants.len() > 20,
        "only {} mutants were found",
        mutants.len()
    );
    let untold: Vec<&String> = mutants
        .iter()
        .filter(|name| !quoted.contains(name.as_str()))
        .collect();
    assert!(untold.is_empty(), "{INVARIANTS} does not name {untold:?}");
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let tests = tests();
    for (name, is_test) in [
        ("every_test_that_a_page_names_exists", true),
        ("pages::every_test_that_a_page_names_exists", true),
        ("fleet::every_test_that_a_page_names_exists", false),
        ("sc_k2_last_step_is_clamped", true),
        ("nginx::golden", true),
        ("last_cells", false),
        ("bare", false),
    ] {
        assert_eq!(exists(name, &tests), is_test, "{name}");
    }
}

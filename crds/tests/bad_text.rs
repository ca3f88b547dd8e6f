//! Inputs that are refused before anything is understood: syntax, limits, bombs.

use std::fmt::Write as _;

use bellwether_api::document::{
    DocumentError, ErrorCode, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, MAX_ERRORS,
    MAX_INPUT_BYTES, load,
};

fn errors(input: &[u8]) -> Vec<String> {
    let errors = load("in.yaml", input).expect_err("the input is wrong");
    errors.iter().map(ToString::to_string).collect()
}

fn fleet(body: &str) -> String {
    format!("apiVersion: bellwether.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: eu}}\n{body}")
}

#[test]
fn text_that_is_no_document() {
    let table: &[(&[u8], &[&str])] = &[
        (b"", &["in.yaml: there is no document"]),
        (b"# nothing\n---\n", &["in.yaml: there is no document"]),
        (
            b"\xff\xfea\0",
            &["in.yaml: the input is not UTF-8 text (byte 0)"],
        ),
        (
            b"a: \0",
            &["in.yaml: the input holds a NUL character (byte 3)"],
        ),
        (
            b"- 1",
            &["in.yaml:1:1: expected an object with apiVersion, kind, metadata and spec"],
        ),
        (
            b"hello",
            &["in.yaml:1:1: expected an object with apiVersion, kind, metadata and spec"],
        ),
        (
            b"a: 1\n",
            &[
                "in.yaml:1:1 apiVersion: required field is missing",
                "in.yaml:1:1 kind: required field is missing",
            ],
        ),
    ];
    for (input, expected) in table {
        assert_eq!(errors(input), *expected);
    }
}

#[test]
fn a_byte_order_mark_is_dropped() {
    let text = format!("\u{feff}{}", fleet("spec: {clusters: [a]}"));
    assert!(load("in.yaml", text.as_bytes()).is_ok());
}

#[test]
fn faults_of_yaml_have_their_place() {
    for (body, expected) in [
        (
            "spec: {clusters: [a}\n",
            &["in.yaml:4:18: mismatched bracket '[' closed by '}'"][..],
        ),
        (
            "spec: {clusters: [!x a]}\n",
            &["in.yaml:4:22: the tag !x is not supported here"],
        ),
        (
            "spec: {clusters: [\"a\\0b\"]}\n",
            &["in.yaml:4:19: a text holds a NUL character"],
        ),
        (
            "spec: {clusters: [*a]}\n",
            &["in.yaml:4:19: while parsing node, found unknown anchor"],
        ),
        (
            "spec: {clusters: &a [*a]}\n",
            &["in.yaml:4:22: an alias stands inside the value that it names"],
        ),
        (
            "spec: {clusters: [.inf]}\n",
            &["in.yaml:4:19: .inf is no number that JSON can carry"],
        ),
        ("spec: {[a]: b}\n", &["in.yaml:4:8: a key must be a text"]),
        (
            "spec:\n  clusters: [a]\n  clusters: [b]\n  clusters: [c]\n",
            &[
                "in.yaml:6:3: the key \"clusters\" stands here twice; the first is at 5:3",
                "in.yaml:7:3: the key \"clusters\" stands here twice; the first is at 5:3",
            ],
        ),
    ] {
        assert_eq!(errors(fleet(body).as_bytes()), expected, "{body}");
    }
}

#[test]
fn a_fault_in_one_document_hides_nothing_in_the_others() {
    let text = format!(
        "{}---\n{}---\n{}",
        fleet("spec: {clutsers: [a]}\n"),
        "a: [\n",
        fleet("spec: {clusters: 7}\n")
    );
    let errors = errors(text.as_bytes());
    assert_eq!(
        errors[0],
        "in.yaml:4:8 spec.clutsers: unknown field; did you mean \"clusters\"?"
    );
    assert!(
        errors[1].starts_with("in.yaml:7:1: ") || errors[1].starts_with("in.yaml:6:"),
        "{errors:?}"
    );
    assert_eq!(
        errors[2],
        "in.yaml:11:18 spec.clusters: expected a list, found the number 7"
    );
    assert_eq!(errors.len(), 3);
}

#[test]
fn alias_bombs_are_refused_at_the_alias_that_passes_the_limit() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").expect("a String takes everything");
    }
    assert_eq!(
        errors(fleet(&text).as_bytes()),
        ["in.yaml:7:45: aliases expand to more than 10000 values"]
    );
    let long = "x".repeat(100_000);
    let text = fleet(&format!(
        "a: &a {long}\nb: [{}]",
        vec!["*a"; 900].join(", ")
    ));
    assert_eq!(
        errors(text.as_bytes()),
        ["in.yaml:5:45: aliases expand to more than 1024 KiB"]
    );
    let text = fleet(&format!("a: &a x\nb: [{}]", vec!["*a"; 2_000].join(", ")));
    assert_eq!(
        errors(text.as_bytes()),
        ["in.yaml:5:4005: more than 1000 aliases in one document"]
    );
    // A chain of anchors is deep without being deep in the text.
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..100 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).expect("a String takes everything");
    }
    let found = errors(fleet(&text).as_bytes());
    assert!(
        found[0].ends_with("more than 64 objects and lists inside each other"),
        "{found:?}"
    );
}

/// The first thing that is wrong with a text that opens so many collections, and then is no YAML any more.
fn too_deep(start: &str, open: &str, depth: usize) -> DocumentError {
    let text = format!("{start}{}\u{1}\t\"", open.repeat(depth));
    let found = load("in.yaml", text.as_bytes()).expect_err("it is too deep");
    assert_eq!(found.len(), 1, "{open:?} {depth} {found:?}");
    found.into_iter().next().expect("one")
}

/// What lies beyond is not read: neither how much it is nor what is wrong with it changes what is said.
#[test]
fn deep_nesting_is_refused_where_it_begins() {
    let limit = "more than 64 objects and lists inside each other";
    let spec = fleet("spec:\n  ");
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let text = format!(
            "{spec}{}x{}",
            open.repeat(MAX_DEPTH),
            close.repeat(MAX_DEPTH)
        );
        let found = errors(text.as_bytes());
        assert!(found[0].ends_with(limit), "{open:?} {found:?}");
    }
    for (start, open, most) in [
        (spec.as_str(), "[", 900_000),
        (&spec, "{a: ", 200_000),
        (&spec, "- ", 400_000),
        ("{\"a\":", "[", 900_000),
    ] {
        let found = too_deep(start, open, 1_000);
        assert!(found.to_string().ends_with(limit), "{open:?} {found}");
        let opened = found.column as usize / open.len();
        assert!(opened < 5 * MAX_DEPTH, "{open:?} {found}");
        assert_eq!(too_deep(start, open, most), found, "{open:?}");
    }
}

#[test]
fn sizes_are_limited_by_name() {
    let text = vec![b'x'; MAX_INPUT_BYTES + 1];
    assert_eq!(
        errors(&text),
        ["in.yaml: the input has 4194305 bytes; at most 4194304 (4 MiB) are read"]
    );
    let text = fleet(&format!("# {}\n", "x".repeat(MAX_DOCUMENT_BYTES)));
    let found = errors(format!("---\n{text}").as_bytes());
    assert!(
        found[0].starts_with("in.yaml:1:1: the document has 10"),
        "{found:?}"
    );
    assert!(
        found[0].ends_with("at most 1048576 (1 MiB) are read"),
        "{found:?}"
    );
    let text = "---\na: 1\n".repeat(MAX_DOCUMENTS + 1);
    let found = errors(text.as_bytes());
    assert_eq!(found.len(), MAX_ERRORS);
    let mut text = String::new();
    for index in 0..=MAX_DOCUMENTS {
        writeln!(
            text,
            "---\n{}",
            fleet("spec: {clusters: [a]}").replace("eu", &format!("f{index}"))
        )
        .expect("a String takes everything");
    }
    assert_eq!(
        errors(text.as_bytes()),
        ["in.yaml:10001:1: more than 2000 documents in one input"]
    );
    let text = fleet(&format!("spec: {{clusters: [{}]}}", "a,".repeat(300_000)));
    assert!(errors(text.as_bytes())[0].ends_with("more than 200000 values in one document"));
}

#[test]
fn errors_are_counted_and_cut() {
    let mut body = String::from("spec:\n");
    for index in 0..5_000 {
        writeln!(body, "  field{index}: 1").expect("a String takes everything");
    }
    let found = load("in.yaml", fleet(&body).as_bytes()).expect_err("no such fields");
    assert_eq!(found.len(), MAX_ERRORS);
    let last = found.last().expect("not empty");
    assert_eq!(last.code, ErrorCode::Limit);
    assert_eq!(
        last.to_string(),
        "in.yaml: there are more errors than the 100 that are shown"
    );
}

//! Decisions are numbered without holes, listed in their index, and each says what was decided and why.

use crate::files;

const DIRECTORY: &str = "docs/decisions/";
const INDEX: &str = "docs/decisions/README.md";
const SECTIONS: [&str; 3] = ["\n## Context\n", "\n## Decision\n", "\n## Consequences\n"];

/// What is wrong with the decision at place `place` (from 1), if anything is.
fn problem(place: usize, name: &str, text: &str, index: &str) -> Option<String> {
    if !name.starts_with(&format!("{place:04}-")) {
        return Some(format!("{name} should be number {place:04}"));
    }
    if let Some(section) = SECTIONS.iter().find(|section| !text.contains(**section)) {
        return Some(format!("{name} has no section '{}'", section.trim()));
    }
    if !text.contains("\nStatus: ") {
        return Some(format!("{name} has no line 'Status: …'"));
    }
    (!index.contains(&format!("]({name})"))).then(|| format!("{INDEX} does not list {name}"))
}

#[test]
fn decisions_are_in_order() {
    let documents = files::documents();
    let index = files::file(INDEX).text;
    let decisions = documents.iter().filter_map(|d| Some((d.path.strip_prefix(DIRECTORY)?, &d.text)));
    let findings: Vec<_> = decisions
        .filter(|(name, _)| *name != "README.md")
        .enumerate()
        .filter_map(|(i, (name, text))| problem(i + 1, name, text, &index))
        .collect();
    files::assert_none("docs/decisions", &findings);
}

#[test]
fn it_fires() {
    let whole = "# 1. X\n\nStatus: accepted\n\n## Context\n\n## Decision\n\n## Consequences\n";
    let index = "- [1. X](0001-x.md)";
    assert_eq!(problem(1, "0001-x.md", whole, index), None);
    assert!(problem(2, "0001-x.md", whole, index).is_some());
    assert!(problem(1, "0001-x.md", whole, "").is_some());
    for section in SECTIONS.iter().chain(&["\nStatus: "]) {
        assert!(problem(1, "0001-x.md", &whole.replace(section, "\n"), index).is_some(), "{section}");
    }
}

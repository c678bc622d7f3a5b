//! `docs/ARCHITECTURE.md` says what always holds, and for each of these things the test that checks it.
//!
//! A row of its table reads `| invariant | [file](link) test, test |`; the tests it names must stand in the
//! files that it links. What belongs to a part that is not built yet says so: `not built yet`, and no test.

use crate::files;

/// The invariants, each by words that its row must contain.
const EXPECTED: &[&str] = &[
    "perform no I/O",
    "forwarded before it is recorded",
    "sealed segment never changes",
    "before a verified copy exists",
    "through the one table",
    "share a transaction",
    "lease",
    "has a limit",
    "can panic or grow the process",
    "never waits for storage",
    "manifest exists before",
    "at most 200 ms",
    "never lost silently",
];

const NOT_BUILT: &str = "not built yet";

/// A row of the table: its text, the file that it links and the tests that it names, for each link.
struct Row {
    text: String,
    tests: Vec<(String, String)>,
    not_built: bool,
}

/// The rows of the section `## Invariants`.
fn rows(architecture: &str) -> Vec<Row> {
    let section = architecture.split("\n## Invariants").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let table = section.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| ---"));
    table.skip(1).filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.trim_matches('|').split('|');
    let text = cells.next()?.trim().to_owned();
    let checks = cells.next().unwrap_or_default();
    let mut tests = Vec::new();
    for linked in checks.split('[').skip(1) {
        let (file, names) = linked.split_once("](").and_then(|(_, l)| l.split_once(')')).unwrap_or_default();
        for name in names.split('`').skip(1).step_by(2) {
            tests.push((file.trim_start_matches("../").to_owned(), name.to_owned()));
        }
    }
    Some(Row { text, tests, not_built: checks.contains(NOT_BUILT) })
}

/// What is wrong with a row, if anything is.
fn problem(row: &Row, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if row.tests.is_empty() && !row.not_built {
        return Some(format!("no test checks that {}", row.text));
    }
    let missing = |(file, name): &&(String, String)| {
        !read(file).is_some_and(|source| source.contains(&format!("fn {name}(")))
    };
    let (file, name) = row.tests.iter().find(missing)?;
    Some(format!("{file} has no test {name}"))
}

#[test]
fn each_invariant_stands_there_and_has_its_test() {
    let architecture = files::file("docs/ARCHITECTURE.md").text;
    let rows = rows(&architecture);
    let read = |path: &str| std::fs::read_to_string(files::root().join(path)).ok();
    let mut findings: Vec<_> = rows.iter().filter_map(|row| problem(row, &read)).collect();
    for words in EXPECTED.iter().filter(|words| !rows.iter().any(|row| row.text.contains(**words))) {
        findings.push(format!("no row says '{words}'"));
    }
    files::assert_none("the invariants of docs/ARCHITECTURE.md", &findings);
}

#[test]
fn it_fires() {
    let document = "# A\n\n## Invariants\n\n| what | checked by |\n| --- | --- |\n\
        | good | [x](../crates/x.rs) `holds`, `holds_too` |\n\
        | gone | [x](../crates/x.rs) `holds_not` |\n\
        | bare | by looking at it |\n\
        | later | not built yet |\n\n## Next\n\n| other | table |\n";
    let read = |path: &str| (path == "crates/x.rs").then(|| "fn holds() {} fn holds_too() {}".to_owned());
    let problems: Vec<_> = rows(document).iter().map(|row| problem(row, &read)).collect();
    let expected = [None, Some("crates/x.rs has no test holds_not"), Some("no test checks that bare"), None];
    assert_eq!(problems, expected.map(|p| p.map(str::to_owned)));
}

//! Every Rust file begins with a `//!` header that says what it is: the first thing that a reader sees.

use crate::files;

/// Shorter than this says nothing: `//! Utilities.`
const HEADER_CHARS_MIN: usize = 20;

/// What is wrong with the header of a file, if anything is.
fn problem(source: &str) -> Option<&'static str> {
    let header: String = source.lines().take_while(|l| l.starts_with("//!")).map(|l| l[3..].trim()).collect();
    match header.chars().count() {
        0 => Some("does not begin with a //! header"),
        n if n < HEADER_CHARS_MIN => Some("has a header that says next to nothing"),
        _ => None,
    }
}

#[test]
fn every_file_says_what_it_is() {
    let findings: Vec<_> = files::rust()
        .iter()
        .filter_map(|file| problem(&file.text).map(|problem| format!("{} {problem}", file.path)))
        .collect();
    files::assert_none("module headers: what, why, and what it never does", &findings);
}

#[test]
fn it_fires() {
    assert!(problem("use std::fmt;\n//! Late, and long enough.").is_some());
    assert!(problem("").is_some());
    assert!(problem("/// The wrong kind of comment.\nmod a;").is_some());
    assert!(problem("//! Utilities.\n").is_some());
    assert!(problem("//! Segment numbers and totals.\n\nuse std::fmt;").is_none());
}

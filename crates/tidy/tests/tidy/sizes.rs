//! Files of one subject: a Rust file over 400 lines draws a warning, one over 700 fails.
//!
//! In tests only lines of code count: an expected ladder or a table of text is a picture, and the reader takes
//! in one of them at a time.

use std::io::{self, Write};

use crate::files::{self, File};
use crate::lexer;

/// What a reader keeps in mind at once; beyond it, ask whether it is still one subject.
const LINES_WARN: usize = 400;
/// Nothing here has needed more for one subject.
const LINES_MAX: usize = 700;

#[derive(PartialEq, Eq, Debug)]
enum Size {
    Fine,
    Large,
    TooLarge,
}

fn size(lines: usize) -> Size {
    match lines {
        0..=LINES_WARN => Size::Fine,
        n if n <= LINES_MAX => Size::Large,
        _ => Size::TooLarge,
    }
}

/// The lines that count.
fn lines(file: &File) -> usize {
    if file.is_source() {
        return file.text.lines().count();
    }
    let mut lines: Vec<_> = lexer::tokens(&file.text).into_iter().map(|token| token.line).collect();
    lines.dedup();
    lines.len()
}

#[test]
fn files_are_of_one_subject() {
    let mut too_large = Vec::new();
    for file in files::rust() {
        let line = format!("{} has {} lines", file.path, lines(&file));
        match size(lines(&file)) {
            Size::Fine => {}
            // Written past the capture of the test runner: a warning that nobody sees is none.
            Size::Large => writeln!(io::stderr(), "warning: {line}; is it one subject?").unwrap(),
            Size::TooLarge => too_large.push(line),
        }
    }
    files::assert_none("split these by subject (700 lines are the ceiling)", &too_large);
}

#[test]
fn it_fires() {
    assert_eq!(size(400), Size::Fine);
    assert_eq!(size(401), Size::Large);
    assert_eq!(size(700), Size::Large);
    assert_eq!(size(701), Size::TooLarge);
}

#[test]
fn pictures_in_tests_do_not_count() {
    let text = "// a comment\nfn f() {\n    check(\"one\n    two\n    three\");\n\n}\n".to_owned();
    let file = |path: &str| File { path: path.to_owned(), text: text.clone() };
    assert_eq!(lines(&file("crates/sip/src/lib.rs")), 7);
    assert_eq!(lines(&file("crates/sip/tests/ladders.rs")), 4);
}

//! Files of one subject: a Rust file over 400 lines draws a warning, one over 700 fails.

use std::io::{self, Write};

use crate::files;

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

fn size(source: &str) -> Size {
    match source.lines().count() {
        0..=LINES_WARN => Size::Fine,
        n if n <= LINES_MAX => Size::Large,
        _ => Size::TooLarge,
    }
}

#[test]
fn files_are_of_one_subject() {
    let mut too_large = Vec::new();
    for file in files::rust() {
        let line = format!("{} has {} lines", file.path, file.text.lines().count());
        match size(&file.text) {
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
    assert_eq!(size(&"x\n".repeat(400)), Size::Fine);
    assert_eq!(size(&"x\n".repeat(401)), Size::Large);
    assert_eq!(size(&"x\n".repeat(700)), Size::Large);
    assert_eq!(size(&"x\n".repeat(701)), Size::TooLarge);
}

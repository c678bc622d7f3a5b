//! `docs/recording-states.md` shows the one transition table as it is in the code.
//!
//! After a change of the table: `UPDATE_EXPECT=1 cargo test --workspace --test tidy states` writes it anew.

use std::fs;

use crate::files;

const DOCUMENT: &str = "docs/recording-states.md";
const BEGIN: &str = "<!-- table: begin (generated from crates/model/src/state.rs) -->\n";
const END: &str = "<!-- table: end -->\n";

/// What stands before, between and behind the marks.
fn split(document: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (table, behind) = rest.split_once(END)?;
    Some((before, table, behind))
}

#[test]
fn the_document_shows_the_table() {
    let document = files::file(DOCUMENT).text;
    let (before, table, behind) = split(&document).expect("docs/recording-states.md has lost its marks");
    let expected = model::state::markdown();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(files::root().join(DOCUMENT), format!("{before}{BEGIN}{expected}{END}{behind}")).unwrap();
    } else {
        assert_eq!(table, expected, "write it anew with UPDATE_EXPECT=1");
    }
}

#[test]
fn every_state_stands_in_it_once() {
    let table = model::state::markdown();
    for state in model::RecordingState::ALL {
        let row = format!("| {} | `{state}` |", state.code());
        assert_eq!(table.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn it_fires() {
    assert!(split("no marks").is_none());
    assert!(split(END).is_none());
    assert_eq!(split(&format!("a{BEGIN}b\n{END}c")), Some(("a", "b\n", "c")));
}

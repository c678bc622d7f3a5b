//! The journal over real files, killed at any byte, damaged anywhere, full.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fixture::{change, extra, story};
use model::Change;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use store::journal::{AppendError, BYTES_MAX, Journal};

fn all(path: &Path) -> (Vec<Change>, u64) {
    let mut journal = Journal::open(path, BYTES_MAX).unwrap();
    let (mut changes, mut damaged, mut at) = (Vec::new(), 0, 0);
    loop {
        let page = journal.read(at, 4).unwrap();
        changes.extend(page.changes);
        damaged += page.damaged;
        if page.next == at {
            return (changes, damaged);
        }
        at = page.next;
    }
}

#[test]
fn a_kill_at_any_byte_costs_only_the_torn_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    let changes = &[change(1, extra(1, "a", "1")), change(2, extra(1, "b", "2"))];
    Journal::open(&path, BYTES_MAX).unwrap().append(changes).unwrap();
    let bytes = fs::read(&path).unwrap();
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    for cut in 0..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        let whole = ends.iter().filter(|end| **end <= cut).count();
        // What comes after the restart stands behind whole lines.
        Journal::open(&path, BYTES_MAX).unwrap().append(&changes[..1]).unwrap();
        let (read, damaged) = all(&path);
        assert_eq!(damaged, 0, "cut at {cut}");
        assert_eq!(read, [&changes[..whole], &changes[..1]].concat(), "cut at {cut}");
    }
}

#[test]
fn nobody_else_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    Journal::open(&path, BYTES_MAX).unwrap().append(&story(1)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_full_journal_refuses_and_stays_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    let mut journal = Journal::open(&path, 4_000).unwrap();
    let mut fitted = 0;
    let refused = loop {
        match journal.append(&story(1)[..1]) {
            Ok(()) => fitted += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, AppendError::Full { limit: 4_000, .. }), "{refused}");
    assert!(journal.bytes() <= 4_000 && fitted > 1);
    assert_eq!(all(&path).0.len(), fitted);
    journal.clear().unwrap();
    journal.append(&story(1)[..1]).unwrap();
    assert_eq!(all(&path).0.len(), 1);
}

#[test]
fn a_file_that_is_no_journal_is_skipped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    fs::write(&path, "hello\n{}\n{\"crc\":\"zzzzzzzz\",\"change\":{}}\n{\"crc\":\"\n\n").unwrap();
    Journal::open(&path, BYTES_MAX).unwrap().append(&story(1)[..1]).unwrap();
    assert_eq!(all(&path), (story(1)[..1].to_vec(), 5));
}

proptest! {
    #![proptest_config(Config { cases: 32, ..Config::default() })]
    /// A flipped byte costs the line that it is in, or joins or splits lines; others are read as they were.
    #[test]
    fn damage_never_makes_up_a_change(at in any::<proptest::sample::Index>(), flip in 1_u8..=255) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.ndjson");
        Journal::open(&path, BYTES_MAX).unwrap().append(&story(1)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        fs::write(&path, &bytes).unwrap();
        let (read, _) = all(&path);
        prop_assert!(read.len() + 2 >= story(1).len());
        prop_assert_eq!(read.iter().filter(|c| !story(1).contains(c)).count(), 0);
    }
}

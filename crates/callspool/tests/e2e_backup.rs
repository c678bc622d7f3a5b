//! A backup is taken beside live calls, and put back on an empty machine, over a catalog that is behind, and not at
//! all when it is damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fault_support::caller::{Caller, place};
use fault_support::listing::{all_calls, directories};
use support::server::Server;
use support::{PATIENCE, wait_until};

fn ids(server: &Server) -> BTreeSet<String> {
    all_calls(server).into_iter().map(|c| c.id).collect()
}

fn wait_for_calls(server: &Server, count: usize) {
    wait_until("calls in the catalog", PATIENCE, || match ids(server).len() {
        n if n >= count => Ok(()),
        n => Err(format!("{n} of {count}")),
    });
}

fn back_up(server: &Server, name: &str) -> PathBuf {
    let file = server.directory().join(name);
    server.callspool(&["backup", "-o", file.to_str().unwrap()]).expect_ok("backup");
    file
}

fn restore(server: &Server, file: &Path) -> support::program::Done {
    server.callspool(&["restore", file.to_str().unwrap()])
}

fn token(server: &Server) -> String {
    std::fs::read_to_string(server.state().join("token")).unwrap()
}

#[test]
fn under_load_it_is_whole_and_an_empty_machine_knows_all_that_was_known() {
    let mut server = Server::start();
    place(&server, "before", &["--calls", "5", "--rate", "50/s", "--duration", "300ms"]);
    let caller = Caller::start(&server, "during", &["--calls", "60", "--rate", "30/s", "--duration", "1s"]);
    wait_for_calls(&server, 8);
    let known = ids(&server);
    let file = back_up(&server, "backup.tar");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let done = server.callspool(&["backup", "-o", file.to_str().unwrap()]);
    assert!(done.code == Some(1) && done.err.contains("it exists"), "{}", done.err);
    let done = restore(&server, &file);
    assert!(done.code == Some(1) && done.err.contains("another callspool runs"), "{}", done.err);
    caller.finish().expect_all_ok("calls beside a backup");
    let leftovers = std::fs::read_dir(server.directory()).unwrap().flatten();
    assert!(!leftovers.map(|e| e.file_name()).any(|n| n.to_string_lossy().contains("partial")));

    // A machine without anything.
    let other = Server::prepare(&[]);
    let done = restore(&other, &file).expect_ok("restore");
    assert!(done.text().contains("left in the backup: callspool.toml (configuration)"), "{}", done.text());
    let restored = ids(&other);
    assert!(restored.is_superset(&known), "{known:?} {restored:?}");
    assert_eq!(token(&other), token(&server));

    // Where calls came after the backup, they are joined.
    wait_for_calls(&server, 65);
    server.stop();
    let all = ids(&server);
    let done = restore(&server, &file).expect_ok("restore over what is there");
    assert!(done.text().contains("kept what was there: "), "{}", done.text());
    assert_eq!(ids(&server), all);
    server.restart();
    assert_eq!(ids(&server), all);
    assert_eq!(directories(&server.state().join("repository")).len(), 65);
}

#[test]
fn the_configuration_goes_back_to_where_it_was_and_keys_with_it() {
    let server = Server::start();
    let path = server.directory().join("callspool.toml");
    std::fs::write(&path, "[log]\nformat = \"text\"\n").unwrap();
    let file = back_up(&server, "backup.tar");
    std::fs::write(&path, "[log]\nformat = \"json\"\n").unwrap();
    server.callspool(&["restore", file.to_str().unwrap(), "--configuration"]).expect_ok("restore");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[log]\nformat = \"text\"\n");
    let kept = std::fs::read_dir(server.directory()).unwrap().flatten();
    assert_eq!(
        kept.filter(|e| e.file_name().to_string_lossy().starts_with("callspool.toml.before-")).count(),
        1
    );
}

#[test]
fn a_damaged_or_newer_or_foreign_backup_changes_nothing() {
    let mut server = Server::start();
    place(&server, "calls", &["--calls", "3", "--rate", "50/s", "--duration", "300ms"]);
    wait_for_calls(&server, 3);
    let whole = std::fs::read(back_up(&server, "backup.tar")).unwrap();
    server.stop();
    let state = |server: &Server| -> BTreeSet<_> {
        std::fs::read_dir(server.state()).unwrap().flatten().map(|e| e.file_name()).collect()
    };
    let (before, catalog) = (state(&server), std::fs::read(server.state().join("catalog.db")).unwrap());
    let check = |name: &str, bytes: &[u8], why: &str| {
        let file = server.directory().join(name);
        std::fs::write(&file, bytes).unwrap();
        let done = restore(&server, &file);
        assert_eq!(done.code, Some(1), "{name}: {}{}", done.text(), done.err);
        assert!(done.err.contains(why), "{name}: {}", done.err);
        assert_eq!(state(&server), before, "{name}");
        assert_eq!(std::fs::read(server.state().join("catalog.db")).unwrap(), catalog, "{name}");
    };
    check("empty", b"", "it is empty");
    check("text", &[b'x'; 2_000], "cannot use the backup");
    for part in 1..8 {
        check(&format!("cut-{part}"), &whole[..whole.len() * part / 8], "cannot use the backup");
    }
    // Anywhere in the catalog, which is most of it.
    for n in 1..6 {
        let mut spoiled = whole.clone();
        let at = 8_192 + (whole.len() - 16_384) * n / 6;
        spoiled[at] ^= 0x20;
        check(&format!("spoiled-{n}"), &spoiled, "nothing was changed");
    }
    let text = String::from_utf8_lossy(&whole[512..2_048]).into_owned();
    let at = 512 + text.find("\"format\": 1").expect("the format in the manifest");
    let mut newer = whole.clone();
    newer[at..at + 11].copy_from_slice(b"\"format\": 9");
    check("newer", &newer, "its format 9 is newer than this callspool");
    // One that an older version made, of the same format.
    let at = 512 + text.find("\"0.1.0\"").expect("the version in the manifest");
    let mut older = whole.clone();
    older[at..at + 7].copy_from_slice(b"\"0.0.1\"");
    std::fs::write(server.directory().join("older"), older).unwrap();
    let done = restore(&server, &server.directory().join("older")).expect_ok("an older backup");
    assert!(done.text().contains("by callspool 0.0.1"), "{}", done.text());
}

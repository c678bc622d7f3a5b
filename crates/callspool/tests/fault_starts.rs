//! File operations fail while callspool starts, while it repairs what a crash left, while its catalog is in trouble,
//! and in its commands: what is affected says so, calls are recorded all the same, and the next try is whole. What
//! there is to try says [`points`]; recording itself is tried in `fault_points`.
//!
//! Operations fail on order, which only a debug build of callspool takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use fault_support::caller::{Caller, Report, place};
use fault_support::catalog::{self, Stranger, path_of};
use fault_support::listing::{
    Segment, all_calls, directories, expect_sound, segments, try_all_calls, wait_for_repair,
};
use fault_support::orders::Orders;
use fault_support::points::{Tried, Trouble, tried};
use faults::Operation;
use model::RecordingState;
use spool::layout::{MARKERS_PATH, marker_bytes, marker_path};
use support::program::Done;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

fn found(server: &Server) -> Vec<Segment> {
    directories(&server.state().join("repository")).iter().flat_map(|d| segments(d)).collect()
}

/// Every call of the report is on disk, sealed and complete to the last packet.
fn expect_recorded(server: &Server, what: &str, report: &Report) {
    for call in &report.calls {
        let mine = wait_until(&format!("the call to be sealed ({what})"), PATIENCE, || {
            let mine = found(server).into_iter().find(|s| s.is_of(&call.sip_call_id) && s.sealed);
            mine.ok_or_else(|| "it is not".to_owned())
        });
        assert_eq!(mine.record.state, RecordingState::Partial, "{what}");
        assert_eq!(mine.record.streams[0].accounting.received, call.streams[0].packets, "{what}");
    }
}

#[test]
fn a_start_that_fails_says_why_in_a_line_and_the_next_one_is_whole() {
    for (operation, what, how) in tried(|t| matches!(t, Tried::AtAStart(_))) {
        let Tried::AtAStart(words) = how else { unreachable!() };
        let rule = format!("{}:{what}", operation.name());
        let mut server = Server::prepare(&[]);
        let orders = Orders::of(&mut server);
        orders.give(&rule);
        let done = server.callspool(&["serve"]);
        assert_eq!(done.code, Some(1), "{rule}: {}{}", done.text(), done.err);
        let told: Vec<_> = done.err.lines().filter(|l| l.starts_with("callspool: ")).collect();
        assert!(told.len() == 1 && told[0].contains(words), "{rule}: {}", done.err);
        orders.withdraw();
        server.restart();
        let report = place(&server, "next", &["--duration", "300ms"]);
        expect_recorded(&server, &rule, &report);
        expect_sound(server);
    }
}

/// Two calls are cut off by a crash, one of them in the middle of a block. What is done about it fails for that one:
/// the other is closed, new calls are recorded, and the next start closes it.
#[test]
fn what_fails_while_a_crash_is_repaired_is_done_by_the_next_start() {
    let mut server = Server::prepare(&[]);
    let orders = Orders::of(&mut server);
    server.restart();
    let repository = server.state().join("repository");
    for (count, (operation, what, _)) in tried(|t| t == Tried::AfterACrash).into_iter().enumerate() {
        let name = format!("{}:{what}", operation.name());
        let before = directories(&repository);
        let arguments = ["--calls", "2", "--rate", "50/s", "--duration", "30s"];
        let caller = Caller::start(&server, &format!("cut-{count}"), &arguments);
        let up: Vec<PathBuf> = wait_until("two calls to be up", PATIENCE, || {
            let new: Vec<_> = directories(&repository).difference(&before).cloned().collect();
            let has_media = |d: &PathBuf| d.join("001-1.mka").metadata().is_ok_and(|m| m.len() > 6_000);
            if new.len() == 2 && new.iter().all(has_media) { Ok(new) } else { Err(format!("{new:?}")) }
        });
        server.kill();
        drop(caller);
        tear(&up[0].join("001-1.mka"));
        if operation == Operation::Remove {
            mark_as_before(&repository);
        }
        let within = match operation {
            Operation::List | Operation::Unmark | Operation::Remove => "/live".to_owned(),
            Operation::Sync => "repository".to_owned(),
            Operation::RedoRead | Operation::RedoEmpty => "redo".to_owned(),
            _ => up[0].file_name().unwrap().to_string_lossy().into_owned(),
        };
        let rule = format!("{}~{within}:{what}", operation.name());
        orders.give(&rule);
        server.restart();
        orders.expect_obeyed(&server, &rule);
        let report = place(&server, &format!("beside-{count}"), &["--duration", "300ms"]);
        expect_recorded(&server, &rule, &report);
        wait_until("the log to say who does it", PATIENCE, || {
            let log = server.log();
            // What is in a redo that cannot be read is lost, and nothing else waits for it.
            let words = if operation == Operation::RedoRead { "cannot be read" } else { "the next start" };
            let is_told = |l: &str| l.contains("ERROR") && l.contains(words);
            if log.lines().any(is_told) { Ok(()) } else { Err(name.clone()) }
        });
        // What can be repaired is: the fault was about the other one, unless it was about the whole volume.
        if operation != Operation::List {
            wait_until("the other call to be closed", PATIENCE, || match &segments(&up[1])[..] {
                [one] if one.sealed => Ok(()),
                others => Err(format!("{name}: {others:?}")),
            });
        }
        orders.withdraw();
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
        server.restart();
        wait_for_repair(&repository);
        for directory in &up {
            let [segment] = &segments(directory)[..] else { panic!("{name}: {directory:?}") };
            assert!(segment.sealed, "{name}: {segment:?}");
            assert_eq!(segment.record.state, RecordingState::PartialInternalError, "{name}");
            let kept: i64 = segment.record.parts.iter().map(|p| p.duration_us / 1_000).sum();
            assert!(kept >= 500, "{name}: {kept} ms");
        }
    }
    expect_sound(server);
}

/// What is marked as live is marked as a version before did: by a file for each segment.
fn mark_as_before(repository: &Path) {
    let markers = repository.join(MARKERS_PATH);
    for (_, segment, at) in spool::markers::read(&std::fs::read(&markers).unwrap()) {
        std::fs::write(repository.join(marker_path(segment)), marker_bytes(&at.path())).unwrap();
    }
    std::fs::remove_file(markers).unwrap();
}

/// The beginning of a block that says it is longer than what follows; longer than what the redo has in its place.
fn tear(part: &Path) {
    let mut file = std::fs::OpenOptions::new().append(true).open(part).unwrap();
    file.write_all(&[0xa3, 0x20, 0x80, 0, 0x81, 0, 0, 0x80]).unwrap();
    file.write_all(&[4; 32 << 10]).unwrap();
}

#[test]
fn a_catalog_in_trouble_whose_files_fail_loses_no_call() {
    for (operation, what, how) in tried(|t| matches!(t, Tried::WithTheCatalog(..))) {
        let Tried::WithTheCatalog(trouble, words) = how else { unreachable!() };
        let rule = format!("{}:{what}", operation.name());
        let mut server = Server::prepare(&[]);
        let orders = Orders::of(&mut server);
        if trouble == Trouble::Nothing {
            orders.give(&rule);
        }
        server.restart();
        let mut stranger = None;
        match trouble {
            Trouble::Nothing => {}
            Trouble::Locked => {
                wait_for_catalog(&server);
                stranger.insert(Stranger::open(&path_of(&server))).lock();
            }
            Trouble::Garbage => {
                wait_for_catalog(&server);
                orders.give(&rule);
                overwrite(&path_of(&server));
            }
        }
        orders.give(&rule);
        let report = place(&server, "calls", &["--calls", "2", "--duration", "1500ms"]);
        expect_recorded(&server, &rule, &report);
        let log_says = |words: &str| match server.log().contains(words) {
            true => Ok(()),
            false => Err(format!("{rule}: it does not say '{words}'")),
        };
        let journal = server.state().join("catalog.journal");
        if trouble == Trouble::Locked {
            // What fails is the journal, or it holds something.
            wait_until("the journal to be used", PATIENCE, || {
                let holds = journal.metadata().is_ok_and(|m| m.len() > 0);
                if holds { Ok(()) } else { log_says(words) }
            });
        }
        if let Some(mut stranger) = stranger {
            stranger.release();
        }
        wait_until(&format!("{rule} to be told"), PATIENCE, || log_says(words));
        orders.expect_obeyed(&server, &rule);
        // Nobody hammers at a file that fails.
        std::thread::sleep(std::time::Duration::from_secs(2));
        let tries = server.log().matches("on order: ").count();
        assert!(tries < 60, "{rule}: it was tried {tries} times");
        orders.withdraw();
        wait_until("all calls to be listed", PATIENCE, || {
            let listed = try_all_calls(&server)?;
            let complete = listed.iter().filter(|c| c.state == "complete" && !c.live && c.segments == 1);
            if complete.count() == 2 { Ok(()) } else { Err(format!("{rule}: {listed:#?}")) }
        });
        expect_sound(server);
    }
}

fn wait_for_catalog(server: &Server) {
    wait_until("the catalog", PATIENCE, || try_all_calls(server).map(drop));
}

/// Puts something else in its place.
fn overwrite(path: &Path) {
    let garbage = path.with_extension("garbage");
    std::fs::write(&garbage, vec![0xa5; 100_000]).unwrap();
    std::fs::rename(garbage, path).unwrap();
}

/// Whoever writes a note that does not get to the disk is told; the second try gets there, and the catalog finds the
/// call by it.
#[test]
fn a_note_that_fails_is_told_and_made_by_the_next_try() {
    let mut server = Server::prepare(&[]);
    let orders = Orders::of(&mut server);
    server.restart();
    place(&server, "call", &["--duration", "300ms"]);
    let id = wait_until("the call to be concluded", PATIENCE, || match &all_calls(&server)[..] {
        [call] if !call.live && call.state == "complete" => Ok(call.id.clone()),
        calls => Err(format!("{calls:?}")),
    });
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let ask = |method: &str, path: &str| {
        let headers = [("Authorization", bearer.as_str())];
        http::send(method, &server.http_address(), path, &headers, "").unwrap()
    };
    for (count, (operation, what, _)) in tried(|t| t == Tried::InANote).into_iter().enumerate() {
        let rule = format!("{}~{id}:{what}", operation.name());
        let tag = format!("t{count}");
        orders.give(&rule);
        let path = format!("/api/v1/calls/{id}/tags/{tag}");
        let failed = ask("PUT", &path);
        assert!(failed.status >= 500, "{rule}: {} {}", failed.status, failed.text());
        orders.expect_obeyed(&server, &rule);
        orders.withdraw();
        assert_eq!(ask("PUT", &path).status, 200, "{rule}");
        wait_until("the call to be found by its tag", PATIENCE, || {
            let found = ask("GET", &format!("/api/v1/calls?tag={tag}")).text();
            if found.contains(&id) { Ok(()) } else { Err(format!("{rule}: {found}")) }
        });
    }
    let tags = ask("GET", &format!("/api/v1/calls/{id}/tags")).text();
    for count in 0..tried(|t| t == Tried::InANote).len() {
        assert!(tags.contains(&format!("\"t{count}\"")), "{tags}");
    }
    expect_sound(server);
}

/// A disk that takes its time with the note of one call.
#[test]
fn a_note_that_waits_for_its_disk_holds_up_its_own_call_and_no_other() {
    let mut server = Server::prepare(&[]);
    let orders = Orders::of(&mut server);
    server.restart();
    place(&server, "calls", &["--calls", "2", "--duration", "300ms"]);
    let ids = wait_until("the calls to be concluded", PATIENCE, || match &all_calls(&server)[..] {
        [one, two] if one.state == "complete" && two.state == "complete" => {
            Ok([one.id.clone(), two.id.clone()])
        }
        calls => Err(format!("{calls:?}")),
    });
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let (address, bearer) = (server.http_address(), format!("Bearer {}", token.trim()));
    let tag = |id: &str, tag: &str| {
        let path = format!("/api/v1/calls/{id}/tags/{tag}");
        http::send("PUT", &address, &path, &[("Authorization", bearer.as_str())], "").unwrap().status
    };
    let rule = format!("sync-line~{}:delay=11s", ids[0]);
    orders.give(&rule);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| tag(&ids[0], "slow"));
        orders.expect_obeyed(&server, &rule);
        assert_eq!(tag(&ids[1], "other"), 200);
        assert!(!slow.is_finished(), "the other call waited for it");
        // Whoever wants the same log is told, after a while.
        assert_eq!(tag(&ids[0], "same"), 503);
        assert!(!slow.is_finished(), "it waited as long as the disk does");
        assert_eq!(slow.join().unwrap(), 200);
    });
    orders.withdraw();
    assert_eq!(tag(&ids[0], "same"), 200);
}

/// A server with a call, and what its commands work on.
struct Bench {
    server: Server,
    orders: Orders,
    call: String,
    backup: PathBuf,
}

impl Bench {
    fn set_up() -> Self {
        let mut server = Server::prepare(&[]);
        let orders = Orders::of(&mut server);
        password(&server, "first").expect_ok("a password");
        server.restart();
        place(&server, "call", &["--duration", "300ms"]);
        let call = wait_until("the call to be concluded", PATIENCE, || match &all_calls(&server)[..] {
            [call] if !call.live && call.state == "complete" => Ok(call.id.clone()),
            calls => Err(format!("{calls:?}")),
        });
        let backup = server.directory().join("kept.tar");
        server.callspool(&["backup", "-o", backup.to_str().unwrap()]).expect_ok("a backup");
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
        Self { server, orders, call, backup }
    }

    fn carry_out(&self, operation: Operation) -> Done {
        let file = |name: &str| self.server.directory().join(name).to_str().unwrap().to_owned();
        match operation {
            Operation::BackupWrite | Operation::BackupPublish => {
                self.server.callspool(&["backup", "-o", &file("new.tar")])
            }
            Operation::RestoreWrite | Operation::RestoreSwap => {
                self.server.callspool(&["restore", self.backup.to_str().unwrap()])
            }
            Operation::UsersWrite => password(&self.server, "second"),
            Operation::Output => self.server.callspool(&["export", &self.call, "-o", &file("call.wav")]),
            other => panic!("{other:?} is in no command"),
        }
    }

    /// Every file and what is in it, but for what whoever opens a catalog leaves beside it.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        let mut directories = vec![self.server.directory().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    directories.push(path);
                } else if kind.is_file()
                    && ![Some("db-shm"), Some("db-wal")].contains(&path.extension().and_then(|e| e.to_str()))
                    && path != self.orders.path()
                {
                    all.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        all
    }
}

fn password(server: &Server, word: &str) -> Done {
    let file = server.directory().join("word");
    std::fs::write(&file, format!("{word}\n")).unwrap();
    let mut command = server.command();
    // The trunk is for this command alone: with one written, nobody else could call.
    let trunk =
        [("CALLSPOOL_TRUNK__OURS__FROM", "127.0.0.9"), ("CALLSPOOL_TRUNK__OURS__USERS_FILE", "users")];
    command.envs(trunk);
    command.args(["trunks", "password", "ours", "gateway"]).stdin(std::fs::File::open(file).unwrap());
    let done = command.output().unwrap();
    Done {
        code: done.status.code(),
        out: done.stdout,
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

#[test]
fn a_command_that_fails_says_so_and_leaves_everything_as_it_was() {
    let mut bench = Bench::set_up();
    for (operation, what, _) in tried(|t| t == Tried::InACommand) {
        let rule = format!("{}:{what}", operation.name());
        // What a command leaves by itself: the marks of a reader in the catalog, the word that it was given.
        let _ = bench.server.callspool(&["ls"]);
        std::fs::write(bench.server.directory().join("word"), "second\n").unwrap();
        let before = bench.files();
        bench.orders.give(&rule);
        let done = bench.carry_out(operation);
        bench.orders.withdraw();
        assert_eq!(done.code, Some(1), "{rule}: {}{}", done.text(), done.err);
        let told: Vec<_> = done.err.lines().filter(|l| l.starts_with("callspool: ")).collect();
        assert!(told.len() == 1 && told[0].contains("Input/output error"), "{rule}: {}", done.err);
        let after = bench.files();
        let differ: Vec<_> =
            before.iter().filter(|(path, octets)| after.get(*path) != Some(octets)).map(|(p, _)| p).collect();
        let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
        assert!(differ.is_empty() && new.is_empty(), "{rule}: changed {differ:?}, left behind {new:?}");
    }
    for operation in
        [Operation::BackupWrite, Operation::Output, Operation::UsersWrite, Operation::RestoreSwap]
    {
        bench.carry_out(operation).expect_ok("without a fault");
    }
    bench.server.restart();
    assert_eq!(all_calls(&bench.server).len(), 1);
    assert!(catalog::alarms(&bench.server).is_empty(), "{:?}", catalog::alarms(&bench.server));
    expect_sound(bench.server);
}

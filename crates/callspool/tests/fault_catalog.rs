//! The catalog fails under calls: locked by somebody, deleted, replaced, its disk full. Recording goes on, and
//! afterwards every call is listed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use fault_support::caller::{Caller, place};
use fault_support::catalog::{Stranger, alarms, path_of};
use fault_support::listing::{Segment, all_calls, directories, segments, try_all_calls, wait_until_taken};
use fault_support::orders::Orders;
use fault_support::sip;
use fault_support::volume::Volume;
use support::server::Server;
use support::{PATIENCE, wait_until};

fn found(server: &Server) -> Vec<Segment> {
    directories(&server.state().join("repository")).iter().flat_map(|d| segments(d)).collect()
}

/// Calls before, calls that run while `fault` happens, and calls after it: all recorded to the last packet. Then
/// `cure`, and all of them are listed as complete.
fn check(server: &Server, what: &str, fault: impl FnOnce(), cure: impl FnOnce()) {
    let mut reports = vec![place(server, "before", &["--calls", "2", "--duration", "500ms"])];
    let during = Caller::start(
        server,
        "during",
        &["--calls", "5", "--rate", "50/s", "--duration", "4s", "--siprec", "--hold", "500ms@1500ms"],
    );
    wait_until_taken(server, 7);
    fault();
    sip::expect_options(server, what);
    let asked = Instant::now();
    reports.push(place(server, "after", &["--calls", "3", "--duration", "500ms", "--transport", "tcp"]));
    assert!(asked.elapsed() < Duration::from_secs(20), "{what}: calls waited for the catalog");
    let during = during.finish();
    during.expect_all_ok(what);
    reports.push(during);

    let calls = 10;
    let all = wait_until("segments to be sealed", PATIENCE, || {
        let all = found(server);
        let open = all.iter().filter(|s| !s.sealed).count();
        if open == 0 && all.len() == calls + 5 {
            Ok(all)
        } else {
            Err(format!("{open} of {} open", all.len()))
        }
    });
    for call in reports.iter().flat_map(|r| &r.calls) {
        let of_call: Vec<_> = all.iter().filter(|s| s.is_of(&call.sip_call_id)).collect();
        assert_eq!(of_call.len(), 1 + call.holds as usize, "{what}: segments of {call:?}");
        for (index, sent) in call.streams.iter().enumerate() {
            let received: u64 = of_call.iter().map(|s| s.record.streams[index].accounting.received).sum();
            assert_eq!(received, sent.packets, "{what}: {call:?}");
        }
    }
    cure();
    expect_listed(server, what, &all);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{what}: {}{}", done.text(), done.err);
}

fn expect_listed(server: &Server, what: &str, all: &[Segment]) {
    let ids: BTreeSet<String> = all.iter().map(|s| s.record.call.to_string()).collect();
    wait_until(&format!("all calls to be listed ({what})"), PATIENCE, || {
        let listed = try_all_calls(server)?;
        let complete = listed.iter().filter(|c| c.state == "complete" && !c.live && c.ended.is_some());
        let complete: BTreeSet<String> = complete.map(|c| c.id.clone()).collect();
        if complete == ids && listed.len() == ids.len() { Ok(()) } else { Err(format!("{listed:#?}")) }
    });
    let segments: u64 = all_calls(server).iter().map(|c| c.segments).sum();
    assert_eq!(segments, all.len() as u64, "{what}: segments listed");
}

#[test]
fn a_locked_catalog_delays_nothing_and_is_filled_from_the_journal() {
    let server = Server::start();
    wait_until("the catalog", PATIENCE, || path_of(&server).exists().then_some(()).ok_or("none".into()));
    let mut stranger = Stranger::open(&path_of(&server));
    let holder = std::cell::RefCell::new(&mut stranger);
    check(&server, "locked", || holder.borrow_mut().lock(), || holder.borrow_mut().release());
    let alarms = alarms(&server);
    assert!(alarms.iter().any(|(kind, _)| kind == "catalog-away"), "nobody is told: {alarms:?}");
}

#[test]
fn a_catalog_that_is_locked_over_a_stop_is_filled_at_the_next_start() {
    let mut server = Server::start();
    wait_until("the catalog", PATIENCE, || path_of(&server).exists().then_some(()).ok_or("none".into()));
    let mut stranger = Stranger::open(&path_of(&server));
    stranger.lock();
    place(&server, "calls", &["--calls", "3", "--duration", "500ms"]);
    wait_until("segments to be sealed", PATIENCE, || {
        match found(&server).iter().filter(|s| s.sealed).count() {
            3 => Ok(()),
            n => Err(format!("{n} of 3")),
        }
    });
    // The linger, so that the calls are concluded.
    std::thread::sleep(Duration::from_millis(600));
    let asked = Instant::now();
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    assert!(asked.elapsed() < Duration::from_secs(20), "the stop waited for the catalog");
    stranger.release();
    server.restart();
    expect_listed(&server, "locked over a stop", &found(&server));
}

#[test]
fn a_deleted_catalog_is_filled_from_the_repository() {
    let server = Server::start();
    let delete = || {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", path_of(&server).display()));
        }
    };
    check(&server, "deleted", delete, || {});
}

#[test]
fn a_catalog_replaced_by_garbage_is_set_aside() {
    let server = Server::start();
    let garbage = server.directory().join("garbage");
    let replace = || {
        std::fs::write(&garbage, vec![0xa5; 100_000]).unwrap();
        std::fs::rename(&garbage, path_of(&server)).unwrap();
    };
    check(&server, "replaced by garbage", replace, || {});
}

#[test]
fn a_catalog_overwritten_with_garbage_is_set_aside() {
    let server = Server::start();
    let overwrite = || {
        let length = std::fs::metadata(path_of(&server)).map_or(0, |m| m.len());
        for end in ["", "-wal"] {
            let path = format!("{}{end}", path_of(&server).display());
            if let Ok(file) = std::fs::File::options().write(true).open(path) {
                let garbage = vec![0xa5; usize::try_from(length.max(50_000)).unwrap()];
                std::os::unix::fs::FileExt::write_all_at(&file, &garbage, 0).unwrap();
            }
        }
    };
    check(&server, "overwritten with garbage", overwrite, || {});
}

#[test]
fn a_catalog_whose_disk_is_full_leaves_its_changes_in_the_journal() {
    let volume = Volume::mount(2 << 10);
    let catalog = volume.path().join("catalog.db");
    let server = Server::with(&[("CATALOG__PATH", catalog.to_str().unwrap())]);
    check(&server, "its disk full", || volume.fill(), || volume.empty());
    drop(server);
    drop(volume);
}

#[test]
fn with_no_room_for_the_journal_either_changes_wait_in_memory() {
    let volume = Volume::mount(2 << 10);
    let path = |name: &str| volume.path().join(name).to_str().unwrap().to_owned();
    let server = Server::with(&[
        ("CATALOG__PATH", &path("catalog.db")),
        ("CATALOG__JOURNAL", &path("catalog.journal")),
    ]);
    check(&server, "its disk and the journal's full", || volume.fill(), || volume.empty());
    drop(server);
    drop(volume);
}

/// Filling a new catalog takes as long as reading everything does. What becomes of the catalog meanwhile is told all
/// the same.
#[test]
fn a_catalog_that_goes_away_while_it_is_filled_is_told_of_at_once() {
    let mut server = Server::prepare(&[]);
    let orders = Orders::of(&mut server);
    server.restart();
    place(&server, "before", &["--calls", "2", "--duration", "300ms"]);
    wait_until("calls to be concluded", PATIENCE, || match &all_calls(&server)[..] {
        [one, two] if one.state == "complete" && two.state == "complete" => Ok(()),
        calls => Err(format!("{calls:?}")),
    });
    // A manifest is read by nobody else.
    let rule = "read~.json:delay=25s";
    orders.give(rule);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path_of(&server).display()));
    }
    orders.expect_obeyed(&server, rule);
    let mut stranger = Stranger::open(&path_of(&server));
    stranger.lock();
    place(&server, "during", &["--duration", "300ms"]);
    wait_until("an alarm before it is filled", Duration::from_secs(15), || {
        match server.log().contains("kind=catalog-away") {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    assert!(!server.log().contains("the catalog is told of 2 calls"), "it was filled before");
    stranger.release();
    orders.withdraw();
    wait_until("all calls to be listed", PATIENCE, || match &try_all_calls(&server)?[..] {
        calls if calls.len() == 3 && calls.iter().all(|c| c.state == "complete") => Ok(()),
        calls => Err(format!("{calls:?}")),
    });
}

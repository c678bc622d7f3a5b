//! A volume on a file system of a process (FUSE), as network storage is: its process stops answering, so that whoever
//! asks hangs in the kernel, or ends. Calls that are recorded there go on elsewhere, everybody else notices nothing,
//! and nothing that an operator does waits for it: not the interface, not a command, not a stop, not a start.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::path::Path;

use fault_support::caller::{Caller, place};
use fault_support::fuse::Fuse;
use fault_support::listing::{all_calls, directories, segments, try_all_calls, wait_until_taken};
use fault_support::node::{Lost, Node, expect_taken_over, node};
use fault_support::sip;
use model::RecordingState;
use serde_json::Value;
use support::http::{self, Response};
use support::rtp::Mouth;
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

/// Volumes stand still when an operation takes longer than this.
const STALL: (&str, &str) = ("RECORDING__STALL", "1s");

fn get(server: &Server, path: &str) -> Response {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    http::get(&server.http_address(), path, &[("Authorization", &bearer)]).expect("an answer in time")
}

/// A call that is over, on the volume.
fn earlier(node: &Node, volume: usize) -> String {
    wait_until("a call on the volume", PATIENCE, || {
        place(&node.server, "earlier", &["--calls", "2", "--duration", "300ms"]);
        let found = node.on(volume).into_iter().find(|s| s.sealed);
        found.map(|s| s.record.call.to_string()).ok_or_else(|| "none".to_owned())
    })
}

#[test]
fn a_volume_that_does_not_answer_is_left_and_keeps_what_it_was_given() {
    let Some(one) = Fuse::mount() else { return };
    let two = tempfile::tempdir().unwrap();
    let node = node([one.path(), two.path()], &[STALL]);
    let heard = earlier(&node, 0);
    let before = node.on(0).len();
    let caller = node.calls("15s");
    let stalled = node.on(0).len() - before;
    one.stall();
    node.expect_alarm("volume disk1 stands still");

    let during = place(&node.server, "during", &["--calls", "3", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 3);
    sip::expect_options(&node.server, "while a volume stands still");
    assert_eq!(get(&node.server, "/readyz").status, 200);
    assert!(get(&node.server, "/metrics").text().contains("disk1"));
    assert_eq!(get(&node.server, &format!("/api/v1/calls/{heard}")).status, 200);
    let audio = get(&node.server, &format!("/api/v1/calls/{heard}/audio.wav"));
    assert!([404, 503].contains(&audio.status), "{} {}", audio.status, audio.text());

    let listed = node.server.callspool(&["volumes", "--json"]);
    let volumes: Vec<Value> = listed.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let state = |name: &str| volumes.iter().find(|v| v["name"] == name).unwrap()["state"].clone();
    assert_eq!((state("disk1"), state("disk2")), ("stalled".into(), "ready".into()), "{volumes:?}");
    let doctor = node.server.callspool(&["doctor"]);
    let line = doctor.text().lines().find(|l| l.contains("volume disk1")).unwrap_or_default();
    assert!(line.starts_with("failure") && line.contains("does not answer"), "{}", doctor.text());
    let shown = node.server.callspool(&["show", &heard]);
    assert!(shown.err.contains("volume disk1 is left out"), "{}{}", shown.text(), shown.err);

    one.go_on();
    let report = caller.finish();
    report.expect_all_ok("a volume does not answer");
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    // What waited for it is written when it answers again: nothing is lost at all.
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::Nothing), stalled, "{segments:#?}");
    assert_eq!(get(&node.server, &format!("/api/v1/calls/{heard}/audio.wav")).status, 200);
}

#[test]
fn a_volume_whose_server_ends_is_left_and_used_again_when_it_is_mounted() {
    let Some(mut one) = Fuse::mount() else { return };
    let two = tempfile::tempdir().unwrap();
    let node = node([one.path(), two.path()], &[STALL]);
    let caller = node.calls("5s");
    let pulled = node.on(0).len();
    one.pull();
    let report = caller.finish();
    report.expect_all_ok("a volume is gone");
    node.expect_alarm("volume disk1 is not there");
    let during = place(&node.server, "during", &["--calls", "2", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 2);
    one.plug();
    node.expect_sound();
    let segments = node.concluded(&report.calls);
    assert_eq!(expect_taken_over(&report.calls, &segments, Lost::AtMost(600)), pulled, "{segments:#?}");
    earlier(&node, 0);
}

#[test]
fn a_stop_does_not_wait_for_a_volume_that_does_not_answer() {
    let Some(one) = Fuse::mount() else { return };
    let two = tempfile::tempdir().unwrap();
    let mut node = node([one.path(), two.path()], &[STALL]);
    let caller = node.calls("20s");
    let on_it = node.on(0).len();
    one.stall();
    // The grace for calls, for seals twice, for threads and for the catalog: within 30 s, which this waits at most.
    let status = node.server.stop();
    assert_eq!(status.code(), Some(0), "{}", node.server.log());
    assert!(node.server.log().contains("repaired at the next start"), "{}", node.server.log());
    drop(caller);

    // Nor does a start: what lies there is repaired when it answers.
    node.server.restart();
    let during = place(&node.server, "without", &["--calls", "2", "--duration", "500ms"]);
    assert_eq!(during.answered().count(), 2);
    node.expect_alarm("volume disk1 stands still");
    one.go_on();
    node.expect_sound();
    let left: Vec<_> = node.on(0).into_iter().map(|s| s.record.state).collect();
    assert_eq!(left, vec![RecordingState::PartialInternalError; on_it]);
}

/// Where there is no other volume the calls stay on it: what comes meanwhile is kept as long as there is room.
#[test]
fn a_single_volume_that_does_not_answer_for_a_while_costs_nothing_but_new_calls() {
    let Some(one) = Fuse::mount() else { return };
    let server = Server::with(&[STALL, ("RECORDING__REPOSITORY", one.path().to_str().unwrap())]);
    let caller = Caller::start(&server, "running", &["--calls", "4", "--rate", "50/s", "--duration", "9s"]);
    let found = || directories(one.path()).iter().flat_map(|d| segments(d)).collect::<Vec<_>>();
    wait_until_taken(&server, 4);
    one.stall();
    sip::expect_refusal(&server, "while the only volume does not answer");
    sip::expect_options(&server, "while the only volume does not answer");
    assert_eq!(get(&server, "/readyz").status, 503);
    one.go_on();
    let report = caller.finish();
    report.expect_all_ok("the only volume does not answer for a while");
    wait_until("calls to be sealed", PATIENCE, || match found().iter().filter(|s| s.sealed).count() {
        4 => Ok(()),
        n => Err(format!("{n} of 4")),
    });
    let all = found();
    for call in &report.calls {
        let segment = all.iter().find(|s| s.is_of(&call.sip_call_id)).unwrap();
        assert_eq!(segment.record.state, RecordingState::Partial, "{segment:?}");
        assert_eq!(segment.record.streams[0].accounting.received, call.streams[0].packets, "{segment:?}");
    }
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

/// The catalog alone lies there. Nobody waits for it: calls are recorded, requests are answered, and what was told
/// meanwhile is listed when it answers again.
#[test]
fn a_catalog_on_a_disk_that_does_not_answer_costs_no_call_and_is_filled_later() {
    let Some(disk) = Fuse::mount() else { return };
    let catalog = disk.path().join("catalog.db");
    let mut server = Server::with(&[("CATALOG__PATH", catalog.to_str().unwrap())]);
    let mut reports = vec![place(&server, "before", &["--calls", "2", "--duration", "300ms"])];
    wait_until("calls to be listed", PATIENCE, || match try_all_calls(&server)?.len() {
        2 => Ok(()),
        n => Err(format!("{n} of 2")),
    });
    disk.stall();
    let during = Caller::start(&server, "during", &["--calls", "4", "--rate", "20/s", "--duration", "8s"]);
    // Many who ask at once: each would hang a thread that calls need.
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let address = server.http_address();
            std::thread::spawn(move || drop(http::get(&address, "/api/v1/calls", &[])))
        })
        .collect();
    wait_until("the catalog to be missed", PATIENCE, || {
        sip::expect_options(&server, "while the catalog does not answer");
        match server.log().contains("the catalog is not up to date") {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    assert_eq!(get(&server, "/healthz").status, 200);
    assert!(get(&server, "/metrics").text().contains("callspool_"));
    reports.push(place(&server, "meanwhile", &["--calls", "3", "--duration", "500ms"]));
    let _ = server.callspool(&["ls"]);
    let during = during.finish();
    during.expect_all_ok("the catalog does not answer");
    reports.push(during);
    let repository = server.state().join("repository");
    let sealed = wait_until("calls to be sealed", PATIENCE, || {
        let all: Vec<_> = directories(&repository).iter().flat_map(|d| segments(d)).collect();
        let open = all.iter().filter(|s| !s.sealed).count();
        if open == 0 && all.len() == 9 { Ok(all) } else { Err(format!("{open} of {} open", all.len())) }
    });
    for call in reports.iter().flat_map(|r| &r.calls) {
        let segment = sealed.iter().find(|s| s.is_of(&call.sip_call_id)).unwrap();
        assert_eq!(segment.record.streams[0].accounting.received, call.streams[0].packets, "{segment:?}");
    }
    disk.go_on();
    asking.into_iter().for_each(|asking| asking.join().unwrap());
    wait_until("all calls to be listed", PATIENCE, || {
        let listed = try_all_calls(&server)?;
        let complete = listed.iter().filter(|c| c.state == "complete" && !c.live).count();
        if complete == 9 && listed.len() == 9 { Ok(()) } else { Err(format!("{listed:#?}")) }
    });
    // Nor does a stop wait for it, up to the last step: an end closes files, and that the kernel may wait for until
    // the process is killed, as service managers do.
    disk.stall();
    server.signal(nix::sys::signal::Signal::SIGTERM);
    wait_until("the stop to go on without the catalog", PATIENCE, || {
        match server.log().contains("the catalog writer did not end in time; 0 changes may be missing") {
            true => Ok(()),
            false => Err(server.log().lines().last().unwrap_or_default().to_owned()),
        }
    });
    server.kill();
    disk.go_on();
    server.restart();
    assert_eq!(all_calls(&server).len(), 9);
}

/// The log of a call on a volume, how often it says that the call is one with another.
fn said(root: &Path, call: &str) -> usize {
    let found = directories(root).into_iter().find(|d| d.ends_with(call));
    let log = found.and_then(|d| std::fs::read_to_string(d.join("call.log")).ok()).unwrap_or_default();
    log.matches("\"type\":\"joined").count()
}

/// Calls that turn out to be one while the volume of some of them stands still: the catalog knows it at once, those on
/// the other volume are noted as if nothing were, and what the volume lacks is written when it answers.
#[test]
fn a_volume_that_does_not_answer_holds_up_no_join_of_others() {
    let Some(one) = Fuse::mount() else { return };
    let two = tempfile::tempdir().unwrap();
    let node = node([one.path(), two.path()], &[STALL]);
    let mouths: Vec<Mouth> = (0..8).map(|_| Mouth::open()).collect();
    let mut dialogs: Vec<(usize, String, Dialog)> = Vec::new();
    for (n, mouth) in mouths.iter().enumerate() {
        let (dialog, _) = Dialog::begin(&node.server, &format!("d{n}"), mouth.port());
        let (volume, call) = wait_until("a call on a volume", PATIENCE, || {
            let on = |volume: usize| node.on(volume).into_iter().find(|s| s.is_of(dialog.call_id()));
            let found = [0, 1].into_iter().find_map(|volume| on(volume).map(|s| (volume, s)));
            found.map(|(volume, s)| (volume, s.record.call.to_string())).ok_or_else(|| "none".to_owned())
        });
        dialogs.push((volume, call, dialog));
    }
    let two_on = |dialogs: &mut Vec<(usize, String, Dialog)>, volume: usize| -> Vec<(String, Dialog)> {
        let mut taken = Vec::new();
        while let Some(at) = dialogs.iter().position(|(v, ..)| *v == volume && taken.len() < 2) {
            let (_, call, dialog) = dialogs.remove(at);
            taken.push((call, dialog));
        }
        assert_eq!(taken.len(), 2, "calls on volume {volume}");
        taken
    };
    let (mut still, mut other) = (two_on(&mut dialogs, 0), two_on(&mut dialogs, 1));
    let session = |c: char| {
        format!(
            "Session-ID: {};remote={}\r\n",
            "ab30317f1a784dc48ff824d0d3715d8".to_owned() + &c.to_string(),
            "47755a9de7794ba387653f2099600ef".to_owned() + &c.to_string()
        )
    };
    one.stall();
    for (pair, id) in [(&mut still, '1'), (&mut other, '2')] {
        pair.iter_mut().for_each(|(_, dialog)| dialog.info(&session(id), ""));
    }
    wait_until("the calls on the other volume to be noted as one", PATIENCE, || {
        let said: Vec<_> = other.iter().map(|(call, _)| said(two.path(), call)).collect();
        if said == [1, 1] { Ok(()) } else { Err(format!("{said:?}")) }
    });
    wait_until("the catalog to know all of it", PATIENCE, || {
        let calls = node.server.calls();
        if calls.len() == 6 { Ok(()) } else { Err(format!("{calls:?}")) }
    });
    one.go_on();
    wait_until("the calls on the volume to be noted as one", PATIENCE, || {
        let roots = [one.path(), two.path()];
        let said: Vec<usize> =
            still.iter().map(|(call, _)| roots.iter().map(|root| said(root, call)).sum()).collect();
        if said == [1, 1] { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let pending = || std::fs::read_dir(node.server.state().join("joins")).unwrap().count();
    wait_until("nothing to be left for a start", PATIENCE, || match pending() {
        0 => Ok(()),
        n => Err(format!("{n}")),
    });
    let rest = dialogs.into_iter().map(|(.., dialog)| dialog);
    still.into_iter().chain(other).map(|(_, dialog)| dialog).chain(rest).for_each(|mut dialog| dialog.bye());
    node.expect_sound();
}

//! Every file operation fails, is torn or takes its time in turn, under two calls of which it hits one: that one is
//! tagged and told of, the other one is complete to the last packet, and what lies on disk is sound.
//!
//! Operations fail on order, which only a debug build of callspool takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fault_support::caller::{CallReport, Caller, place};
use fault_support::catalog;
use fault_support::listing::{Segment, directories, segments, wait_for_repair};
use fault_support::orders::Orders;
use model::RecordingState;
use support::server::Server;
use support::{PATIENCE, wait_until};

/// A server that takes orders to fail.
fn server() -> (Server, Orders, PathBuf) {
    let mut server = Server::prepare(&[]);
    let orders = Orders::new(server.directory());
    server.set("DEBUG_FAULTS", orders.path().to_str().unwrap());
    server.restart();
    let repository = server.state().join("repository");
    (server, orders, repository)
}

/// The segments of a call once all of them are sealed.
fn sealed(directory: &Path, what: &str) -> Vec<Segment> {
    wait_until(&format!("segments to be sealed ({what})"), PATIENCE, || {
        let all = segments(directory);
        match all.iter().find(|s| !s.sealed) {
            None if !all.is_empty() => Ok(all),
            open => Err(format!("{:?}", open.map(|s| s.record.id))),
        }
    })
}

fn states(segments: &[Segment]) -> Vec<RecordingState> {
    segments.iter().map(|s| s.record.state).collect()
}

fn received(segments: &[Segment]) -> u64 {
    segments.iter().flat_map(|s| &s.record.streams).map(|s| s.accounting.received).sum()
}

/// Two calls that are up, the rule for one of them, and what came of both: the one that was hit, and the other.
fn hit_one(
    server: &Server,
    orders: &Orders,
    repository: &Path,
    rule: &str,
) -> [(Vec<Segment>, CallReport); 2] {
    let before = directories(repository);
    let name = rule.replace([':', '@', '=', '~'], "-");
    let caller = Caller::start(server, &name, &["--calls", "2", "--rate", "50/s", "--duration", "2500ms"]);
    let up = wait_until("two calls to be up", PATIENCE, || {
        let new: BTreeSet<_> = directories(repository).difference(&before).cloned().collect();
        let has_media = |d: &PathBuf| d.join("001-1.mka").metadata().is_ok_and(|m| m.len() > 2_000);
        if new.len() == 2 && new.iter().all(has_media) { Ok(new) } else { Err(format!("{new:?}")) }
    });
    let (victim, other) = (up.first().unwrap(), up.last().unwrap());
    let id = victim.file_name().unwrap().to_string_lossy();
    let (operation, what) = rule.split_once(':').unwrap();
    orders.give(&format!("{operation}~{id}:{what}"));
    let report = caller.finish();
    report.expect_all_ok(rule);
    let of = |directory: &Path| {
        let segments = sealed(directory, rule);
        let call = report.calls.iter().find(|c| segments[0].is_of(&c.sip_call_id)).unwrap();
        (segments, call.clone())
    };
    let both = [of(victim), of(other)];
    orders.withdraw();
    let (segments, call) = &both[1];
    assert_eq!(states(segments), [RecordingState::Partial], "the other call ({rule})");
    assert_eq!(received(segments), call.streams[0].packets, "the other call lost something ({rule})");
    both
}

fn expect_sound(mut server: Server, repository: &Path) {
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    server.restart();
    wait_for_repair(repository);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
}

#[test]
fn what_fails_in_mid_call_costs_one_segment_and_the_call_goes_on() {
    let (server, orders, repository) = server();
    for rule in [
        "append:fail",
        "append:torn",
        "append:fail@3",
        "patch:fail",
        "patch:torn",
        "replace:fail",
        "replace:torn",
        "rename:fail",
    ] {
        let [(victim, call), _] = hit_one(&server, &orders, &repository, rule);
        let log = server.log();
        assert!(
            log.contains(&format!("{}~", rule.split(':').next().unwrap())),
            "{rule} never happened: {log}"
        );
        // A manifest may be written for the first time when the call is over: then it is closed as after a crash.
        let expected = [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
        let at_the_end = victim.len() == 1 && (rule.starts_with("re"));
        assert!(at_the_end || states(&victim) == expected, "{rule}: {:?} of {call:?}", states(&victim));
        if !at_the_end {
            let told = catalog::alarms(&server);
            let id = victim[0].record.id.to_string();
            assert!(told.iter().any(|(kind, _)| kind == "internal-failure"), "{rule}: {told:?}");
            assert!(log.contains(&id), "{rule}: the log does not name {id}");
        }
    }
    expect_sound(server, &repository);
}

#[test]
fn what_takes_its_time_costs_nothing() {
    let (server, orders, repository) = server();
    for rule in [
        "append:delay=1s",
        "patch:delay=1s",
        "replace:delay=1s",
        "append-line:delay=1s",
        "read:delay=1s",
        "remove:delay=1s",
    ] {
        let [(victim, call), _] = hit_one(&server, &orders, &repository, rule);
        assert_eq!(states(&victim), [RecordingState::Partial], "{rule}");
        assert_eq!(received(&victim), call.streams[0].packets, "{rule}");
    }
    expect_sound(server, &repository);
}

#[test]
fn what_fails_while_a_segment_is_sealed_is_done_again() {
    let (server, orders, repository) = server();
    for rule in ["read:fail", "append-line:fail", "append-line:torn", "append-line:fail@2", "rename:fail@2"] {
        let [(victim, _), _] = hit_one(&server, &orders, &repository, rule);
        assert_eq!(victim.len(), 1, "{rule}: {:?}", states(&victim));
        // All media are there, so nothing is lost; that it was given up for a while is said.
        let kept: i64 = victim[0].record.parts.iter().map(|p| p.duration_us / 1_000).sum();
        assert!(kept >= 2_300, "{rule}: {kept} ms of 2,500");
        let id = victim[0].record.id.to_string();
        wait_until("an alarm that it was given up", PATIENCE, || {
            let told = server.log().lines().any(|l| l.contains("given up") && l.contains(&id));
            if told { Ok(()) } else { Err(format!("{rule}: {:?}", catalog::alarms(&server))) }
        });
    }
    expect_sound(server, &repository);
}

#[test]
fn what_fails_at_the_beginning_refuses_one_call() {
    let (server, orders, repository) = server();
    for (count, rule) in ["list", "make-dir", "create", "append-line"].into_iter().enumerate() {
        // The conclusion of a call before would take the fault upon itself.
        wait_until("the calls before to be concluded", PATIENCE, || {
            let concluded = |d: &PathBuf| {
                let log = std::fs::read_to_string(d.join("call.log")).unwrap_or_default();
                log.contains("\"of\":{\"call\"")
            };
            match directories(&repository).iter().find(|d| !segments(d).is_empty() && !concluded(d)) {
                None => Ok(()),
                Some(d) => Err(d.display().to_string()),
            }
        });
        let running = Caller::start(&server, &format!("running-{rule}"), &["--duration", "2s"]);
        wait_until("a call to be up", PATIENCE, || match directories(&repository).len() {
            n if n > 2 * count => Ok(()),
            n => Err(format!("{n}")),
        });
        orders.give(&format!("{rule}~repository:fail"));
        let refused = Caller::start(&server, &format!("refused-{rule}"), &["--duration", "300ms"]).finish();
        orders.withdraw();
        assert_eq!(refused.calls[0].status, 503, "{rule}: {refused:?}");
        place(&server, &format!("next-{rule}"), &["--duration", "300ms"]);
        let report = running.finish();
        report.expect_all_ok(rule);
        let of_call = |d: &PathBuf| segments(d).iter().any(|s| s.is_of(&report.calls[0].sip_call_id));
        let mine = directories(&repository).into_iter().find(of_call).expect("the running call");
        assert_eq!(received(&sealed(&mine, rule)), report.calls[0].streams[0].packets, "{rule}");
        let told = catalog::alarms(&server);
        assert!(told.iter().filter(|(kind, _)| kind == "not-recorded").count() > count, "{rule}: {told:?}");
    }
    expect_sound(server, &repository);
}

#[test]
fn a_sync_that_fails_is_told_and_costs_no_call() {
    let (server, orders, repository) = server();
    orders.give("sync:fail@1+");
    let report = place(&server, "unsynced", &["--duration", "2500ms"]);
    wait_until("an alarm", PATIENCE, || {
        let told = catalog::alarms(&server);
        let is_told = told.iter().any(|(kind, text)| kind == "unsynced" && text.contains("cannot be synced"));
        if is_told { Ok(()) } else { Err(format!("{told:?}")) }
    });
    orders.withdraw();
    wait_until("it to be over", PATIENCE, || {
        match server.log().contains("cleared: volume repository cannot be synced") {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    let all: Vec<_> = directories(&repository).iter().flat_map(|d| segments(d)).collect();
    assert_eq!(received(&all), report.calls[0].streams[0].packets);
    expect_sound(server, &repository);
}

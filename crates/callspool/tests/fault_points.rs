//! Every file operation of a recording fails, is torn or takes its time in turn, beside calls that it does not hit:
//! the one that it hits is tagged and told of, the others are complete to the last packet, and what lies on disk is
//! sound. What there is to try says [`points`]; starts, the catalog and commands are tried in `fault_starts`.
//!
//! Operations fail on order, which only a debug build of callspool takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fault_support::caller::{CallReport, Caller, place};
use fault_support::catalog;
use fault_support::listing::{
    Segment, directories, expect_sound, segments, wait_for_repair, wait_until_taken,
};
use fault_support::orders::Orders;
use fault_support::points::{Tried, gaps, tried};
use faults::Operation;
use model::RecordingState;
use support::server::Server;
use support::{PATIENCE, wait_until};

/// A server that takes orders to fail.
fn server() -> (Server, Orders, PathBuf) {
    let mut server = Server::prepare(&[]);
    let orders = Orders::of(&mut server);
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

/// Two calls that are up, what happens to one of them, and what came of both: the one that was hit, and the other.
fn hit_one(
    server: &Server,
    orders: &Orders,
    repository: &Path,
    rules: &[(Operation, &str)],
) -> [(Vec<Segment>, CallReport); 2] {
    let what = format!("{rules:?}");
    let before = directories(repository);
    let name = rules.iter().map(|(o, w)| format!("{}-{w}", o.name())).collect::<Vec<_>>().join("-");
    let caller = Caller::start(server, &name, &["--calls", "2", "--rate", "50/s", "--duration", "3500ms"]);
    let up = wait_until("two calls to be up", PATIENCE, || {
        let new: BTreeSet<_> = directories(repository).difference(&before).cloned().collect();
        let has_media = |d: &PathBuf| d.join("001-1.mka").metadata().is_ok_and(|m| m.len() > 2_000);
        if new.len() == 2 && new.iter().all(has_media) { Ok(new) } else { Err(format!("{new:?}")) }
    });
    let (victim, other) = (up.first().unwrap(), up.last().unwrap());
    let id = victim.file_name().unwrap().to_string_lossy();
    let lines: Vec<_> = rules.iter().map(|(o, what)| format!("{}~{id}:{what}", o.name())).collect();
    orders.give(&lines.join("\n"));
    let report = caller.finish();
    report.expect_all_ok(&what);
    let of = |directory: &Path| {
        let segments = sealed(directory, &what);
        let call = report.calls.iter().find(|c| segments[0].is_of(&c.sip_call_id)).unwrap();
        (segments, call.clone())
    };
    let both = [of(victim), of(other)];
    for line in lines {
        orders.expect_obeyed(server, &line);
    }
    orders.withdraw();
    let (segments, call) = &both[1];
    assert_eq!(states(segments), [RecordingState::Partial], "the other call ({what})");
    assert_eq!(received(segments), call.streams[0].packets, "the other call lost something ({what})");
    both
}

#[test]
fn every_operation_is_tried_in_every_way_that_it_can_go_wrong() {
    assert_eq!(gaps(), Vec::<String>::new(), "fault_support/points.rs has the cases");
}

#[test]
fn what_fails_in_mid_call_costs_one_segment_and_the_call_goes_on() {
    let (server, orders, repository) = server();
    for (operation, what, _) in tried(|t| t == Tried::InMidCall) {
        let name = format!("{}:{what}", operation.name());
        // Something is cut back only behind what was torn.
        let rules = match operation {
            Operation::Truncate => vec![(Operation::Append, "torn"), (operation, what)],
            _ => vec![(operation, what)],
        };
        let [(victim, call), _] = hit_one(&server, &orders, &repository, &rules);
        // A manifest may be written for the first time when the call is over: then it is closed as after a crash.
        let expected = [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
        let of_manifest = [Operation::Replace, Operation::Exchange].contains(&operation);
        let at_the_end = victim.len() == 1 && of_manifest;
        assert!(at_the_end || states(&victim) == expected, "{name}: {:?} of {call:?}", states(&victim));
        // It failed once: what was on its way is written when the segment is closed.
        assert_eq!(received(&victim), call.streams[0].packets, "{name}: {victim:?}");
        if !at_the_end {
            let told = catalog::alarms(&server);
            let id = victim[0].record.id.to_string();
            assert!(told.iter().any(|(kind, _)| kind == "internal-failure"), "{name}: {told:?}");
            assert!(server.log().contains(&id), "{name}: the log does not name {id}");
        }
    }
    expect_sound(server);
}

/// Its file takes nothing any more until the process dies: the redo has what had come, and is not emptied before.
#[test]
fn what_a_file_does_not_take_stays_in_the_redo_until_its_segment_is_closed() {
    let (mut server, orders, repository) = server();
    let caller = Caller::start(&server, "refused", &["--calls", "2", "--rate", "50/s", "--duration", "60s"]);
    let victim = wait_until("two calls to be up", PATIENCE, || {
        let up = directories(&repository);
        let has_media = |d: &PathBuf| d.join("001-1.mka").metadata().is_ok_and(|m| m.len() > 2_000);
        match up.first() {
            Some(victim) if up.len() == 2 && up.iter().all(has_media) => Ok(victim.clone()),
            _ => Err(format!("{up:?}")),
        }
    });
    let (part, id) = (victim.join("001-1.mka"), victim.file_name().unwrap().to_string_lossy().into_owned());
    let rule = format!("append~{id}/001-1.mka:fail@1+");
    orders.give(&rule);
    orders.expect_obeyed(&server, &rule);
    let length = || part.metadata().unwrap().len();
    let taken = length();
    // As many are never in use while they are emptied.
    wait_until("six redo files to be full", PATIENCE, || {
        let leaves = std::fs::read_dir(repository.join(".callspool-redo")).unwrap();
        match leaves.filter(|leaf| leaf.as_ref().is_ok_and(|l| l.metadata().unwrap().len() > 0)).count() {
            6.. => Ok(()),
            fewer => Err(format!("{fewer}")),
        }
    });
    server.kill();
    drop(caller);
    assert_eq!(length(), taken);
    orders.withdraw();
    server.restart();
    wait_for_repair(&repository);
    assert!(length() > taken, "nothing was added to {taken} octets");
    expect_sound(server);
}

/// Inodes that are freed make new files slow for minutes, on some file systems.
#[test]
fn a_call_removes_no_file_from_its_invite_until_it_is_sealed() {
    let (server, orders, repository) = server();
    let watched =
        [Operation::Remove, Operation::Rename, Operation::Exchange, Operation::Create, Operation::Mark];
    let rules = watched.map(|o| format!("{}~repository:delay=0s@1+", o.name()));
    orders.give(&rules.join("\n"));
    // Long enough for its manifest to be replaced while it goes on.
    let report = place(&server, "removing", &["--calls", "3", "--rate", "50/s", "--duration", "6s"]);
    report.expect_all_ok("calls that are watched");
    wait_for_repair(&repository);
    let all: Vec<_> = directories(&repository).iter().flat_map(|d| sealed(d, "watched")).collect();
    assert_eq!(states(&all), [RecordingState::Partial; 3]);
    let count = |operation: Operation| {
        let is_it = format!("({} ", operation.name());
        server.log().lines().filter(|l| l.contains("on order") && l.contains(&is_it)).count()
    };
    let [removed, renamed, exchanged, created, marked] = watched.map(count);
    assert_eq!((removed, renamed, created, marked), (0, 0, 6, 3), "{}", server.log());
    assert!(exchanged >= 6, "while a call goes on and when it is sealed: {exchanged}");
    // What was exchanged and nothing else.
    let spares = std::fs::read_dir(repository.join(spool::layout::SPARE_DIR)).unwrap().count();
    assert_eq!(spares, exchanged);
    orders.withdraw();
    expect_sound(server);
}

#[test]
fn what_takes_its_time_costs_nothing() {
    let (server, orders, repository) = server();
    for operation in [
        Operation::Append,
        Operation::Patch,
        Operation::Replace,
        Operation::Exchange,
        Operation::AppendLine,
        Operation::Read,
    ] {
        let [(victim, call), _] = hit_one(&server, &orders, &repository, &[(operation, "delay=1s")]);
        assert_eq!(states(&victim), [RecordingState::Partial], "{operation:?}");
        assert_eq!(received(&victim), call.streams[0].packets, "{operation:?}");
    }
    expect_sound(server);
}

/// A disk that is slow all the time, from before the first file to after the last.
#[test]
fn where_every_operation_takes_its_time_nothing_is_lost() {
    let mut server = Server::prepare(&[]);
    let orders = Orders::of(&mut server);
    let rule = |operation: &Operation| format!("{}:delay=0.03s@1+", operation.name());
    orders.give(&Operation::ALL.iter().map(rule).collect::<Vec<_>>().join("\n"));
    server.restart();
    let report = place(&server, "slow", &["--calls", "2", "--duration", "2s"]);
    let repository = server.state().join("repository");
    let all: Vec<_> = directories(&repository).iter().flat_map(|d| sealed(d, "slow")).collect();
    for call in &report.calls {
        let mine: Vec<_> = all.iter().filter(|s| s.is_of(&call.sip_call_id)).cloned().collect();
        assert_eq!(states(&mine), [RecordingState::Partial]);
        assert_eq!(received(&mine), call.streams[0].packets);
    }
    server.kill();
    server.restart();
    wait_for_repair(&repository);
    orders.withdraw();
    expect_sound(server);
}

#[test]
fn without_a_redo_media_go_straight_to_their_files() {
    for (operation, what, _) in tried(|t| t == Tried::WithoutARedo) {
        let mut server = Server::prepare(&[]);
        let orders = Orders::of(&mut server);
        let rule = format!("{}~repository:{what}", operation.name());
        orders.give(&rule);
        server.restart();
        let repository = server.state().join("repository");
        let report = place(&server, "straight", &["--calls", "2", "--duration", "2500ms"]);
        orders.expect_obeyed(&server, &rule);
        wait_until(&format!("an alarm about {rule}"), PATIENCE, || {
            let log = server.log();
            let is_told = log.lines().any(|l| l.contains("the redo of volume repository cannot be written"));
            if is_told { Ok(()) } else { Err(log) }
        });
        let all: Vec<_> = directories(&repository).iter().flat_map(|d| sealed(d, &rule)).collect();
        for call in &report.calls {
            let mine: Vec<_> = all.iter().filter(|s| s.is_of(&call.sip_call_id)).cloned().collect();
            assert_eq!(states(&mine), [RecordingState::Partial], "{rule}");
            assert_eq!(received(&mine), call.streams[0].packets, "{rule}");
        }
        orders.withdraw();
        expect_sound(server);
    }
}

#[test]
fn what_fails_while_a_segment_is_sealed_is_done_again() {
    let (server, orders, repository) = server();
    for (operation, what, _) in tried(|t| t == Tried::AtTheEnd) {
        let name = format!("{}:{what}", operation.name());
        let [(victim, _), _] = hit_one(&server, &orders, &repository, &[(operation, what)]);
        assert_eq!(victim.len(), 1, "{name}: {:?}", states(&victim));
        // All media are there, so nothing is lost; that it was given up for a while is said.
        let kept: i64 = victim[0].record.parts.iter().map(|p| p.duration_us / 1_000).sum();
        assert!(kept >= 3_300, "{name}: {kept} ms of 3,500");
        let id = victim[0].record.id.to_string();
        wait_until("an alarm that it was given up", PATIENCE, || {
            let told = server.log().lines().any(|l| l.contains("given up") && l.contains(&id));
            if told { Ok(()) } else { Err(format!("{name}: {:?}", catalog::alarms(&server))) }
        });
    }
    expect_sound(server);
}

#[test]
fn what_fails_at_the_beginning_refuses_one_call() {
    let (server, orders, repository) = server();
    for (count, (operation, what, _)) in tried(|t| t == Tried::AtTheBeginning).into_iter().enumerate() {
        let rule = format!("{}~repository:{what}", operation.name());
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
        let running = Caller::start(&server, &format!("running-{count}"), &["--duration", "2s"]);
        wait_until_taken(&server, 2 * count + 1);
        orders.give(&rule);
        let refused = Caller::start(&server, &format!("refused-{count}"), &["--duration", "300ms"]).finish();
        orders.expect_obeyed(&server, &rule);
        orders.withdraw();
        assert_eq!(refused.calls[0].status, 503, "{rule}: {refused:?}");
        wait_until("the next call to be taken", PATIENCE, || {
            let next = Caller::start(&server, &format!("next-{count}"), &["--duration", "300ms"]).finish();
            if next.totals.ok == 1 { Ok(()) } else { Err(format!("{rule}: {next:?}")) }
        });
        let report = running.finish();
        report.expect_all_ok(&rule);
        let of_call = |d: &PathBuf| segments(d).iter().any(|s| s.is_of(&report.calls[0].sip_call_id));
        let mine = directories(&repository).into_iter().find(of_call).expect("the running call");
        assert_eq!(received(&sealed(&mine, &rule)), report.calls[0].streams[0].packets, "{rule}");
        let told = catalog::alarms(&server);
        assert!(told.iter().filter(|(kind, _)| kind == "not-recorded").count() > count, "{rule}: {told:?}");
    }
    expect_sound(server);
}

#[test]
fn what_fails_beside_a_call_is_told_and_costs_it_nothing() {
    // Looks at the volume come five times as often, and what was told before is told again.
    let mut server = Server::prepare(&[("RECORDING__SYNC", "200ms"), ("ALARMS__REPEAT", "1s")]);
    let orders = Orders::of(&mut server);
    server.restart();
    let repository = server.state().join("repository");
    for (count, (operation, what, tried)) in
        tried(|t| matches!(t, Tried::BesideACall(..))).into_iter().enumerate()
    {
        let Tried::BesideACall(kind, words) = tried else { unreachable!() };
        let rule = format!("{}:{what}", operation.name());
        let caller = Caller::start(&server, &format!("beside-{count}"), &["--duration", "2500ms"]);
        wait_until_taken(&server, count + 1);
        let before = server.log().len();
        let logged = |is_it: &dyn Fn(&str) -> bool| match server.log()[before..].lines().any(is_it) {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        };
        orders.give(&rule);
        wait_until(&format!("an alarm about {rule}"), PATIENCE, || {
            logged(&|line| line.contains(words) && !line.contains("cleared"))
        });
        let report = caller.finish();
        report.expect_all_ok(&rule);
        orders.withdraw();
        wait_until(&format!("{rule} to be over"), PATIENCE, || {
            logged(&|line| line.contains("cleared: volume repository") && line.contains(words))
        });
        let told = catalog::alarms(&server);
        assert!(told.iter().any(|(k, text)| k == kind && text.contains(words)), "{rule}: {told:?}");
        let all: Vec<_> = directories(&repository).iter().flat_map(|d| sealed(d, &rule)).collect();
        let mine: Vec<_> = all.into_iter().filter(|s| s.is_of(&report.calls[0].sip_call_id)).collect();
        assert_eq!(states(&mine), [RecordingState::Partial], "{rule}");
        assert_eq!(received(&mine), report.calls[0].streams[0].packets, "{rule}");
        // Without a start in between: what could not be done is done.
        wait_for_repair(&repository);
    }
    expect_sound(server);
}

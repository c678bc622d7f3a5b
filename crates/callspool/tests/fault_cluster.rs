//! Many record servers behind a proxy: calls are spread over them, and go on when one of them dies, hangs or stops.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::caller::{Caller, place};
use fault_support::cluster::Cluster;
use fault_support::sip;
use model::{EndReason, Failure, RecordingState};
use nix::sys::signal::Signal;
use support::messages::Media;
use support::party::{Hush, Party};
use support::uac::Dialog;
use support::{PATIENCE, audio, wait_until};

const HERTZ: f64 = 440.0;
const STRETCH: Duration = Duration::from_millis(1_200);

/// What becomes of the record server that has the call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Killed,
    Hangs,
    Stops,
}

#[test]
fn calls_are_spread_evenly_and_each_is_whole_where_it_is() {
    let cluster = Cluster::start(3);
    let report =
        place(&cluster.proxy, "spread", &["--calls", "12", "--rate", "20/s", "--siprec", "--duration", "2s"]);
    for call in &report.calls {
        let [(_, segment)] = &cluster.sealed(&call.sip_call_id, 1)[..] else { panic!("one segment") };
        assert_eq!((segment.record.number, segment.record.state), (1, RecordingState::Partial));
        let received: Vec<u64> = segment.record.streams.iter().map(|s| s.accounting.received).collect();
        let sent: Vec<u64> = call.streams.iter().map(|s| s.packets).collect();
        assert_eq!(received, sent);
    }
    let counts: Vec<usize> = (0..3).map(|n| cluster.at(n).len()).collect();
    assert!(counts.iter().all(|n| (3..=5).contains(n)), "spread as {counts:?}");
    // A call that lies whole at one record server is complete there.
    for server in &cluster.recorders {
        wait_until("calls to be concluded", PATIENCE, || {
            let calls = server.calls();
            if calls.iter().all(|c| !c.live && c.state == "complete") {
                Ok(())
            } else {
                Err(format!("{calls:?}"))
            }
        });
        let done = server.callspool(&["verify", "--all"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    }
}

#[test]
fn calls_are_sent_on_by_turns_to_where_they_are_recorded() {
    let mut cluster = Cluster::start(2);
    cluster.proxy.kill();
    cluster.proxy.set("CLUSTER__PLACEMENT", "redirect");
    for (n, recorder) in cluster.recorders.iter_mut().enumerate() {
        recorder.kill();
        recorder.set("NODE__ROLES", "proxy,recorder,api");
        let uri = format!("sip:{}", recorder.sip_address());
        cluster.proxy.set(&format!("PEER__REC{}__SIP", n + 1), &uri);
        recorder.restart();
    }
    cluster.proxy.restart();
    cluster.wait_until_ready();
    let mut contacts: Vec<String> = (0..4)
        .map(|_| {
            let answer = sip::ask(&cluster.proxy, "INVITE");
            assert_eq!(answer.status, 302, "{}", answer.text);
            answer.header("Contact").unwrap().to_owned()
        })
        .collect();
    assert_ne!(contacts[0], contacts[1]);
    contacts.sort();
    let each = |n: usize| format!("<sip:{};callspool-placed>", cluster.recorders[n].sip_address());
    assert_eq!(contacts, [each(0), each(0), each(1), each(1)]);
    // There they are recorded as on any node.
    place(&cluster.recorders[1], "there", &["--duration", "300ms"]);
    wait_until("it to be complete", PATIENCE, || {
        let calls = cluster.recorders[1].calls();
        calls.iter().any(|c| c.state == "complete").then_some(()).ok_or(format!("{calls:?}"))
    });
    // The only one that takes calls gets them all, and where there is none the proxy says so.
    assert_eq!(cluster.recorders[0].callspool(&["drain"]).code, Some(0));
    wait_until("the next one to go to the other", PATIENCE, || {
        let to = sip::ask(&cluster.proxy, "INVITE").header("Contact").map(str::to_owned);
        if to == Some(each(1)) { Ok(()) } else { Err(format!("{to:?}")) }
    });
    assert_eq!(cluster.recorders[1].callspool(&["drain"]).code, Some(0));
    wait_until("600", PATIENCE, || {
        let status = sip::ask(&cluster.proxy, "INVITE").status;
        if status == 600 { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn a_call_goes_on_at_another_record_server_when_its_own_is_killed() {
    goes_on(Fate::Killed);
}

#[test]
fn a_call_goes_on_at_another_record_server_when_its_own_hangs() {
    goes_on(Fate::Hangs);
}

#[test]
fn a_call_goes_on_at_another_record_server_when_its_own_stops() {
    goes_on(Fate::Stops);
}

fn goes_on(fate: Fate) {
    let mut cluster = Cluster::start(2);
    let party = Party::new();
    let (id, at) = std::thread::scope(|scope| {
        let (mut dialog, first) = Dialog::begin(&cluster.proxy, "goes-on", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(first);
        std::thread::sleep(STRETCH);
        let [(at, _)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
        let at = *at;
        meet(&mut cluster, at, fate);
        let moved: Vec<Media> = dialog.accept();
        assert_ne!(moved[0].rtp(), first, "{fate:?}");
        party.turn_to(moved[0].rtp());
        std::thread::sleep(STRETCH);
        dialog.bye();
        (dialog.call_id().to_owned(), at)
    });
    recover(&mut cluster, at, fate);
    let segments = cluster.sealed(&id, 2);
    let [(one_at, one), (two_at, two)] = &segments[..] else { panic!("two segments") };
    assert_eq!((*one_at, *two_at), (at, 1 - at));
    assert_eq!((one.record.number, two.record.number), (1, 2));
    assert_eq!(
        (one.record.state, two.record.state),
        (RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent),
        "{fate:?}"
    );
    assert_eq!(one.record.end, Some(EndReason::Internal(Failure::Process)), "{fate:?}");
    assert_eq!(two.record.end, Some(EndReason::HangUp));
    assert_eq!(two.record.total, 2);
    expect_parts(&cluster, at, fate);
    let rest = two.record.streams[0].accounting.received;
    assert!(rest >= 50, "{fate:?}: of 1.2 s of packets each 20 ms it has {rest}");
    for (at, segment) in &segments {
        for part in &segment.record.parts {
            let file = segment.directory.join(&part.file);
            audio::decode(&file, 0).expect_tone(&format!("at {at}, {fate:?}"), HERTZ, &[1_300.0]);
        }
        let done = cluster.recorders[*at].callspool(&["verify", "--all"]);
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    }
}

/// What lies at one of several record servers is not taken for the whole call, by a start of it neither.
fn expect_parts(cluster: &Cluster, at: usize, fate: Fate) {
    let states = [(at, "partial-internal-error"), (1 - at, "partial-internal-error-respondent")];
    for (n, state) in states {
        wait_until("a part of the call to be listed", PATIENCE, || {
            let calls = cluster.recorders[n].calls();
            let is_right = calls.len() == 1 && !calls[0].live && calls[0].state == state;
            if is_right { Ok(()) } else { Err(format!("{fate:?}: {calls:?}")) }
        });
    }
}

fn meet(cluster: &mut Cluster, at: usize, fate: Fate) {
    match fate {
        Fate::Killed => cluster.recorders[at].kill(),
        Fate::Hangs => cluster.recorders[at].signal(Signal::SIGSTOP),
        Fate::Stops => cluster.recorders[at].signal(Signal::SIGTERM),
    }
}

fn recover(cluster: &mut Cluster, at: usize, fate: Fate) {
    match fate {
        Fate::Killed => cluster.recorders[at].restart(),
        Fate::Hangs => cluster.recorders[at].signal(Signal::SIGCONT),
        Fate::Stops => {
            assert_eq!(cluster.recorders[at].wait_for_end().code(), Some(0));
            cluster.recorders[at].restart();
        }
    }
    cluster.wait_until_ready();
}

#[test]
fn fifty_calls_go_on_when_one_of_three_record_servers_is_killed() {
    let mut cluster = Cluster::start(3);
    let arguments = ["--calls", "50", "--rate", "50/s", "--siprec", "--duration", "12s"];
    let caller = Caller::start(&cluster.proxy, "fifty", &arguments);
    wait_until("calls to be up", PATIENCE, || {
        let up: usize = (0..3).map(|n| cluster.at(n).len()).sum();
        if up == 50 { Ok(()) } else { Err(format!("{up} of 50")) }
    });
    std::thread::sleep(STRETCH);
    let moved = cluster.at(0).len();
    assert!(moved >= 10, "{moved} calls at the first record server");
    cluster.recorders[0].kill();
    let report = caller.finish();
    report.expect_all_ok("a record server was killed");
    cluster.recorders[0].restart();
    let mut respondents = 0;
    for call in &report.calls {
        let count = cluster.of(&call.sip_call_id).len();
        let segments = cluster.sealed(&call.sip_call_id, count);
        let states: Vec<_> = segments.iter().map(|(_, s)| s.record.state).collect();
        match &segments[..] {
            [(at, _)] => {
                assert_ne!(*at, 0);
                assert_eq!(states, [RecordingState::Partial]);
            }
            [(first, _), (second, _)] => {
                respondents += 1;
                assert_eq!(*first, 0);
                assert_ne!(*second, 0);
                let expected =
                    [RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent];
                assert_eq!(states, expected);
            }
            more => panic!("{more:#?}"),
        }
    }
    assert_eq!(respondents, moved);
}

#[test]
fn a_record_server_that_is_drained_gets_no_calls_and_stops_when_it_has_none() {
    let mut cluster = Cluster::start(2);
    let caller =
        Caller::start(&cluster.proxy, "before", &["--calls", "4", "--rate", "20/s", "--duration", "3s"]);
    wait_until("calls to be up at both", PATIENCE, || match [0, 1].map(|n| cluster.at(n).len()) {
        [2, 2] => Ok(()),
        counts => Err(format!("{counts:?}")),
    });
    let done = cluster.recorders[0].callspool(&["stop", "--when-idle"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    wait_until("the proxy to know", PATIENCE, || {
        let status = cluster.proxy.callspool(&["status"]).text().to_owned();
        if status.contains("1 of 2 record servers") { Ok(()) } else { Err(status) }
    });
    place(&cluster.proxy, "after", &["--calls", "4", "--rate", "20/s", "--duration", "1s"]);
    assert_eq!([0, 1].map(|n| cluster.at(n).len()), [2, 6]);
    caller.finish().expect_all_ok("a record server is drained");
    assert_eq!(cluster.recorders[0].wait_for_end().code(), Some(0));
    assert!(cluster.at(0).iter().all(|s| s.sealed && s.record.state == RecordingState::Partial));
}

#[test]
fn without_any_record_server_calls_are_refused_and_with_one_again_they_are_not() {
    let mut cluster = Cluster::start(1);
    cluster.recorders[0].kill();
    wait_until("the proxy to notice", PATIENCE, || {
        let status = cluster.proxy.callspool(&["status"]).text().to_owned();
        if status.contains("0 of 1 record servers") { Ok(()) } else { Err(status) }
    });
    sip::expect_refusal(&cluster.proxy, "without a record server");
    sip::expect_options(&cluster.proxy, "without a record server");
    cluster.recorders[0].restart();
    cluster.wait_until_ready();
    place(&cluster.proxy, "again", &["--calls", "2", "--duration", "1s"]);
}

/// A record server whose proxy is gone goes on, and ends what brings no media any more by itself.
#[test]
fn what_a_proxy_ordered_that_is_gone_is_recorded_on_and_closed() {
    let mut cluster = Cluster::with(1, &[("MEDIA__MEDIA_TIMEOUT", "2s"), ("ALARMS__NO_MEDIA", "0s")]);
    let party = Party::new();
    let id = std::thread::scope(|scope| {
        let (dialog, media) = Dialog::begin(&cluster.proxy, "orphan", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(media);
        std::thread::sleep(STRETCH);
        cluster.proxy.kill();
        std::thread::sleep(STRETCH);
        dialog.call_id().to_owned()
    });
    let [(_, segment)] = &cluster.sealed(&id, 1)[..] else { panic!("one segment") };
    assert_eq!(segment.record.end, Some(EndReason::Upstream(Failure::MediaTimeout)));
    let received = segment.record.streams[0].accounting.received;
    assert!(received >= 100, "of 2.4 s of packets each 20 ms it has {received}");
}

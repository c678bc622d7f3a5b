//! Two proxies before the same record servers: when one of them dies, the other carries on its dialogs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(dead_code, reason = "what tests share is more than one of them needs")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::cluster::Cluster;
use model::{EndReason, RecordingState};
use nix::sys::signal::Signal;
use support::party::{Hush, Party};
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, wait_until};

const HERTZ: f64 = 440.0;
const STRETCH: Duration = Duration::from_millis(1_200);

/// Waits until a call of this proxy is in progress there.
fn wait_for_call(proxy: &Server) {
    wait_until("the call to be carried on", PATIENCE, || {
        let status = proxy.callspool(&["status"]).text().to_owned();
        if status.contains("recording: 1 calls") { Ok(()) } else { Err(status) }
    });
}

/// A call that lies whole at its record server is complete there.
fn expect_complete(cluster: &Cluster, at: usize) {
    wait_until("the call to be concluded", PATIENCE, || {
        let calls = cluster.recorders[at].calls();
        let is_right = calls.len() == 1 && !calls[0].live && calls[0].state == "complete";
        if is_right { Ok(()) } else { Err(format!("{calls:?}")) }
    });
}

#[test]
fn a_client_hangs_up_at_another_proxy_when_its_own_is_killed() {
    let mut cluster = Cluster::start(1);
    let other = cluster.another_proxy(101, &[]);
    let party = Party::new();
    let id = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "hangs-up", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(media);
        std::thread::sleep(STRETCH);
        cluster.proxy.kill();
        dialog.turn_to(&other);
        dialog.bye();
        dialog.call_id().to_owned()
    });
    let [(at, segment)] = &cluster.sealed(&id, 1)[..] else { panic!("one segment") };
    assert_eq!(segment.record.state, RecordingState::Partial);
    assert_eq!(segment.record.end, Some(EndReason::HangUp));
    expect_complete(&cluster, *at);
}

#[test]
fn what_is_carried_on_is_renegotiated_and_moves_when_its_record_server_dies_too() {
    let mut cluster = Cluster::start(2);
    let other = cluster.another_proxy(101, &[]);
    let party = Party::new();
    let (id, at) = std::thread::scope(|scope| {
        let (mut dialog, first) = Dialog::begin(&cluster.proxy, "moves", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(first);
        std::thread::sleep(STRETCH);
        let [(at, _)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
        let at = *at;
        cluster.proxy.kill();
        dialog.turn_to(&other);
        let again = dialog.offer("sendonly");
        assert_eq!(again[0].rtp(), first, "the segment goes on where it is");
        std::thread::sleep(STRETCH);
        cluster.recorders[at].kill();
        let moved = dialog.accept();
        assert_ne!(moved[0].rtp(), first);
        party.turn_to(moved[0].rtp());
        std::thread::sleep(STRETCH);
        // The one that died is there again, and does nothing to what is not its own any more.
        cluster.proxy.restart();
        dialog.bye();
        (dialog.call_id().to_owned(), at)
    });
    cluster.recorders[at].restart();
    let segments = cluster.sealed(&id, 2);
    let [(one_at, one), (two_at, two)] = &segments[..] else { panic!("two segments") };
    assert_eq!((*one_at, *two_at), (at, 1 - at));
    assert_eq!((one.record.number, two.record.number), (1, 2));
    assert_eq!(
        (one.record.state, two.record.state),
        (RecordingState::PartialInternalError, RecordingState::PartialInternalErrorRespondent)
    );
    assert_eq!((two.record.end.clone(), two.record.total), (Some(EndReason::HangUp), 2));
}

#[test]
fn a_call_of_which_nobody_says_anything_is_offered_to_another_proxy() {
    let mut cluster = Cluster::with(2, &[("CLUSTER__ADOPT_AFTER", "1s")]);
    let other = cluster.another_proxy(101, &[]);
    let party = Party::new();
    let id = std::thread::scope(|scope| {
        let (mut dialog, first) = Dialog::begin(&cluster.proxy, "offered", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(first);
        std::thread::sleep(STRETCH);
        let [(at, _)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
        let at = *at;
        cluster.proxy.kill();
        wait_for_call(&other);
        cluster.recorders[at].kill();
        let moved = dialog.accept();
        party.turn_to(moved[0].rtp());
        dialog.turn_to(&other);
        std::thread::sleep(STRETCH);
        dialog.bye();
        cluster.recorders[at].restart();
        dialog.call_id().to_owned()
    });
    let segments = cluster.sealed(&id, 2);
    assert_eq!(segments[1].1.record.end, Some(EndReason::HangUp));
}

#[test]
fn a_dialog_whose_proxy_and_record_server_died_together_is_over_and_nothing_of_it_stays_live() {
    let mut cluster = Cluster::start(2);
    let other = cluster.another_proxy(101, &[]);
    let party = Party::new();
    let (id, at) = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "both", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(media);
        std::thread::sleep(STRETCH);
        let [(at, _)] = &cluster.of(dialog.call_id())[..] else { panic!("one segment") };
        let at = *at;
        cluster.proxy.kill();
        cluster.recorders[at].kill();
        dialog.turn_to(&other);
        assert_eq!(dialog.try_bye(), 481, "nobody knows it, and the client is done with it");
        (dialog.call_id().to_owned(), at)
    });
    cluster.recorders[at].restart();
    let [(_, segment)] = &cluster.sealed(&id, 1)[..] else { panic!("one segment") };
    assert_eq!(segment.record.state, RecordingState::PartialInternalError);
    wait_until("the call not to be live", PATIENCE, || {
        let calls = cluster.recorders[at].calls();
        if calls.len() == 1 && !calls[0].live { Ok(()) } else { Err(format!("{calls:?}")) }
    });
    for proxy in [&other, &cluster.proxy] {
        let status = proxy.callspool(&["status"]);
        assert!(status.code != Some(0) || status.text().contains("recording: 0 calls"), "{}", status.text());
    }
}

#[test]
fn a_proxy_that_hung_is_told_that_its_call_is_another_s_and_says_nothing() {
    let cluster = Cluster::start(1);
    let other = cluster.another_proxy(101, &[]);
    let party = Party::new();
    let id = std::thread::scope(|scope| {
        let (mut dialog, media) = Dialog::begin(&cluster.proxy, "hung", party.mouth.port());
        scope.spawn(|| party.talk(HERTZ));
        let _at_the_end = Hush(&[&party]);
        party.turn_to(media);
        std::thread::sleep(STRETCH);
        cluster.proxy.signal(Signal::SIGSTOP);
        dialog.turn_to(&other);
        dialog.offer("sendonly");
        cluster.proxy.signal(Signal::SIGCONT);
        wait_until("the other to forget it", PATIENCE, || {
            let status = cluster.proxy.callspool(&["status"]).text().to_owned();
            if status.contains("recording: 0 calls") { Ok(()) } else { Err(status) }
        });
        std::thread::sleep(STRETCH);
        dialog.bye();
        dialog.call_id().to_owned()
    });
    let [(at, segment)] = &cluster.sealed(&id, 1)[..] else { panic!("one segment") };
    assert_eq!(
        (segment.record.state, &segment.record.end),
        (RecordingState::Partial, &Some(EndReason::HangUp))
    );
    expect_complete(&cluster, *at);
}

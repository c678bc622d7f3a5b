//! The two ends of a phone's bridge reach different proxies, and so does what follows after a hold: all of it is one call,
//! at one record server or, once it is gathered, at two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(dead_code, reason = "what tests share is more than one of them needs")]

mod fault_support;
mod support;

use std::time::Duration;

use fault_support::cluster::Cluster;
use support::audio::Sound;
use support::party::{Hush, Party};
use support::recording::ListedCall;
use support::server::Server;
use support::sipp::{Scenario, Sipp};
use support::{PATIENCE, wait_until};

const AGENT: f64 = 440.0;
const EXTERNAL: f64 = 1_300.0;
const STRETCH: Duration = Duration::from_millis(1_200);
const GUID: &str = "12F15A80-0001-0000-0000-000BF38F00AA";

/// One end of a bridge begins.
fn bridge(proxy: &Server, end: &str, refci: u32) -> Sipp {
    let says = format!(
        "x-{end};x-refci={refci};x-nearendclusterid=C1;x-nearenddevice=SEP001122334455;x-nearendaddr=1001;\
         x-farendrefci=27298946;x-farenddevice=GW1;x-farendaddr=0301234;x-farendguid={GUID}"
    );
    Scenario::new("bridge").named(&format!("{end}-{refci}")).key("end", says).start(proxy)
}

fn finish(mut sipp: Sipp) {
    sipp.go_on();
    sipp.finish();
}

/// Waits until a record server lists one call, of so many segments, that is over and in this state.
fn wait_for_one_call(server: &Server, segments: u64, patience: Duration) -> ListedCall {
    wait_until(&format!("one call of {segments} segments"), patience, || {
        let mut calls = server.calls();
        let is_so = calls.len() == 1
            && !calls[0].live
            && (calls[0].segments, calls[0].state.as_str()) == (segments, "complete");
        if is_so { Ok(calls.remove(0)) } else { Err(format!("{calls:?}\n{}", server.log())) }
    })
}

fn expect_sides(sound: &[Sound]) {
    sound[0].cut(0.5, 1.0).expect_tone("the agent, on the left", AGENT, &[EXTERNAL]);
    sound[1].cut(0.5, 1.0).expect_tone("the external party, on the right", EXTERNAL, &[AGENT]);
}

/// Waits until so many record servers take calls of a proxy.
fn wait_for_places(proxy: &Server, taking: usize, of: usize) {
    let says = format!("{taking} of {of} record servers take calls");
    wait_until(&says, PATIENCE, || {
        let status = proxy.callspool(&["status"]).text().to_owned();
        if status.contains(&says) { Ok(()) } else { Err(status) }
    });
}

#[test]
fn both_ends_and_what_follows_a_hold_are_one_call_whichever_proxy_they_reach() {
    let cluster = Cluster::start(1);
    let other = cluster.another_proxy(101, &[]);
    let (agent, external) = (Party::new(), Party::new());
    let server = &cluster.recorders[0];
    std::thread::scope(|scope| {
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        let turns = [(27_298_945, &cluster.proxy, &other, 2), (27_300_001, &other, &cluster.proxy, 4)];
        for (refci, to_near, to_far, segments) in turns {
            let (mut near, mut far) = (bridge(to_near, "nearend", refci), bridge(to_far, "farend", refci));
            agent.turn_to(near.answer("1 INVITE").media()[0].rtp());
            external.turn_to(far.answer("1 INVITE").media()[0].rtp());
            std::thread::sleep(STRETCH);
            finish(near);
            finish(far);
            // The agent holds: the call is complete, as far as anybody can tell.
            wait_for_one_call(server, segments, PATIENCE);
        }
    });
    let call = wait_for_one_call(server, 4, PATIENCE);
    assert_eq!((call.total, call.code), (4, 6), "{call:?}");
    expect_sides(&server.export(&call.id, &[]));
}

#[test]
fn both_ends_at_two_proxies_and_two_record_servers_come_together_as_one_call() {
    let cluster = Cluster::gathering(2, &[]);
    let other = cluster.another_proxy(101, &[]);
    let (agent, external) = (Party::new(), Party::new());
    std::thread::scope(|scope| {
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        cluster.recorders[1].callspool(&["drain"]);
        wait_for_places(&cluster.proxy, 1, 2);
        let mut near = bridge(&cluster.proxy, "nearend", 27_298_945);
        agent.turn_to(near.answer("1 INVITE").media()[0].rtp());
        cluster.recorders[1].callspool(&["drain", "--off"]);
        wait_for_places(&other, 2, 2);
        cluster.recorders[0].callspool(&["drain"]);
        wait_for_places(&other, 1, 2);
        let mut far = bridge(&other, "farend", 27_298_945);
        external.turn_to(far.answer("1 INVITE").media()[0].rtp());
        std::thread::sleep(STRETCH);
        assert_eq!([0, 1].map(|n| cluster.at(n).len()), [1, 1], "one segment at each");
        finish(near);
        finish(far);
    });
    let whole = wait_until("all of it to lie at one record server", PATIENCE * 2, || {
        let at = [0, 1].map(|n| cluster.at(n).len());
        match at {
            [2, 0] => Ok(0),
            [0, 2] => Ok(1),
            _ => {
                let told = [0, 1].map(|n| cluster.recorders[n].callspool(&["gather"]).text().to_owned());
                Err(format!("{at:?}: {told:?}"))
            }
        }
    });
    let server = &cluster.recorders[whole];
    let call = wait_for_one_call(server, 2, PATIENCE);
    for node in [&cluster.proxy, &other, &cluster.recorders[0], &cluster.recorders[1]] {
        assert!(!node.log().contains("ERROR"), "{}", node.log());
    }
    let verified = server.callspool(&["verify", "--all"]);
    assert_eq!(verified.code, Some(0), "{}{}", verified.text(), verified.err);
    let sound = server.export(&call.id, &[]);
    let end = sound[0].seconds();
    let both = |side: usize| sound[side].cut(end - 0.9, end - 0.4);
    both(0).expect_tone("the agent, on the left", AGENT, &[EXTERNAL]);
    both(1).expect_tone("the external party, on the right", EXTERNAL, &[AGENT]);
}

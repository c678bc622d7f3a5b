//! Phones that fork their calls themselves (Cisco built-in bridge), and gateways that do it for them: dialogs without
//! metadata, which are one call all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::time::Duration;

use model::{RecordingState, SegmentRecord, Side};
use support::messages::Media;
use support::party::{Hush, Party};
use support::recording::Recorded;
use support::server::Server;
use support::sipp::{Scenario, Sipp};
use support::{PATIENCE, audio, wait_until};

const AGENT: f64 = 440.0;
const EXTERNAL: f64 = 1_300.0;
const STRETCH: Duration = Duration::from_millis(1_500);
const GUID: &str = "12F15A80-0001-0000-0000-000BF38F00AA";

/// One end of a bridge begins, as a cluster says it.
fn bridge(server: &Server, name: &str, end: &str, refci: u32) -> Sipp {
    let says = format!(
        "x-{end};x-refci={refci};x-nearendclusterid=C1;x-nearenddevice=SEP001122334455;x-nearendaddr=1001;\
         x-farendrefci=27298946;x-farenddevice=GW1;x-farendaddr=0301234;x-farendguid={GUID}"
    );
    Scenario::new("bridge").named(name).key("end", says).start(server)
}

/// Where the media of an end go.
fn answered(sipp: &mut Sipp) -> Media {
    let media = sipp.answer("1 INVITE").media();
    assert_eq!(media.len(), 1, "an offer of one line: {media:?}");
    assert!(media[0].has("recvonly"), "{:?}", media[0].attributes);
    media.into_iter().next().unwrap()
}

fn finish(mut sipp: Sipp) {
    sipp.go_on();
    sipp.finish();
}

fn expect_sides(recorded: &Recorded, segment: &SegmentRecord) {
    let mut sides: Vec<_> = segment.streams.iter().map(|s| s.side).collect();
    sides.sort_unstable();
    assert_eq!(sides, [Side::Agent, Side::External], "{:#?}", segment.streams);
    let mut slots: Vec<_> = segment.streams.iter().map(|s| s.slot).collect();
    slots.dedup();
    assert_eq!(slots.len(), 2, "each has a slot of its own");
    for part in &segment.parts {
        for track in &part.tracks {
            let stream = segment.streams.iter().find(|s| s.id == track.stream).unwrap();
            let (tone, other) =
                if stream.side == Side::Agent { (AGENT, EXTERNAL) } else { (EXTERNAL, AGENT) };
            let sound = audio::decode(&recorded.directory.join(&part.file), usize::from(track.track) - 1);
            // A part begins with each change of the streams: some hold next to nothing of one.
            if sound.seconds() > 0.3 {
                sound.expect_tone(&format!("the {:?}", stream.side), tone, &[other]);
            }
        }
    }
}

#[test]
fn both_ends_are_one_call_and_a_hold_is_a_further_segment_of_it() {
    let server = Server::start();
    let (agent, external) = (Party::new(), Party::new());
    let first = std::thread::scope(|scope| {
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        let mut first = String::new();
        for (hold, refci) in [("talk", 27_298_945), ("resumed", 27_300_001)] {
            let mut near = bridge(&server, &format!("near-{hold}"), "nearend", refci);
            let mut far = bridge(&server, &format!("far-{hold}"), "farend", refci);
            agent.turn_to(answered(&mut near).rtp());
            external.turn_to(answered(&mut far).rtp());
            std::thread::sleep(STRETCH);
            first = if first.is_empty() { near.call_id().to_owned() } else { first };
            finish(near);
            finish(far);
            // The agent holds: the call is complete, as far as anybody can tell.
            server.wait_for_state(&first, "complete");
        }
        first
    });
    let recorded = server.wait_for_state(&first, "complete");
    let [one, two] = &recorded.segments[..] else { panic!("two segments: {:#?}", recorded.segments) };
    assert_eq!((one.number, two.number, two.total), (1, 2, 2));
    assert_eq!((one.state, two.state), (RecordingState::Partial, RecordingState::Partial));
    for segment in [one, two] {
        expect_sides(&recorded, segment);
        let data = &segment.data;
        assert_eq!(
            (data.device.as_deref(), data.dn.as_deref()),
            (Some("SEP001122334455"), Some("1001")),
            "{data:#?}"
        );
        let parties: Vec<_> = data.parties.iter().map(|p| (p.number.as_deref(), p.side)).collect();
        assert_eq!(parties, [(Some("1001"), Side::Agent), (Some("0301234"), Side::External)]);
    }
    assert_eq!(two.data.sip_call_ids.len(), 4, "each dialog is noted: {:?}", two.data.sip_call_ids);
    let calls = server.calls();
    assert_eq!((calls.len(), calls[0].segments, calls[0].total, calls[0].code), (1, 2, 2, 6), "{calls:?}");
    let sound = server.export(&recorded.id(), &[]);
    // Within one segment: across the hold the tone has another phase.
    sound[0].cut(0.5, 1.2).expect_tone("the agent, on the left", AGENT, &[EXTERNAL]);
    sound[1].cut(0.5, 1.2).expect_tone("the external party, on the right", EXTERNAL, &[AGENT]);
    let log = std::fs::read_to_string(recorded.directory.join("call.log")).unwrap();
    let states: Vec<_> = ["\"complete\"", "\"partial\""].iter().map(|s| log.matches(s).count()).collect();
    assert!(states[0] >= 2 && log.contains("continued"), "{log}");
}

#[test]
fn one_end_may_come_late_and_one_that_never_comes_is_told_of() {
    let server = Server::start();
    let (agent, external) = (Party::new(), Party::new());
    let call_id = std::thread::scope(|scope| {
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        let mut near = bridge(&server, "near", "nearend", 27_298_945);
        agent.turn_to(answered(&mut near).rtp());
        wait_until("an alarm for the end that is missing", PATIENCE + Duration::from_secs(10), || {
            let log = server.log();
            if log.contains("only the near end of a call is recorded") {
                Ok(())
            } else {
                Err("none".to_owned())
            }
        });
        let mut far = bridge(&server, "far", "farend", 27_298_945);
        external.turn_to(answered(&mut far).rtp());
        std::thread::sleep(STRETCH);
        let call_id = near.call_id().to_owned();
        finish(far);
        finish(near);
        call_id
    });
    let recorded = server.wait_for_state(&call_id, "complete");
    let segment = recorded.segment();
    expect_sides(&recorded, segment);
    let sound = server.export(&recorded.id(), &[]);
    let (late, end) = (9.0, sound[1].seconds());
    assert!(
        sound[1].silences(late).iter().any(|(from, _)| *from < 0.1),
        "the far end is silent until it comes"
    );
    sound[1].cut(end - 1.2, end - 0.3).expect_tone("the far end at its end", EXTERNAL, &[AGENT]);
    sound[0].cut(end - 1.2, end - 0.3).expect_tone("the near end at the same time", AGENT, &[EXTERNAL]);
}

#[test]
fn a_gateway_and_a_phone_that_fork_the_same_call_are_one_call_by_the_cisco_guid() {
    let server = Server::start();
    let (agent, external) = (Party::new(), Party::new());
    let call_id = std::thread::scope(|scope| {
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        let gateway = Scenario::new("gateway").key("guid", "0317807232-0000065536-0000000011-4086235306");
        let mut gateway =
            gateway.key("agent", agent.mouth.port()).key("external", external.mouth.port()).start(&server);
        let media = gateway.answer("101 INVITE").media();
        agent.turn_to(media[0].rtp());
        external.turn_to(media[1].rtp());
        std::thread::sleep(STRETCH);
        let call_id = gateway.call_id().to_owned();
        finish(gateway);
        server.wait_for_state(&call_id, "complete");
        let mut near = bridge(&server, "near", "nearend", 27_298_945);
        agent.turn_to(answered(&mut near).rtp());
        std::thread::sleep(STRETCH);
        finish(near);
        call_id
    });
    wait_until("a second segment of the same call", PATIENCE, || {
        let calls = server.calls();
        let whole = calls.len() == 1 && (calls[0].segments, calls[0].code) == (2, 6);
        if whole { Ok(()) } else { Err(format!("{calls:?}")) }
    });
    let recorded = server.wait_for_state(&call_id, "complete");
    let [one, two] = &recorded.segments[..] else { panic!("two segments: {:#?}", recorded.segments) };
    assert_eq!((one.streams.len(), two.streams.len(), two.streams[0].side), (2, 1, Side::Agent));
}

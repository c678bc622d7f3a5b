//! A segment whose streams change while it goes on: one is held, one is added, one changes its codec.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod support;

use std::time::Duration;

use model::{EndReason, GapReason, StreamRecord};
use support::audio::{self, Sound};
use support::calls::place;
use support::party::{Hush, Party};
use support::recording::{Recorded, expect_close};
use support::rtp::{Mouth, Talk};
use support::server::Server;
use support::sipp::Scenario;

const AGENT: f64 = 440.0;
const EXTERNAL: f64 = 1_300.0;
const STRETCH: Duration = Duration::from_millis(1_200);
/// What a tick of the media thread, the way of a re-INVITE and a busy machine may move an edge by.
const EDGE: Duration = Duration::from_millis(100);

/// Two parties talk all the time; after each stretch the scenario goes on. Lines that an answer brings are talked to.
fn session(server: &Server, scenario: &str, offers: &[&str]) -> (Recorded, [Party; 2]) {
    let parties = [Party::new(), Party::new()];
    let [agent, external] = &parties;
    let scenario = Scenario::new(scenario).key("agent", agent.mouth.port());
    let mut sipp = scenario.key("external", external.mouth.port()).start(server);
    let call_id = sipp.call_id().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[agent, external]);
        for cseq in offers {
            for (party, line) in parties.iter().zip(sipp.answer(cseq).media()) {
                party.turn_to(line.rtp());
            }
            std::thread::sleep(STRETCH);
            sipp.go_on();
        }
        sipp.finish();
    });
    let recorded = server.wait_for_state(&call_id, "complete");
    let segment = recorded.segment();
    assert_eq!((segment.number, segment.total, &segment.end), (1, 1, &Some(EndReason::HangUp)));
    for stream in &segment.streams {
        let a = stream.accounting;
        assert_eq!((a.lost, a.duplicate, a.late, a.invalid, a.dropped), (0, 0, 0, 0, 0), "{a:?}");
    }
    (recorded, parties)
}

/// From the first packet on, in seconds of the segment.
fn begin(stream: &StreamRecord) -> f64 {
    stream.anchors[0].position_us as f64 / 1e6
}

/// The tone is there all the time, and nothing was cut out: no silence of a frame's length.
fn expect_unbroken(what: &str, sound: &Sound, from: f64, tone: f64, other: f64) {
    let end = sound.samples.iter().rposition(|s| *s != 0).unwrap() as f64 / f64::from(sound.rate);
    let silences = sound.cut(from, end).silences(0.015);
    assert!(silences.is_empty(), "{what}: {silences:?}");
    sound.cut(from + 0.1, end - 0.1).expect_tone(what, tone, &[other]);
}

#[test]
fn one_stream_held_is_a_span_and_no_end() {
    let server = Server::start();
    let (recorded, parties) = session(&server, "siprec_one_held", &["1 INVITE", "2 INVITE", "3 INVITE"]);
    let [agent, external] = &recorded.segment().streams[..] else { panic!("two streams") };
    let holds: Vec<_> = agent.gaps.iter().filter(|g| g.reason == GapReason::Hold).collect();
    let [hold] = holds[..] else { panic!("one hold: {:?}", agent.gaps) };
    let (from, until) = (hold.from_us as f64 / 1e6, hold.until_us as f64 / 1e6);
    expect_close("the hold", until - from, STRETCH.as_secs_f64(), EDGE);
    assert!(agent.accounting.discarded > 50, "{:?}", agent.accounting);
    assert!(external.gaps.iter().all(|g| g.reason != GapReason::Hold), "{:?}", external.gaps);
    assert_eq!(external.accounting.discarded, 0);
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], external.port));
    assert!(parties[1].sent_to(to) - external.accounting.received <= 2, "{:?}", external.accounting);

    let [left, right] = &server.export(&recorded.id(), &[])[..] else { panic!("two channels") };
    let [silence] = left.silences(0.5)[..] else { panic!("one silence: {:?}", left.silences(0.5)) };
    expect_close("the silence's begin", silence.0, from, EDGE);
    expect_close("the silence's end", silence.1, until, EDGE);
    left.cut(until + 0.1, until + 1.0).expect_tone("agent, resumed", AGENT, &[EXTERNAL]);
    expect_unbroken("external", right, begin(external), EXTERNAL, AGENT);
}

#[test]
fn a_stream_that_is_added_begins_another_part() {
    let server = Server::start();
    let (recorded, _) = session(&server, "siprec_grows", &["1 INVITE", "2 INVITE"]);
    let segment = recorded.segment();
    let [agent, external] = &segment.streams[..] else { panic!("two streams") };
    let tracks: Vec<_> = segment.parts.iter().map(|p| p.tracks.len()).collect();
    assert_eq!(tracks, [1, 2], "{:?}", segment.parts);
    for (n, path) in recorded.parts().iter().enumerate() {
        audio::probe(path);
        audio::decode(path, 0).expect_tone("agent's track", AGENT, &[EXTERNAL]);
        let length = segment.parts[n].duration_us as f64 / 1e6;
        expect_close("a part", audio::decode(path, 0).seconds(), length, EDGE);
    }
    audio::decode(&recorded.parts()[1], 1).expect_tone("external's track", EXTERNAL, &[AGENT]);
    expect_close("the second stream's begin", begin(external), begin(agent) + STRETCH.as_secs_f64(), EDGE);

    let [left, right] = &server.export(&recorded.id(), &[])[..] else { panic!("two channels") };
    expect_unbroken("agent", left, begin(agent), AGENT, EXTERNAL);
    expect_unbroken("external", right, begin(external), EXTERNAL, AGENT);
    let before = right.silences(0.5);
    assert_eq!(before.len(), 1, "external: {before:?}");
    expect_close("external: silence until it begins", before[0].1, begin(external), EDGE);
}

#[test]
fn a_codec_that_changes_begins_another_part_and_is_heard_through() {
    let server = Server::start();
    let talk = Talk::new(AGENT, Duration::from_secs(3));
    let mut packets = talk.packets();
    let a_law = Talk { payload_type: 8, ..talk }.packets();
    packets.splice(50..100, a_law[50..100].iter().cloned());
    let recorded = place(&server, Scenario::new("call"), &Mouth::open(), &packets, "complete").recorded;
    let (segment, stream) = (recorded.segment(), recorded.stream());
    let a = stream.accounting;
    assert_eq!((a.received, a.lost, a.codec_changes), (150, 0, 2), "{a:?}");
    let names = |p: &model::PartRecord| p.tracks.iter().map(|t| t.codec.name.clone()).collect::<Vec<_>>();
    let parts: Vec<_> = segment.parts.iter().map(names).collect();
    assert!(parts.len() >= 2 && parts.iter().flatten().any(|n| n == "PCMA"), "{parts:?}");
    recorded.parts().iter().for_each(|p| drop(audio::probe(p)));
    let sound = server.export(&recorded.id(), &["--mono"]).remove(0);
    expect_unbroken("the export", &sound, begin(stream), AGENT, EXTERNAL);
}

//! A SIPREC session of two streams that is held and resumed: one call, two segments, true silence between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod support;

use std::time::Duration;

use model::{EndReason, GapReason, RecordingState, SegmentRecord, Side, StreamRecord};
use support::messages::Media;
use support::party::{Hush, Party};
use support::recording::expect_close;
use support::server::Server;
use support::sipp::Scenario;
use support::uac::Dialog;
use support::{PATIENCE, audio, wait_until};

const AGENT: f64 = 440.0;
const EXTERNAL: f64 = 1_300.0;
const STRETCH: Duration = Duration::from_millis(1_500);
/// What a tick of the media thread, the way of a re-INVITE and a busy machine may move an edge by.
const EDGE: Duration = Duration::from_millis(100);

#[test]
fn a_hold_makes_two_segments_with_true_silence_between() {
    let server = Server::start();
    let (agent, external) = (Party::new(), Party::new());
    let scenario = Scenario::new("siprec_hold");
    let mut sipp =
        scenario.key("agent", agent.mouth.port()).key("external", external.mouth.port()).start(&server);
    let call_id = sipp.call_id().to_owned();

    let (first, held, second) = std::thread::scope(|scope| {
        let first = sipp.answer("1 INVITE").media();
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        let point = |media: &[Media]| {
            agent.turn_to(media[0].rtp());
            external.turn_to(media[1].rtp());
        };
        point(&first);
        std::thread::sleep(STRETCH);
        sipp.go_on();
        let held = sipp.answer("2 INVITE").media();
        wait_until("the first segment to be over and another expected", PATIENCE, || {
            let calls = server.calls();
            let held = calls.len() == 1 && !calls[0].live && (calls[0].segments, calls[0].total) == (1, 2);
            if held && calls[0].ended.is_none() { Ok(()) } else { Err(format!("{calls:?}")) }
        });
        std::thread::sleep(STRETCH);
        sipp.go_on();
        let second = sipp.answer("3 INVITE").media();
        point(&second);
        std::thread::sleep(STRETCH);
        sipp.go_on();
        sipp.finish();
        (first, held, second)
    });
    for (media, direction) in [(&first, "recvonly"), (&held, "inactive"), (&second, "recvonly")] {
        assert_eq!(media.len(), 2);
        for (m, label) in media.iter().zip(["label:1", "label:2"]) {
            assert!(m.has(direction) && m.has(label), "{direction}: {:?}", m.attributes);
        }
    }

    let recorded = server.wait_for_state(&call_id, "complete");
    let [one, two] = &recorded.segments[..] else { panic!("two segments: {}", recorded.segments.len()) };
    assert_eq!((one.number, one.total, one.state), (1, 2, RecordingState::Partial));
    assert_eq!((two.number, two.total, two.state), (2, 2, RecordingState::Partial));
    assert_eq!((&one.end, &two.end), (&Some(EndReason::Hold), &Some(EndReason::HangUp)));
    let listed = server.calls();
    assert_eq!(
        (listed.len(), listed[0].segments, listed[0].total, listed[0].code),
        (1, 2, 2, 6),
        "{listed:?}"
    );

    let shown = server.show(&recorded.id());
    assert_eq!((shown["state"].as_str(), shown["total"].as_u64()), (Some("complete"), Some(2)), "{shown:#}");
    let states: Vec<_> =
        shown["segments"].as_array().unwrap().iter().map(|s| &s["record"]["state"]).collect();
    assert_eq!(states, ["partial", "partial"], "{shown:#}");

    for segment in [one, two] {
        expect_parties(segment);
        let sides: Vec<_> = segment.streams.iter().map(|s| (s.side, s.label.as_deref())).collect();
        assert_eq!(sides, [(Side::Agent, Some("1")), (Side::External, Some("2"))]);
    }
    assert_eq!(one.metadata.len(), 1, "the metadata of the INVITE are kept");
    assert!(one.metadata[0].text.contains("<participant participant_id=\"srfBElmCRp2QB23b7Mpk0w==\">"));

    for (segment, media) in [(one, &first), (two, &second)] {
        for (stream, party, line) in
            [(&segment.streams[0], &agent, &media[0]), (&segment.streams[1], &external, &media[1])]
        {
            expect_counts(segment, stream, party.sent_to(line.rtp()));
        }
    }
    expect_sound(&server, &recorded.id(), one, two);
    for part in recorded.parts() {
        audio::decode(&part, 0).expect_tone("agent's track", AGENT, &[EXTERNAL]);
        audio::decode(&part, 1).expect_tone("external's track", EXTERNAL, &[AGENT]);
    }
}

/// Metadata that are cut short do not keep a call from being recorded; the client is asked for all of them, once, and
/// what it then tells is known of the call. Its names are not escaped, and are read all the same.
#[test]
fn a_client_is_asked_for_what_its_metadata_left_open() {
    let server = Server::start();
    let cut = r#"<recording><datamode>complete</datamode><session session_id="c"/><participant participant_id="a"><nameID aor="sip:10"#;
    let mut dialog = Dialog::begin_recording(&server, "snapshot", 40_000, cut);
    let asked = dialog.updated();
    assert_eq!(asked.header("Content-Type"), Some("application/rs-metadata-request"), "{}", asked.text);
    assert_eq!(asked.header("Content-Disposition"), Some("recording-session"));
    assert!(
        asked.text.contains("<requestsnapshot xmlns=\"urn:ietf:params:xml:ns:recording:1\">"),
        "{}",
        asked.text
    );
    dialog.update(
        r#"<recording><datamode>complete</datamode><session session_id="c"/>
        <participant participant_id="a"><nameID aor="sip:1001@h"><name>Ann & "Co" <desk></name></nameID></participant>
        <participant participant_id="b"><nameID aor="tel:+4930123"/></participant></recording>"#,
    );
    dialog.bye();
    let recorded = server.wait_for_state(dialog.call_id(), "complete");
    let [segment] = &recorded.segments[..] else { panic!("{} segments", recorded.segments.len()) };
    let parties: Vec<_> =
        segment.data.parties.iter().map(|p| (p.number.as_deref(), p.name.as_deref(), p.side)).collect();
    assert_eq!(
        parties,
        [(Some("1001"), Some("Ann & \"Co\" <desk>"), Side::Agent), (Some("+4930123"), None, Side::External)]
    );
    let kept: Vec<_> = segment.metadata.iter().map(|m| (m.method.as_str(), m.problem.is_some())).collect();
    assert_eq!(kept, [("INVITE", true), ("UPDATE", false)]);
    assert_eq!(segment.metadata[0].text, cut);
}

/// Where `inactive` means a pause, as card data are said: one segment, a marked span of silence in it, whatever comes.
#[test]
fn a_pause_is_a_silent_span_of_one_segment() {
    let server = Server::with(&[("RECORDING__INACTIVE_MEANS", "pause")]);
    let (agent, external) = (Party::new(), Party::new());
    let scenario = Scenario::new("siprec_hold").named("pause");
    let mut sipp =
        scenario.key("agent", agent.mouth.port()).key("external", external.mouth.port()).start(&server);
    let call_id = sipp.call_id().to_owned();
    std::thread::scope(|scope| {
        let media = sipp.answer("1 INVITE").media();
        scope.spawn(|| agent.talk(AGENT));
        scope.spawn(|| external.talk(EXTERNAL));
        let _at_the_end = Hush(&[&agent, &external]);
        agent.turn_to(media[0].rtp());
        external.turn_to(media[1].rtp());
        for cseq in ["2 INVITE", "3 INVITE"] {
            std::thread::sleep(STRETCH);
            sipp.go_on();
            sipp.answer(cseq);
        }
        std::thread::sleep(STRETCH);
        sipp.go_on();
        sipp.finish();
    });
    let recorded = server.wait_for_state(&call_id, "complete");
    let segment = recorded.segment();
    assert_eq!((segment.number, segment.total, &segment.end), (1, 1, &Some(EndReason::HangUp)));
    let exported = server.export(&recorded.id(), &[]);
    for (stream, sound, tone, other) in [
        (&segment.streams[0], &exported[0], AGENT, EXTERNAL),
        (&segment.streams[1], &exported[1], EXTERNAL, AGENT),
    ] {
        let pauses: Vec<_> = stream.gaps.iter().filter(|g| g.reason == GapReason::Pause).collect();
        let [pause] = pauses[..] else { panic!("one pause: {:?}", stream.gaps) };
        let (from, until) = (pause.from_us as f64 / 1e6, pause.until_us as f64 / 1e6);
        expect_close("the pause", until - from, STRETCH.as_secs_f64(), EDGE);
        let frames = ((until - from) / 0.02) as u64;
        let discarded = stream.accounting.discarded;
        assert!(discarded.abs_diff(frames) <= 5, "{discarded} packets discarded in {frames} frames of pause");
        assert_eq!(stream.accounting.lost, 0);
        let silences = sound.silences(0.5);
        let [silence] = silences[..] else { panic!("one silence, the pause: {silences:?}") };
        expect_close("the silence's begin", silence.0, from, EDGE);
        expect_close("the silence's end", silence.1, until, EDGE);
        sound.cut(from - 1.0, from - 0.1).expect_tone("before the pause", tone, &[other]);
        sound.cut(until + 0.1, until + 1.0).expect_tone("after the pause", tone, &[other]);
    }
}

fn expect_parties(segment: &SegmentRecord) {
    let parties: Vec<_> = segment
        .data
        .parties
        .iter()
        .map(|p| (p.side, p.number.as_deref().unwrap_or_default(), p.name.as_deref().unwrap_or_default()))
        .collect();
    let expected = [(Side::Agent, "1001", "Alice Agent"), (Side::External, "+4930555123", "Carl Customer")];
    assert_eq!(parties, expected, "segment {}", segment.number);
}

/// What was sent to the port while the segment ended may have come too late for it, and only that.
fn expect_counts(segment: &SegmentRecord, stream: &StreamRecord, sent: u64) {
    let a = stream.accounting;
    let what = format!("segment {}, label {:?}", segment.number, stream.label);
    assert_eq!((a.lost, a.duplicate, a.reordered, a.late, a.invalid), (0, 0, 0, 0, 0), "{what}: {a:?}");
    let least = (STRETCH - EDGE).as_millis() as u64 / 20;
    assert!(a.received >= least && a.received <= sent, "{what}: {} received of {sent}", a.received);
}

fn expect_sound(server: &Server, call: &str, one: &SegmentRecord, two: &SegmentRecord) {
    let [left, right] = &server.export(call, &[])[..] else { panic!("two channels") };
    let ended = one.ended.unwrap();
    let (held_from, held_for) =
        (ended.since(one.started).as_secs_f64(), two.started.since(ended).as_secs_f64());
    assert!(held_for > STRETCH.as_secs_f64() - 0.1, "held for {held_for} s");
    for (name, sound, tone, other) in [("left", left, AGENT, EXTERNAL), ("right", right, EXTERNAL, AGENT)] {
        let silences = sound.silences(0.5);
        let [(from, until)] = silences[..] else { panic!("{name}: one silence, the hold: {silences:?}") };
        expect_close(&format!("{name}: the silence's length"), until - from, held_for, EDGE);
        expect_close(&format!("{name}: the silence's begin"), from, held_from, EDGE);
        sound.cut(from - 1.0, from - 0.1).expect_tone(&format!("{name} before the hold"), tone, &[other]);
        sound.cut(until + 0.1, until + 1.0).expect_tone(&format!("{name} after the hold"), tone, &[other]);
        let whole = two.ended.unwrap().since(one.started).as_secs_f64();
        expect_close(&format!("{name}: the whole length"), sound.seconds(), whole, EDGE);
    }
}

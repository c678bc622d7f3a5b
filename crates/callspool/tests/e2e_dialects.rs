//! Recording clients of each kind, by sipp: what each sends with its holds and pauses, each line with a tone of its own.
//! What was recorded is a picture: the call, its segments, and what is heard on which track.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod support;

use std::fmt::Write;

use expect_test::{Expect, expect};
use model::{CallData, GapReason, MediaKind, SegmentRecord, StreamRecord};
use support::audio;
use support::flow::Step;
use support::party::{Hush, Party};
use support::recording::Recorded;
use support::server::Server;
use support::sipp::{STRETCH, Scenario, flow};

/// What is said on each audio line.
const TONES: [f64; 3] = [440.0, 1_300.0, 2_100.0];
/// Louder than this a tone is there; what is left of another is far below.
const HEARD_DBFS: f64 = -30.0;

/// Plays the flow of a kind of client, whose parties talk on the audio lines all the time.
fn play(server: &Server, kind: &str) -> Recorded {
    let flow = flow(kind);
    let parties = [Party::new(), Party::new(), Party::new(), Party::new()];
    let mut scenario = Scenario::of_kind(kind);
    for (key, party) in ["agent", "external", "third", "fourth"].iter().zip(&parties) {
        scenario = scenario.key(key, party.mouth.port());
    }
    let mut sipp = scenario.start(server);
    let call_id = sipp.call_id().to_owned();
    std::thread::scope(|scope| {
        for (party, tone) in parties.iter().zip(TONES) {
            scope.spawn(move || party.talk(tone));
        }
        let everybody: Vec<&Party> = parties.iter().collect();
        let _at_the_end = Hush(&everybody);
        for step in &flow.steps {
            match step {
                Step::Expect { status: 200, cseq } if cseq.ends_with("INVITE") => {
                    let lines = sipp.answer(cseq).media();
                    let audio = lines.iter().filter(|m| m.kind == "audio");
                    for (party, line) in parties.iter().zip(audio) {
                        party.speak(&line.formats);
                        party.turn_to(line.rtp());
                    }
                }
                Step::Talk if !flow.tcp => {
                    std::thread::sleep(STRETCH);
                    sipp.go_on();
                }
                _ => {}
            }
        }
        sipp.finish();
    });
    server.wait_for_state(&call_id, "complete")
}

fn check(kind: &str, settings: &[(&str, &str)], expected: Expect) {
    let server = Server::with(settings);
    expected.assert_eq(&picture(&play(&server, kind)));
    server.callspool(&["verify", "--all"]).expect_ok("callspool verify");
}

/// A transfer ends the recording session, and another one of the same conversation follows.
#[test]
fn metaswitch_transfer() {
    let server = Server::start();
    let first = play(&server, "metaswitch");
    let recorded = play(&server, "metaswitch_transfer");
    assert_eq!(recorded.id(), first.id(), "one call");
    let expected = expect![[r#"
        agent: 2702 (Desk 2702)
        external: +493055507
        unknown: 2709 (Desk 2709)
        1/1 partial, ended by hang-up, 1 metadata bodies
          mixed labeled 1: 440 Hz in 1 stretches
        2/2 partial, ended by hang-up, 1 metadata bodies
          mixed labeled 1: 440 Hz in 1 stretches
    "#]];
    expected.assert_eq(&picture(&recorded));
    server.callspool(&["verify", "--all"]).expect_ok("callspool verify");
}

fn picture(recorded: &Recorded) -> String {
    let mut picture = String::new();
    tell_call(&mut picture, &recorded.segments.last().unwrap().data);
    for segment in &recorded.segments {
        tell_segment(&mut picture, recorded, segment);
    }
    picture
}

fn tell_call(out: &mut String, data: &CallData) {
    for party in &data.parties {
        let number = party.number.as_deref().unwrap_or("-");
        let name = party.name.as_deref().map(|n| format!(" ({n})")).unwrap_or_default();
        writeln!(out, "{}: {number}{name}", format!("{:?}", party.side).to_lowercase()).unwrap();
    }
}

fn tell_segment(out: &mut String, recorded: &Recorded, segment: &SegmentRecord) {
    let end = segment.end.as_ref().map(model::EndReason::describe).unwrap_or_default();
    let (number, total, state) = (segment.number, segment.total, segment.state.name());
    let bodies = segment.metadata.len();
    writeln!(out, "{number}/{total} {state}, ended by {end}, {bodies} metadata bodies").unwrap();
    for stream in &segment.streams {
        let a = stream.accounting;
        assert_eq!((a.lost, a.duplicate, a.invalid, a.dropped), (0, 0, 0, 0), "{:?}: {a:?}", stream.label);
        let label = stream.label.as_deref().map(|l| format!(" labeled {l}")).unwrap_or_default();
        let side = format!("{:?}", stream.side).to_lowercase();
        let kind = if stream.kind == MediaKind::Audio { "" } else { "video, " };
        writeln!(out, "  {kind}{side}{label}: {}", heard(recorded, segment, stream)).unwrap();
    }
}

/// Which tones are on the tracks of a stream, for how many stretches, and how many of them it was held or paused.
fn heard(recorded: &Recorded, segment: &SegmentRecord, stream: &StreamRecord) -> String {
    let mut seconds = 0.0;
    let mut tones: Vec<String> = Vec::new();
    for part in &segment.parts {
        let Some(track) = part.tracks.iter().position(|t| t.stream == stream.id) else { continue };
        let sound = audio::decode(&recorded.directory.join(&part.file), track);
        if sound.samples.iter().all(|s| *s == 0) {
            continue;
        }
        for tone in TONES.iter().filter(|tone| sound.level(**tone) > HEARD_DBFS).map(|t| format!("{t} Hz")) {
            if !tones.contains(&tone) {
                tones.push(tone);
            }
        }
    }
    let gone = |why: GapReason| {
        let gaps = stream.gaps.iter().filter(|g| g.reason == why);
        gaps.map(|g| (g.until_us - g.from_us) as f64 / 1e6).sum::<f64>()
    };
    let (held, paused) = (gone(GapReason::Hold), gone(GapReason::Pause));
    seconds += stream.accounting.received.saturating_sub(stream.accounting.discarded) as f64 * 0.02;
    let stretches = |seconds: f64| (seconds / STRETCH.as_secs_f64()).round() as u32;
    let mut text = match &tones[..] {
        [] => "nothing".to_owned(),
        tones => format!("{} in {} stretches", tones.join(" and "), stretches(seconds)),
    };
    for (what, seconds) in [("held", held), ("paused", paused)] {
        if stretches(seconds) > 0 {
            write!(text, ", {what} in {}", stretches(seconds)).unwrap();
        }
    }
    text
}

macro_rules! kinds {
    ($($(#[$note:meta])* $kind:ident $settings:expr => $expected:expr;)*) => {
        $($(#[$note])* #[test] fn $kind() { check(stringify!($kind), $settings, $expected); })*
    };
}

kinds! {
    cube &[] => expect![[r#"
        agent: 2204 (Nora Agent)
        external: +493055501
        1/1 partial, ended by hang-up, 3 metadata bodies
          agent labeled 1: 440 Hz in 2 stretches, held in 1
          external labeled 2: 1300 Hz in 3 stretches
          video, agent labeled 3: nothing
          video, external labeled 4: nothing
    "#]];
    cube_network_based &[] => expect![[r#"
        agent: 2210
        external: +493055502
        1/2 partial, ended by hold, 0 metadata bodies
          agent: 440 Hz in 1 stretches
          external: 1300 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          agent: 440 Hz in 1 stretches
          external: 1300 Hz in 1 stretches
    "#]];
    oracle &[] => expect![[r#"
        agent: 2301 (2301)
        external: +493055503 (+493055503)
        1/1 partial, ended by hang-up, 2 metadata bodies
          agent labeled 16777227: 440 Hz in 2 stretches
          external labeled 16777228: 1300 Hz in 1 stretches
    "#]];
    /// What it says in its header is a pause; without it, a hold.
    audiocodes &[] => expect![[r#"
        agent: +493055504
        external: 2402
        1/1 partial, ended by hang-up, 1 metadata bodies
          external labeled 1: 440 Hz in 2 stretches, paused in 1
          agent labeled 2: 1300 Hz in 2 stretches, paused in 1
    "#]];
    ribbon &[] => expect![[r#"
        agent: +493055505
        external: 2502
        1/2 partial, ended by hold, 1 metadata bodies
          external labeled 2: 440 Hz in 1 stretches
          agent labeled 1: 1300 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          external labeled 2: 440 Hz in 1 stretches
          agent labeled 1: 1300 Hz in 1 stretches
    "#]];
    /// Its pause looks like a hold: the setting says what it is.
    broadworks &[("RECORDING__INACTIVE_MEANS", "pause")] => expect![[r#"
        agent: 2602 (Ben Desk)
        external: +493055506
        1/1 partial, ended by hang-up, 1 metadata bodies
          mixed labeled 1: 440 Hz in 2 stretches, paused in 1
    "#]];
    metaswitch &[] => expect![[r#"
        agent: 2702 (Desk 2702)
        external: +493055507
        1/1 partial, ended by hang-up, 1 metadata bodies
          mixed labeled 1: 440 Hz in 1 stretches
    "#]];
    avaya_sbce &[] => expect![[r#"
        agent: 2802 (Ada Avaya)
        external: +493055508
        1/2 partial, ended by hold, 1 metadata bodies
          agent labeled 10: 440 Hz in 1 stretches
          external labeled 20: 1300 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          agent labeled 10: 440 Hz in 1 stretches
          external labeled 20: 1300 Hz in 1 stretches
    "#]];
    avaya_sm &[] => expect![[r#"
        agent: 2902 (Cora Caller)
        external: +493055509
        1/2 partial, ended by hold, 2 metadata bodies
          agent labeled caller: 440 Hz in 1 stretches
          external labeled callee: 1300 Hz in 1 stretches
          mixed labeled mixed: 2100 Hz in 1 stretches
        2/2 partial, ended by hang-up, 1 metadata bodies
          agent labeled caller: 440 Hz in 1 stretches
          external labeled callee: 1300 Hz in 1 stretches
          mixed labeled mixed: 2100 Hz in 1 stretches
    "#]];
    opensips &[] => expect![[r#"
        agent: 3002
        external: +493055510 (Smith & Sons)
        1/2 partial, ended by hold, 1 metadata bodies
          agent labeled 1: 440 Hz in 1 stretches
          external labeled 0: 1300 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          agent labeled 1: 440 Hz in 1 stretches
          external labeled 0: 1300 Hz in 1 stretches
    "#]];
    freeswitch &[] => expect![[r#"
        agent: 3102 (Fred)
        external: +493055511
        1/2 partial, ended by hold, 1 metadata bodies
          mixed: 440 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          mixed: 440 Hz in 1 stretches
    "#]];
    /// The request without description in the hold begins no segment.
    refresh_on_hold &[] => expect![[r#"
        unknown: 1001
        unknown: -
        1/2 partial, ended by hold, 0 metadata bodies
          mixed: 440 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          mixed: 440 Hz in 1 stretches
    "#]];
    sems &[] => expect![[r#"
        agent: 3202
        external: +493055512
        1/2 partial, ended by hold, 1 metadata bodies
          agent labeled a_leg: 440 Hz in 1 stretches
          external labeled b_leg: 1300 Hz in 1 stretches
        2/2 partial, ended by hang-up, 0 metadata bodies
          agent labeled a_leg: 440 Hz in 1 stretches
          external labeled b_leg: 1300 Hz in 1 stretches
    "#]];
}

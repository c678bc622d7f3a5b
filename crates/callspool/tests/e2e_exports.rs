//! What people get to play: calls in several codecs, as every kind of file, whole and in parts, by command and by
//! HTTP, listened to by ffmpeg.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::audio::{self, Sound};
use support::program::{Program, run};
use support::recording::{Recorded, expect_close};
use support::rtp::Mouth;
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, http};

const SECONDS: f64 = 2.0;
/// As ffmpeg sends it.
const LEVEL: f64 = -12.0;

/// Name, `a=rtpmap`, payload type, how ffmpeg makes it, and the rate that it should be heard at.
type Codec = (&'static str, &'static str, u8, &'static [&'static str], u32);

const CODECS: [Codec; 4] = [
    ("pcmu", "PCMU/8000", 0, &["-c:a", "pcm_mulaw", "-ar", "8000"], 8_000),
    ("g722", "G722/8000", 9, &["-c:a", "g722", "-ar", "16000"], 16_000),
    ("opus", "opus/48000/2", 111, &["-c:a", "libopus", "-b:a", "64k", "-ar", "48000"], 48_000),
    ("g726", "G726-32/8000", 97, &["-c:a", "g726le", "-b:a", "32k", "-ar", "8000"], 8_000),
];

#[test]
fn every_codec_is_heard_as_it_was_said_in_every_format() {
    let server = Server::start();
    for codec in &CODECS {
        let recorded = call(&server, codec);
        let first = recorded.stream().anchors[0].position_us as f64 / 1e6;
        for format in ["wav", "mp3", "opus", "flac"] {
            let file = server.directory().join(format!("{}.{format}", codec.0));
            let path = file.to_str().unwrap();
            let told = server.callspool(&["export", &recorded.id(), "--mix", "-o", path]).expect_ok("export");
            assert_eq!(told.err, "", "{} as {format}", codec.0);
            let what = format!("{} as {format}", codec.0);
            let probe = audio::probe(&file);
            let rate = if format == "opus" { 48_000 } else { codec.4 };
            assert_eq!(probe["streams"][0]["sample_rate"], rate.to_string(), "{what}");
            let sound = audio::decode(&file, 0);
            // ffmpeg sends its first half second at once. What lies in a sidecar is heard until the segment ended by
            // the clock, which is so much earlier then.
            let until = if codec.0 == "g726" { sound.seconds() } else { first + SECONDS };
            expect_close(&what, sound.seconds(), until, Duration::from_millis(150));
            assert!(until > first + 1.5, "{what}: {until} s");
            expect_level(&what, &sound.cut(first + 0.4, until - 0.3));
        }
    }
}

#[test]
fn http_gives_the_same_files_in_ranges() {
    let server = Server::start();
    let recorded = call(&server, &CODECS[0]);
    let token = std::fs::read_to_string(server.state().join("token")).expect("the token");
    let bearer = format!("Bearer {}", token.trim());
    let get = |path: &str, more: &[(&str, &str)]| {
        let headers = [&[("Authorization", &*bearer)][..], more].concat();
        http::get(&server.http_address(), path, &headers).expect("an answer")
    };
    for (format, media_type) in [
        ("wav", "audio/wav"),
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg; codecs=opus"),
        ("flac", "audio/flac"),
    ] {
        let path = format!("/api/v1/calls/{}/audio.{format}?layout=mix", recorded.id());
        let whole = get(&path, &[]);
        assert_eq!((whole.status, whole.header("content-type")), (200, Some(media_type)), "{format}");
        let file = server.directory().join(format!("whole.{format}"));
        std::fs::write(&file, &whole.body).unwrap();
        let first = recorded.stream().anchors[0].position_us as f64 / 1e6;
        expect_level(format, &audio::decode(&file, 0).cut(first + 0.4, first + SECONDS - 0.3));
        let named = whole.header("content-disposition").expect("a name");
        assert!(named.ends_with(&format!("-{}.{format}\"", recorded.id())), "{named}");
        let tag = whole.header("etag").expect("a sealed call has a version").to_owned();
        if format == "flac" {
            assert_eq!(whole.header("accept-ranges"), Some("none"));
            continue;
        }
        let total = whole.body.len();
        assert_eq!(whole.header("content-length"), Some(&*total.to_string()));
        let mut joined = Vec::new();
        for part in (0..total).step_by(total / 3 + 1) {
            let range = format!("bytes={part}-{}", (part + total / 3).min(total - 1));
            let answer = get(&path, &[("Range", &range), ("If-Range", &tag)]);
            assert_eq!(answer.status, 206, "{format} {range}");
            joined.extend(answer.body);
        }
        assert!(joined == whole.body, "{format}: parts are not the whole");
    }
    let peaks = get(&format!("/api/v1/calls/{}/peaks?width=100", recorded.id()), &[]);
    let peaks: serde_json::Value = serde_json::from_slice(&peaks.body).expect("JSON");
    let loudest = |side: &str| peaks[side].as_array().unwrap().iter().filter_map(|v| v.as_i64()).max();
    let both = [loudest("agent"), loudest("external")];
    // -12 dBFS is a quarter of full scale; whoever is not known is on both sides.
    assert!(both.into_iter().flatten().any(|l| (28..=36).contains(&l)), "{both:?}");
}

/// Places the call, lets ffmpeg talk to the port of the answer, and waits until it is complete.
fn call(server: &Server, codec: &Codec) -> Recorded {
    let (name, rtpmap, payload_type, encode, _) = *codec;
    let local = Mouth::open().port();
    let scenario = Scenario::new("codec").named(name).key("payload", payload_type).key("codec", rtpmap);
    let mut sipp = scenario.key("audio", local).start(server);
    let to: SocketAddr = sipp.answer("1 INVITE").media()[0].rtp();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-f", "lavfi", "-i"]);
    command.arg(format!("sine=frequency=440:sample_rate=48000:duration={SECONDS},volume=6dB"));
    command.args(encode).args(["-payload_type", &payload_type.to_string(), "-f", "rtp"]);
    command.arg(format!("rtp://{to}?localport={local}"));
    let mut program = Program::start(command, &server.directory().join(format!("ffmpeg-{name}")));
    let status = program.wait(PATIENCE);
    assert!(status.success(), "{name}: ffmpeg {status}: {}", program.output());
    sipp.go_on();
    let call_id = sipp.call_id().to_owned();
    sipp.finish();
    server.wait_for_state(&call_id, "complete")
}

/// Within half a decibel, and nothing else as loud.
fn expect_level(what: &str, sound: &Sound) {
    let level = sound.level(440.0);
    assert!((level - LEVEL).abs() < 0.5, "{what}: 440 Hz is at {level:.2} dBFS");
    assert!(sound.level(1_000.0) < -40.0, "{what}: 1,000 Hz is at {:.1} dBFS", sound.level(1_000.0));
}

#[test]
fn what_cannot_be_decoded_is_told_and_the_rest_plays() {
    let server = Server::start();
    let recorded = call(&server, &CODECS[3]);
    // Where no program is found.
    let file = server.directory().join("silent.wav");
    let mut command = server.command();
    command.env("PATH", "/nonexistent");
    command.args(["export", &recorded.id(), "-o"]).arg(&file);
    let done = run(command, PATIENCE).expect_ok("export");
    assert!(done.err.contains("G.726") && done.err.contains("apt-get install ffmpeg"), "{}", done.err);
    assert!(audio::wav(Path::new(&file)).iter().all(|s| s.samples.iter().all(|s| *s == 0)));
    let mut command = server.command();
    command.env("PATH", "/nonexistent");
    command.args(["export", &recorded.id(), "-o"]).arg(server.directory().join("x.mp3"));
    let done = run(command, PATIENCE);
    assert!(done.err.contains("apt-get install lame"), "{}", done.err);
}

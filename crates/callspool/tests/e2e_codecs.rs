//! Any codec is stored as it comes: ffmpeg sends one, and what lies on disk plays again, or is in the sidecar.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use support::program::{Program, run};
use support::recording::{Recorded, expect_close};
use support::rtp::Mouth;
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, audio};

const SECONDS: f64 = 2.0;
/// Encoders look ahead, and players skip what is before the first whole frame.
const EDGE: Duration = Duration::from_millis(150);

struct Codec {
    name: &'static str,
    /// As in `a=rtpmap`.
    rtpmap: &'static str,
    payload_type: u8,
    /// How ffmpeg makes it.
    encode: &'static [&'static str],
    /// What ffprobe calls the track, and its samples per second; none where no player knows it.
    track: Option<(&'static str, &'static str)>,
}

const CODECS: [Codec; 5] = [
    Codec {
        name: "pcma",
        rtpmap: "PCMA/8000",
        payload_type: 8,
        encode: &["-c:a", "pcm_alaw", "-ar", "8000"],
        track: Some(("pcm_alaw", "8000")),
    },
    Codec {
        name: "pcmu-dynamic",
        rtpmap: "PCMU/8000",
        payload_type: 99,
        encode: &["-c:a", "pcm_mulaw", "-ar", "8000"],
        track: Some(("pcm_mulaw", "8000")),
    },
    Codec {
        name: "g722",
        rtpmap: "G722/8000",
        payload_type: 9,
        encode: &["-c:a", "g722", "-ar", "16000"],
        track: Some(("adpcm_g722", "16000")),
    },
    Codec {
        name: "opus",
        rtpmap: "opus/48000/2",
        payload_type: 111,
        encode: &["-c:a", "libopus", "-ar", "48000", "-ac", "2"],
        track: Some(("opus", "48000")),
    },
    Codec {
        name: "speex",
        rtpmap: "speex/8000",
        payload_type: 98,
        encode: &["-c:a", "libspeex", "-ar", "8000"],
        track: None,
    },
];

#[test]
fn what_ffmpeg_sends_is_kept_as_it_came() {
    let server = Server::start();
    let problems: Vec<&str> = std::thread::scope(|scope| {
        let server = &server;
        let calls = CODECS.iter().map(|codec| (codec.name, scope.spawn(move || check(server, codec))));
        let calls: Vec<_> = calls.collect();
        calls.into_iter().filter_map(|(name, call)| call.join().is_err().then_some(name)).collect()
    });
    assert!(problems.is_empty(), "codecs that failed, see above: {problems:?}");
}

fn check(server: &Server, codec: &Codec) {
    let recorded = call(server, codec);
    let (segment, stream) = (recorded.segment(), recorded.stream());
    let a = stream.accounting;
    assert_eq!((a.lost, a.invalid, a.other_source, a.late), (0, 0, 0, 0), "{}: {a:?}", codec.name);
    assert!(a.received > 10, "{}: {a:?}", codec.name);
    let name = &stream.codecs[0].codec.as_ref().expect("a codec").name;
    assert!(codec.rtpmap.to_uppercase().starts_with(&format!("{name}/")), "{}: {name}", codec.name);

    let Some((track, rate)) = codec.track else {
        assert!(
            segment.parts.iter().all(|p| p.tracks.is_empty()) || segment.parts.is_empty(),
            "{:?}",
            segment.parts
        );
        return expect_in_sidecar(&recorded, codec, a.received);
    };
    let [part] = &recorded.parts()[..] else { panic!("{}: one part: {:?}", codec.name, recorded.parts()) };
    let probe = audio::probe(part);
    let found = &probe["streams"][0];
    assert_eq!(
        (&found["codec_name"], &found["sample_rate"]),
        (&track.into(), &rate.into()),
        "{}",
        codec.name
    );
    let sound = audio::decode(part, 0);
    let first = stream.anchors[0].position_us as f64 / 1e6;
    let begin = first - segment.parts[0].offset_us as f64 / 1e6;
    // Gaps of G.711 are filled, also the one before ffmpeg's first packet; other codecs begin when they do, and
    // ffmpeg skips to there.
    let filled = track.starts_with("pcm_");
    let starts: f64 = found["start_time"].as_str().expect("a start").parse().unwrap();
    expect_close("the first block", starts, if filled { 0.0 } else { begin }, Duration::from_millis(1));
    let begin = if filled { begin } else { 0.0 };
    expect_close(codec.name, sound.seconds(), begin + SECONDS, EDGE);
    sound.cut(begin + 0.3, begin + SECONDS - 0.3).expect_tone(codec.name, 440.0, &[1_000.0]);
}

/// Places the call, lets ffmpeg talk to the port of the answer, and waits until it is complete.
fn call(server: &Server, codec: &Codec) -> Recorded {
    // The port goes into SDP, then ffmpeg sends from it.
    let local = Mouth::open().port();
    let scenario = Scenario::new("codec").named(codec.name);
    let scenario = scenario.key("payload", codec.payload_type).key("codec", codec.rtpmap);
    let mut sipp = scenario.key("audio", local).start(server);
    let to = sipp.answer("1 INVITE").media()[0].rtp();
    ffmpeg(server, codec, local, to);
    sipp.go_on();
    let call_id = sipp.call_id().to_owned();
    sipp.finish();
    server.wait_for_state(&call_id, "complete")
}

/// ffmpeg makes a tone of -12 dBFS and sends it at its pace.
fn ffmpeg(server: &Server, codec: &Codec, local: u16, to: SocketAddr) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-re", "-f", "lavfi", "-i"]);
    command.arg(format!("sine=frequency=440:sample_rate=48000:duration={SECONDS},volume=6dB"));
    command.args(codec.encode).args(["-payload_type", &codec.payload_type.to_string(), "-f", "rtp"]);
    command.arg(format!("rtp://{to}?localport={local}"));
    let output = server.directory().join(format!("ffmpeg-{}", codec.name));
    let mut program = Program::start(command, &output);
    let status = program.wait(PATIENCE);
    assert!(status.success(), "{}: ffmpeg {status}: {}", codec.name, program.output());
}

fn expect_in_sidecar(recorded: &Recorded, codec: &Codec, packets: u64) {
    let sidecar = recorded.segment().sidecar.as_ref().expect("a sidecar");
    assert_eq!(sidecar.packets, packets, "{}", codec.name);
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(recorded.directory.join(&sidecar.file));
    tshark.args(["-d", &format!("udp.port=={},rtp", recorded.stream().port)]);
    tshark.args(["-T", "fields", "-e", "rtp.p_type", "-e", "rtp.ssrc"]);
    let done = run(tshark, PATIENCE).expect_ok("tshark");
    let expected = format!("{}\t{:#010x}", codec.payload_type, recorded.stream().ssrcs[0]);
    assert_eq!(done.text().lines().filter(|l| *l == expected).count() as u64, packets, "{}", done.text());
}

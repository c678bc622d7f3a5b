//! Video beside audio: what ffmpeg encodes and packetizes is recorded, put together again and judged by ffprobe: codec,
//! size, pictures, length, and whether a flash is seen when its beep is heard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use model::MediaKind;
use serde_json::Value;
use support::browser::{Browser, address};
use support::flow::Flow;
use support::program::run;
use support::recording::Recorded;
use support::rtp::Mouth;
use support::server::Server;
use support::sipp::Scenario;
use support::{PATIENCE, audio, http};

/// How long the film is, in seconds; a flash and a beep begin every 1.5 s.
const SECONDS: usize = 6;
const FLASH_EVERY: f64 = 1.5;
const PICTURES_A_SECOND: usize = 25;
/// Lips and voice are together for people within this (ITU-R BT.1359 has 45 ms at the strict end).
const TOGETHER_S: f64 = 0.040;

/// An encoder of ffmpeg, and what its packets are called in SDP.
#[derive(Clone, Copy)]
struct Encoder {
    name: &'static str,
    options: &'static [&'static str],
    codec: &'static str,
    /// As ffprobe says it.
    told: &'static str,
}

const VP8: Encoder = Encoder { name: "libvpx", options: &["-lag-in-frames", "0"], codec: "VP8", told: "vp8" };
const VP9: Encoder = Encoder {
    name: "libvpx-vp9",
    options: &["-lag-in-frames", "0", "-cpu-used", "8"],
    codec: "VP9",
    told: "vp9",
};
const H264: Encoder =
    Encoder { name: "libx264", options: &["-tune", "zerolatency"], codec: "H264", told: "h264" };
const H265: Encoder = Encoder {
    name: "libx265",
    options: &["-tune", "zerolatency", "-x265-params", "keyint=25:min-keyint=25:log-level=none"],
    codec: "H265",
    told: "hevc",
};

/// A packet of RTP as ffmpeg made it, and when it is sent, from the film's beginning.
#[derive(Clone)]
struct Packet {
    at: Duration,
    bytes: Vec<u8>,
}

/// The packets of a film: of each encoder, and of the sound.
fn film(directory: &Path, encoders: [Encoder; 2]) -> [Vec<Packet>; 3] {
    let ears = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = |n: usize| format!("rtp://{}?pkt_size=1200", ears[n].local_addr().unwrap());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i"]);
    command.arg(format!(
        "testsrc=size=320x240:rate={PICTURES_A_SECOND},drawbox=color=black:t=fill,\
         drawbox=color=white:t=fill:enable='lt(mod(t,{FLASH_EVERY}),0.2)'"
    ));
    command.args(["-f", "lavfi", "-i"]);
    command
        .arg(format!("aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,{FLASH_EVERY}),0.2)':s=8000:nb_samples=160"));
    for (n, encoder) in encoders.iter().enumerate() {
        command.args(["-map", "0:v", "-t", &SECONDS.to_string(), "-c:v", encoder.name]).args(encoder.options);
        command.args(["-pix_fmt", "yuv420p", "-g", "25", "-b:v", "300k", "-strict", "experimental"]);
        command.args(["-payload_type", "97", "-f", "rtp"]).arg(to(n));
    }
    command.args(["-map", "1:a", "-t", &SECONDS.to_string(), "-c:a", "pcm_mulaw", "-ac", "1"]);
    command.args(["-payload_type", "0", "-f", "rtp"]).arg(to(2)).current_dir(directory);
    std::thread::scope(|scope| {
        let heard = ears.each_ref().map(|ear| scope.spawn(move || listen(ear)));
        run(command, PATIENCE).expect_ok("ffmpeg");
        for ear in &ears {
            // An empty datagram says that all has come.
            ear.send_to(&[], ear.local_addr().unwrap()).unwrap();
        }
        let [one, two, sound] = heard.map(|h| h.join().unwrap());
        [timed(one, 90_000), timed(two, 90_000), timed(sound, 8_000)]
    })
}

fn listen(ear: &UdpSocket) -> Vec<Vec<u8>> {
    let mut buffer = [0; 2_048];
    let mut packets = Vec::new();
    loop {
        let length = ear.recv(&mut buffer).unwrap();
        if length == 0 {
            return packets;
        }
        packets.push(buffer[..length].to_vec());
    }
}

/// When each is sent: a picture when it is made, sound when its 20 ms are over, as phones do.
fn timed(packets: Vec<Vec<u8>>, clock: u32) -> Vec<Packet> {
    let stamp = |p: &[u8]| u32::from_be_bytes([p[4], p[5], p[6], p[7]]);
    let number = |p: &[u8]| u16::from_be_bytes([p[2], p[3]]);
    let first = packets.first().map(|p| stamp(p)).expect("packets of ffmpeg");
    for two in packets.windows(2) {
        assert_eq!(number(&two[0]).wrapping_add(1), number(&two[1]), "the test's own socket lost a packet");
    }
    let frame = if clock == 8_000 { 0.020 } else { 0.0 };
    let at = |p: &[u8]| f64::from(stamp(p).wrapping_sub(first)) / f64::from(clock) + frame;
    packets.into_iter().map(|bytes| Packet { at: Duration::from_secs_f64(at(&bytes)), bytes }).collect()
}

/// Sends all of it by the clock; how late the first packet was.
fn send(mouth: &Mouth, to: SocketAddr, start: Instant, packets: &[Packet]) -> f64 {
    let mut late = None;
    for packet in packets {
        std::thread::sleep((start + packet.at).saturating_duration_since(Instant::now()));
        late.get_or_insert_with(|| (start + packet.at).elapsed().as_secs_f64());
        mouth.send(to, &packet.bytes);
    }
    late.unwrap_or(0.0)
}

const METADATA: &str = "<?xml version=\"1.0\"?>\n<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\n\
    <session session_id=\"film\"/>\n\
    <participant participant_id=\"a\"><nameID aor=\"sip:4001@pbx.invalid\"/></participant>\n\
    <participant participant_id=\"b\"><nameID aor=\"sip:4002@pbx.invalid\"/></participant>\n\
    <stream stream_id=\"s1\" session_id=\"film\"><label>1</label></stream>\n\
    <stream stream_id=\"s2\" session_id=\"film\"><label>2</label></stream>\n\
    <stream stream_id=\"s3\" session_id=\"film\"><label>3</label></stream>\n\
    <stream stream_id=\"s4\" session_id=\"film\"><label>4</label></stream>\n\
    <participantstreamassoc participant_id=\"a\"><send>s1</send><send>s3</send></participantstreamassoc>\n\
    <participantstreamassoc participant_id=\"b\"><send>s2</send><send>s4</send></participantstreamassoc>\n\
    </recording>\n";

fn invite(encoders: [Encoder; 2]) -> String {
    let mut sdp = "v=0\no=- 7 1 IN IP4 [media_ip]\ns=-\nc=IN IP4 [media_ip]\nt=0 0\n".to_owned();
    for line in 0..2 {
        sdp += &format!("m=audio [port{line}] RTP/AVP 0\na=sendonly\na=label:{}\n", line + 1);
    }
    for (n, encoder) in encoders.iter().enumerate() {
        let (codec, line) = (encoder.codec, n + 2);
        let fmtp = if codec == "H264" { "a=fmtp:97 packetization-mode=1\n" } else { "" };
        sdp += &format!(
            "m=video [port{line}] RTP/AVP 97\na=rtpmap:97 {codec}/90000\n{fmtp}a=sendonly\na=label:{}\n",
            n + 3
        );
    }
    format!(
        ">>> INVITE\nContact: <sip:src@[local_ip]:[local_port]>;+sip.src\nRequire: siprec\nContent-Type: multipart/mixed;boundary=b\n\n\
         --b\nContent-Type: application/sdp\n\n{sdp}--b\nContent-Type: application/rs-metadata+xml\n\
         Content-Disposition: recording-session\n\n{METADATA}--b--\n<<< 200\n---\n>>> BYE\n<<< 200\n"
    )
}

/// A call that was recorded, and how much later than due the first packet of each line was sent.
struct Played {
    recorded: Recorded,
    late: Vec<f64>,
}

/// Records a call of two audio lines, which both have the film's sound, and two video lines.
fn record(server: &Server, name: &str, encoders: [Encoder; 2], film: &[Vec<Packet>; 3]) -> Played {
    let mouths = [(); 4].map(|()| Mouth::open());
    let mut scenario = Scenario::of(name, Flow::read(&invite(encoders)));
    for (line, mouth) in mouths.iter().enumerate() {
        scenario = scenario.key(&format!("port{line}"), mouth.port());
    }
    let mut sipp = scenario.start(server);
    let call_id = sipp.call_id().to_owned();
    let lines = sipp.answer("1 INVITE").media();
    let start = Instant::now() + Duration::from_millis(50);
    let late = std::thread::scope(|scope| {
        let sent = [&film[2], &film[2], &film[0], &film[1]];
        let threads: Vec<_> = mouths
            .iter()
            .zip(&lines)
            .zip(sent)
            .map(|((mouth, line), packets)| {
                let to = line.rtp();
                scope.spawn(move || send(mouth, to, start, packets))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    sipp.go_on();
    sipp.finish();
    Played { recorded: server.wait_for_state(&call_id, "complete"), late }
}

fn export(server: &Server, recorded: &Recorded, file: &str) -> (PathBuf, String) {
    let path = server.directory().join(file);
    let text = path.display().to_string();
    let done = server.callspool(&["export", &recorded.id(), "-o", &text]).expect_ok("callspool export");
    (path, done.err)
}

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|s| s.parse().ok()).or(value.as_f64()).unwrap_or_else(|| panic!("{value}"))
}

/// Times of a track's pictures, and how bright each is.
fn pictures(path: &Path, track: usize) -> Vec<(f64, u8)> {
    let stream = format!("v:{track}");
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-select_streams", &stream, "-show_entries", "frame=pts_time", "-of", "json"]);
    let told = run(
        {
            probe.arg(path);
            probe
        },
        PATIENCE,
    )
    .expect_ok("ffprobe");
    assert!(told.err.trim().is_empty(), "ffprobe complains of {}: {}", path.display(), told.err);
    let told: Value = serde_json::from_slice(&told.out).unwrap();
    let times: Vec<f64> = told["frames"].as_array().unwrap().iter().map(|f| number(&f["pts_time"])).collect();
    let mut decode = Command::new("ffmpeg");
    decode.args(["-v", "error", "-i"]).arg(path).args([
        "-map",
        &format!("0:{stream}"),
        "-vsync",
        "passthrough",
    ]);
    decode.args(["-vf", "scale=1:1:flags=area,format=gray", "-f", "rawvideo", "-"]);
    let decoded = run(decode, PATIENCE).expect_ok("ffmpeg");
    assert!(decoded.err.trim().is_empty(), "ffmpeg complains of {}: {}", path.display(), decoded.err);
    assert_eq!(decoded.out.len(), times.len(), "{}: as many pictures as times", path.display());
    times.into_iter().zip(decoded.out).collect()
}

/// When it becomes bright; not that it is at the beginning.
fn flashes(pictures: &[(f64, u8)]) -> Vec<f64> {
    pictures.windows(2).filter(|two| two[0].1 < 100 && two[1].1 > 150).map(|two| two[1].0).collect()
}

/// When a beep begins after silence.
fn beeps(path: &Path) -> Vec<f64> {
    let sound = audio::decode(path, 0);
    let mut quiet = 0;
    let mut beeps = Vec::new();
    for (n, sample) in sound.samples.iter().enumerate() {
        if sample.unsigned_abs() > 1_500 {
            if quiet > 4_000 {
                beeps.push(n as f64 / f64::from(sound.rate));
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    beeps
}

/// Each flash has its beep, but for what the test itself did to the first packets.
fn expect_together(what: &str, path: &Path, track: usize, late: f64) {
    let (beeps, flashes) = (beeps(path), flashes(&pictures(path, track)));
    assert!(beeps.len() >= 3 && flashes.len() >= 3, "{what}: beeps {beeps:?}, flashes {flashes:?}");
    for flash in &flashes {
        let off =
            beeps.iter().map(|beep| flash - beep - late).min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        assert!(
            off.abs() <= TOGETHER_S,
            "{what}: {:.0} ms apart; beeps {beeps:?}, flashes {flashes:?}",
            off * 1e3
        );
    }
}

fn expect_tracks(path: &Path, encoders: [Encoder; 2]) {
    let told = audio::probe(path);
    let streams = told["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 3, "{told:#}");
    for (stream, encoder) in streams.iter().zip(encoders) {
        assert_eq!(stream["codec_name"], encoder.told, "{stream:#}");
        assert_eq!((&stream["width"], &stream["height"]), (&320.into(), &240.into()), "{stream:#}");
    }
    assert_eq!((&streams[2]["codec_name"], &streams[2]["channels"]), (&"opus".into(), &2.into()), "{told:#}");
    assert_eq!(streams[0]["tags"]["title"], "agent (label 3)");
    let seconds = number(&told["format"]["duration"]);
    assert!((seconds - SECONDS as f64).abs() < 1.0, "{seconds} s");
}

#[test]
fn vp8_and_vp9_are_exported_with_their_sound_and_a_browser_plays_them() {
    let server = Server::start();
    let encoders = [VP8, VP9];
    let mut film = film(server.directory(), encoders);
    // A packet in the middle of the second line's third second is lost.
    let gone = film[1].iter().position(|p| p.at.as_secs_f64() > 2.3).unwrap();
    film[1].remove(gone);
    let Played { recorded, late } = record(&server, "vp", encoders, &film);
    let seen: Vec<_> = recorded.segment().streams.iter().map(|s| (s.kind, s.accounting.lost)).collect();
    let expected =
        [(MediaKind::Audio, 0), (MediaKind::Audio, 0), (MediaKind::Video, 0), (MediaKind::Video, 1)];
    assert_eq!(seen, expected);
    let whole = SECONDS * PICTURES_A_SECOND;
    for file in ["film.mkv", "film.webm"] {
        let (path, told) = export(&server, &recorded, file);
        expect_tracks(&path, encoders);
        assert_eq!(pictures(&path, 0).len(), whole, "{file}");
        // Up to the next key frame, at three seconds.
        let left = pictures(&path, 1);
        assert!((whole - 19..whole - 10).contains(&left.len()), "{} pictures", left.len());
        assert!(told.contains("has no pictures from 2."), "{told}");
        expect_together("VP8", &path, 0, late[2] - late[0]);
        expect_together("VP9", &path, 1, late[3] - late[0]);
    }
    let (path, told) = (format!("/api/v1/calls/{}/video.webm", recorded.id()), "video/webm");
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let answer = http::get(&server.http_address(), &path, &[("Authorization", &bearer)]).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(told)));
    assert!(answer.header("callspool-not-heard").is_some_and(|h| h.contains("1 packets of video")));
    assert!(answer.body == std::fs::read(server.directory().join("film.webm")).unwrap(), "the same file");
    plays_in_a_browser(&server, &recorded, "webm");
}

#[test]
fn h264_and_h265_are_exported_with_their_sound() {
    let server = Server::start();
    let encoders = [H264, H265];
    let film = film(server.directory(), encoders);
    let Played { recorded, late } = record(&server, "h26x", encoders, &film);
    let (path, told) = export(&server, &recorded, "film.mkv");
    assert_eq!(told, "");
    expect_tracks(&path, encoders);
    for (track, what) in [(0, "H.264"), (1, "H.265")] {
        assert_eq!(pictures(&path, track).len(), SECONDS * PICTURES_A_SECOND, "{what}");
        expect_together(what, &path, track, late[track + 2] - late[0]);
    }
    let refused = server.callspool(&["export", &recorded.id(), "--format", "webm"]);
    assert!(refused.code != Some(0) && refused.err.contains("WebM does not hold"), "{}", refused.err);
    let answer = {
        let path = format!("/api/v1/calls/{}/video.webm", recorded.id());
        let token = std::fs::read_to_string(server.state().join("token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        http::get(&server.http_address(), &path, &[("Authorization", &bearer)]).unwrap()
    };
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(answer.text().contains("take Matroska"), "{}", answer.text());
    // Chromium plays H.264 out of Matroska; of a second track it makes no use.
    plays_in_a_browser(&server, &recorded, "mkv");
}

/// The page shows it, and pictures move.
fn plays_in_a_browser(server: &Server, recorded: &Recorded, format: &str) {
    let mut browser = Browser::start(1_280, 860);
    browser.go(&address(server));
    browser.wait_for("a list", "document.querySelectorAll('#past-list > li').length >= 1");
    browser.eval(&format!("location.hash = '#/call/{}'", recorded.id()));
    browser.wait_for("a place for video", "document.querySelector('.video button') !== null");
    let link = browser.eval("document.querySelector('.files a[href*=\"video.mkv\"]').href");
    assert!(link.as_str().is_some_and(|l| l.contains("video.mkv")), "{link}");
    browser.click(".video button", "Show video");
    browser.wait_for("its kind", &format!("document.querySelector('video').src.includes('video.{format}')"));
    browser.wait_for("pictures", "document.querySelector('video').videoWidth === 320");
    browser.wait_for("time that goes on", "document.querySelector('video').currentTime > 2");
    browser.picture("call-video");
    assert!(browser.complaints().is_empty(), "{:#?}", browser.complaints());
}

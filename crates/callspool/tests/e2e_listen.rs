//! Listening to calls in progress: what is said is heard while it is said, a pause is not, and the recording is as it
//! would be if nobody listened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::GapReason;
use support::audio::{wav, wav_bytes};
use support::listener::{Listener, RATE, ask, bearer};
use support::program::{Program, run};
use support::rtp::{Mouth, Packet, Talk, ulaw};
use support::server::Server;
use support::uac::{Dialog, Spoken};
use support::{PATIENCE, http, wait_until};

const FRAME: Duration = Duration::from_millis(20);

/// Somebody who hums a tone without end; the tone can be changed.
struct Hum {
    hertz: Arc<AtomicU32>,
    to: Arc<Mutex<SocketAddr>>,
    stop: Arc<AtomicBool>,
    sent: Option<JoinHandle<u64>>,
}

impl Hum {
    fn begin(mouth: &Mouth, to: SocketAddr, hertz: u32) -> Self {
        let (mouth, hertz, stop) =
            (mouth.share(), Arc::new(AtomicU32::new(hertz)), Arc::new(AtomicBool::new(false)));
        let to = Arc::new(Mutex::new(to));
        let (tone, end, goes) = (Arc::clone(&hertz), Arc::clone(&stop), Arc::clone(&to));
        let sent = std::thread::spawn(move || {
            let begin = Instant::now();
            let mut count = 0_u32;
            while !end.load(Ordering::Relaxed) {
                let turn = |s: u32| {
                    f64::from(tone.load(Ordering::Relaxed)) * f64::from(count * 160 + s) / f64::from(RATE)
                };
                let say = |s| ulaw(((turn(s) * std::f64::consts::TAU).sin() * 8_192.0) as i16);
                let packet = Packet {
                    at: FRAME * count,
                    marker: count == 0,
                    payload_type: 0,
                    sequence: count as u16,
                    timestamp: count * 160,
                    ssrc: 0x5eed,
                    payload: (0..160).map(say).collect(),
                };
                let to = *goes.lock().unwrap();
                mouth.say_from(begin, to, &[packet]);
                count += 1;
            }
            u64::from(count)
        });
        Self { hertz, to, stop, sent: Some(sent) }
    }

    fn change(&self, hertz: u32) {
        self.hertz.store(hertz, Ordering::Relaxed);
    }

    /// Ends; how many packets were sent.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.sent.take().unwrap().join().unwrap()
    }
}

/// A codec that ffmpeg decodes for callspool, and encodes for the test.
#[derive(Clone, Copy)]
struct Foreign {
    spoken: Spoken,
    encode: &'static [&'static str],
    octets: usize,
    frame: Duration,
}

impl Foreign {
    const fn new(
        payload_type: u8,
        rtpmap: &'static str,
        encode: &'static [&'static str],
        (octets, ms): (usize, u64),
    ) -> Self {
        Self { spoken: Spoken { payload_type, rtpmap }, encode, octets, frame: Duration::from_millis(ms) }
    }

    /// A tone, in packets of a frame each.
    fn packets(&self, server: &Server, hertz: u32, seconds: u32) -> Vec<Packet> {
        let file = server.directory().join(format!("{}-{hertz}", self.spoken.payload_type));
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-y", "-f", "lavfi", "-i"]);
        ffmpeg.arg(format!("sine=frequency={hertz}:sample_rate=8000:duration={seconds},volume=12dB"));
        ffmpeg.args(self.encode).arg(&file);
        run(ffmpeg, PATIENCE).expect_ok("ffmpeg");
        let octets = std::fs::read(&file).unwrap();
        let samples = RATE * self.frame.as_millis() as u32 / 1_000;
        (0_u32..)
            .zip(octets.chunks_exact(self.octets))
            .map(|(n, payload)| Packet {
                at: self.frame * n,
                marker: n == 0,
                payload_type: self.spoken.payload_type,
                sequence: n as u16,
                timestamp: n * samples,
                ssrc: 0x5eed,
                payload: payload.to_vec(),
            })
            .collect()
    }
}

const GSM: Foreign = Foreign::new(3, "GSM/8000", &["-c:a", "libgsm", "-f", "gsm"], (33, 20));
const FOREIGN: [Foreign; 4] = [
    GSM,
    Foreign::new(4, "G723/8000", &["-c:a", "g723_1", "-b:a", "6300", "-f", "g723_1"], (24, 30)),
    Foreign::new(98, "G726-32/8000", &["-c:a", "g726le", "-b:a", "32k", "-f", "g726le"], (80, 20)),
    Foreign::new(99, "AAL2-G726-32/8000", &["-c:a", "g726", "-b:a", "32k", "-f", "g726"], (80, 20)),
];

fn order(server: &Server, call: &str, what: &str) {
    let path = format!("/api/v1/calls/{call}/{what}");
    let answer = http::send("POST", &server.http_address(), &path, &[("Authorization", &bearer(server))], "");
    assert_eq!(answer.unwrap().status, 200, "{what}");
}

fn id_of(server: &Server, dialog: &Dialog) -> String {
    let look = || server.recorded(dialog.call_id()).map(|r| r.id()).ok_or_else(|| "no call".to_owned());
    wait_until("the call to be on disk", PATIENCE, look)
}

#[test]
fn a_call_is_heard_while_it_goes_on_through_pause_and_hold_and_its_pause_is_silent() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "listen", mouth.port());
    let call = id_of(&server, &dialog);
    let hum = Hum::begin(&mouth, to, 500);
    let listener = Listener::begin(&server, &call, "layout=mix");
    listener.wait_for_tone(500.0);
    hum.change(900);
    listener.wait_for_tone(900.0);
    order(&server, &call, "pause");
    hum.change(1_300);
    listener.wait_for_silence(0.8);
    order(&server, &call, "resume");
    listener.wait_for_tone(1_300.0);
    dialog.offer("inactive");
    listener.wait_for_silence(0.8);
    *hum.to.lock().unwrap() = dialog.offer("sendonly")[0].rtp();
    listener.wait_for_tone(1_300.0);
    let recorded = server.recorded(dialog.call_id()).unwrap();
    assert_eq!(recorded.segments.len(), 2, "it was heard over two segments");
    dialog.bye();
    hum.end();
    listener.wait_for_end();
    let log = server.log();
    assert!(log.contains("somebody listens to a call") && log.contains("listening ended after"), "{log}");
    server.wait_for_state(dialog.call_id(), "complete");
    assert_eq!(http_status(&server, &call), 409, "over");
}

fn http_status(server: &Server, call: &str) -> u16 {
    let path = format!("/api/v1/calls/{call}/live.wav");
    http::get(&server.http_address(), &path, &[("Authorization", &bearer(server))]).unwrap().status
}

#[test]
fn what_is_recorded_does_not_depend_on_who_listens() {
    let server = Server::start();
    let packets = Talk::new(700.0, Duration::from_secs(4)).packets();
    let mut recordings = Vec::new();
    for listeners in [0, 8] {
        let mouth = Mouth::open();
        let (mut dialog, to) = Dialog::begin(&server, &format!("with-{listeners}"), mouth.port());
        let call = id_of(&server, &dialog);
        // One takes all, the others ask and never read.
        let listener = (listeners > 0).then(|| Listener::begin(&server, &call, "layout=stereo"));
        let asleep: Vec<_> = (1..listeners).map(|_| ask(&server, &call, "layout=stereo")).collect();
        if listeners > 0 {
            wait_until("all to listen", PATIENCE, || {
                let count = server.log().matches("somebody listens to a call").count();
                if count == listeners { Ok(()) } else { Err(format!("{count} listen")) }
            });
            assert_eq!(http_status(&server, &call), 429, "one too many");
        }
        mouth.say(to, &packets);
        dialog.bye();
        let recorded = server.wait_for_state(dialog.call_id(), "complete");
        if let Some(listener) = listener {
            let sound = listener.heard(2);
            for (n, channel) in sound.iter().enumerate() {
                let begin = channel.samples.iter().position(|s| s.abs() > 1_000).expect("a tone") as f64;
                let tone = channel.cut(begin / 8_000.0 + 0.1, begin / 8_000.0 + 3.8);
                tone.expect_tone(&format!("channel {n}"), 700.0, &[1_500.0]);
            }
        }
        drop(asleep);
        let payloads: Vec<u8> = server.export(&recorded.id(), &["--mix"])[0]
            .samples
            .iter()
            .skip_while(|s| **s == 0)
            .flat_map(|s| s.to_le_bytes())
            .collect();
        let stream = recorded.stream();
        let gaps: Vec<_> = stream.gaps.iter().filter(|g| g.reason != GapReason::Silence).cloned().collect();
        recordings.push((
            stream.accounting.received,
            stream.accounting.lost,
            stream.accounting.dropped,
            gaps,
            payloads,
        ));
    }
    let (alone, heard) = (&recordings[0], &recordings[1]);
    assert_eq!((alone.0, alone.1, alone.2), (200, 0, 0));
    assert_eq!((alone.0, alone.1, alone.2, &alone.3), (heard.0, heard.1, heard.2, &heard.3));
    assert!(alone.4 == heard.4, "the sound is the same, sample by sample");
}

#[test]
fn the_command_writes_what_is_said_until_the_call_is_over() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin(&server, "listen-cli", mouth.port());
    let call = id_of(&server, &dialog);
    let file = server.directory().join("live.wav");
    let mut command = server.command();
    command.args(["listen", &call, "--mix", "--rate", "8000", "-o"]).arg(&file);
    let mut program = Program::start(command, &server.directory().join("listen.log"));
    let hum = Hum::begin(&mouth, to, 600);
    wait_until("two seconds of sound", PATIENCE, || {
        let length = std::fs::metadata(&file).map(|m| m.len()).unwrap_or(0);
        if length > 44 + 2 * 2 * 8_000 { Ok(()) } else { Err(format!("{length} octets")) }
    });
    let stream = server.recorded(dialog.call_id()).unwrap().segments[0].streams[0].id.to_string();
    let alone = Listener::begin(&server, &call, &format!("stream={stream}"));
    alone.wait_for_tone(600.0);
    dialog.bye();
    hum.end();
    let status = program.wait(PATIENCE);
    assert!(status.success(), "{}", program.output());
    let sound = wav(&file).remove(0);
    let begin = sound.samples.iter().position(|s| s.abs() > 1_000).expect("a tone") as f64 / 8_000.0;
    sound.cut(begin + 0.1, begin + 1.0).expect_tone("the command", 600.0, &[1_500.0]);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(wav_bytes(&bytes)[0].samples.len() * 2 + 44, bytes.len(), "its head says how long it is");

    server.wait_for_state(dialog.call_id(), "complete");
    for (arguments, told) in
        [(vec!["listen", &call], "the call is over"), (vec!["listen", "06jv3kq4g2n00"], "ls --live")]
    {
        let done = server.callspool(&arguments);
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains(told), "{}", done.err);
    }
}

#[test]
fn a_player_that_is_missing_is_named() {
    let server = Server::start();
    let mouth = Mouth::open();
    let (mut dialog, _) = Dialog::begin(&server, "no-player", mouth.port());
    let call = id_of(&server, &dialog);
    let mut command = server.command();
    command.args(["listen", &call, "--play"]).env("PATH", "/nonexistent");
    let done = support::program::run(command, PATIENCE);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("ffplay") && done.err.contains("apt-get install"), "{}", done.err);
    dialog.bye();
}

#[test]
fn what_ffmpeg_decodes_is_heard_while_it_is_said() {
    let server = Server::start();
    for codec in FOREIGN {
        let (name, mouth) = (codec.spoken.rtpmap, Mouth::open());
        let call_id = format!("foreign-{}", codec.spoken.payload_type);
        let (mut dialog, to) = Dialog::begin_in(&server, &call_id, mouth.port(), codec.spoken);
        let call = id_of(&server, &dialog);
        let (low, high) = (codec.packets(&server, 500, 30), codec.packets(&server, 900, 30));
        let say = Say::begin(&mouth, to, low);
        let listener = Listener::begin(&server, &call, "layout=mix");
        listener.wait_for_tone(500.0);
        assert!(!listener.head().contains("callspool-not-heard"), "{name}: {}", listener.head());
        say.go_over_to(high);
        listener.wait_for_tone(900.0);
        assert!(children(&server) > 0, "{name}: nobody decodes it");
        dialog.bye();
        say.end();
        listener.wait_for_end();
        server.wait_for_state(dialog.call_id(), "complete");
    }
    wait_until("the end of what decoded", PATIENCE, || match children(&server) {
        0 => Ok(()),
        count => Err(format!("{count} processes")),
    });
}

#[test]
fn a_codec_that_cannot_be_decoded_is_told_to_whoever_listens() {
    let mut server = Server::prepare(&[]);
    server.without_programs();
    server.restart();
    let mouth = Mouth::open();
    let (mut dialog, to) = Dialog::begin_in(&server, "untold", mouth.port(), GSM.spoken);
    let call = id_of(&server, &dialog);
    let say = Say::begin(&mouth, to, GSM.packets(&server, 500, 30));
    let listener = Listener::begin(&server, &call, "layout=mix");
    wait_until("the head of the sound", PATIENCE, || {
        let head = listener.head();
        if head.contains("\r\n\r\n") { Ok(()) } else { Err(head) }
    });
    let head = listener.head();
    assert!(head.contains("callspool-not-heard: GSM needs ffmpeg"), "{head}");
    assert!(head.contains("apt-get install ffmpeg"), "{head}");
    let mut command = server.command();
    command.args(["listen", &call, "-o"]).arg(server.directory().join("silent.wav"));
    let mut program = Program::start(command, &server.directory().join("listen.log"));
    wait_until("the note", PATIENCE, || {
        let output = program.output();
        if output.contains("note: not heard: GSM needs ffmpeg") { Ok(()) } else { Err(output) }
    });
    dialog.bye();
    say.end();
    assert!(program.wait(PATIENCE).success());
    listener.wait_for_end();
    assert!(server.log().contains("a listener does not hear a stream"), "{}", server.log());
}

/// Somebody who says packets, one after the other.
struct Say {
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Say {
    fn begin(mouth: &Mouth, to: SocketAddr, packets: Vec<Packet>) -> Self {
        let (packets, stop) = (Arc::new(Mutex::new(packets)), Arc::new(AtomicBool::new(false)));
        let (said, end, mouth) = (Arc::clone(&packets), Arc::clone(&stop), mouth.share());
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            for n in 0.. {
                let Some(packet) = said.lock().unwrap().get(n).cloned() else { return };
                if end.load(Ordering::Relaxed) {
                    return;
                }
                mouth.say_from(begin, to, &[packet]);
            }
        });
        Self { packets, stop, thread }
    }

    /// Goes on with the same place of other packets.
    fn go_over_to(&self, packets: Vec<Packet>) {
        *self.packets.lock().unwrap() = packets;
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Processes that the server has started and that have not ended.
fn children(server: &Server) -> usize {
    let of = format!("PPid:\t{}", server.id());
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let status = |p: std::fs::DirEntry| std::fs::read_to_string(p.path().join("status")).unwrap_or_default();
    processes.map(status).filter(|status| status.lines().any(|l| l == of)).count()
}

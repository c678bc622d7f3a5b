//! Listening to calls in progress: what is said is heard while it is said, a pause is not, and the recording is as it
//! would be if nobody listened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::GapReason;
use support::audio::{Sound, wav, wav_bytes};
use support::program::Program;
use support::rtp::{Mouth, Packet, Talk, ulaw};
use support::server::Server;
use support::uac::Dialog;
use support::{PATIENCE, http, wait_until};

const RATE: u32 = 8_000;
const FRAME: Duration = Duration::from_millis(20);
/// A tone is heard when so much of the last sound is it.
const LOOK: f64 = 0.3;

/// Somebody who listens by HTTP and takes all that comes.
struct Listener {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
}

impl Listener {
    fn begin(server: &Server, call: &str, query: &str) -> Self {
        let mut stream = ask(server, call, query);
        let (bytes, ended) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::new(AtomicBool::new(false)));
        let (into, end) = (Arc::clone(&bytes), Arc::clone(&ended));
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
            end.store(true, Ordering::Relaxed);
        });
        Self { bytes, ended }
    }

    /// All that was heard so far; one sound for each channel.
    fn heard(&self, channels: usize) -> Vec<Sound> {
        let raw = self.bytes.lock().unwrap().clone();
        let text = String::from_utf8_lossy(&raw[..raw.len().min(400)]).into_owned();
        assert!(raw.is_empty() || text.starts_with("HTTP/1.1 200"), "{text}");
        let body = unchunked(&raw);
        let samples: Vec<i16> = body
            .get(44..)
            .unwrap_or_default()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|s| i16::from_le_bytes(*s))
            .collect();
        let of = |n| samples.iter().copied().skip(n).step_by(channels).collect();
        (0..channels).map(|n| Sound { rate: RATE, samples: of(n) }).collect()
    }

    /// Waits until the last that was heard is this tone, in the one channel.
    fn wait_for_tone(&self, hertz: f64) {
        wait_until(&format!("{hertz} Hz to be heard"), PATIENCE, || {
            let sound = self.heard(1).remove(0);
            let last = sound.cut(sound.seconds() - LOOK, sound.seconds());
            let level = last.level(hertz);
            if last.seconds() >= LOOK * 0.9 && level > -13.5 {
                Ok(())
            } else {
                Err(format!("{level:.0} dBFS"))
            }
        });
    }

    /// Waits until nothing at all is heard for so long.
    fn wait_for_silence(&self, seconds: f64) {
        wait_until("silence", PATIENCE, || {
            let sound = self.heard(1).remove(0);
            let last = sound.cut(sound.seconds() - seconds, sound.seconds());
            let loud = last.samples.iter().filter(|s| **s != 0).count();
            if sound.seconds() > seconds && loud == 0 { Ok(()) } else { Err(format!("{loud} samples")) }
        });
    }

    fn wait_for_end(&self) {
        wait_until("the end of the sound", PATIENCE, || {
            if self.ended.load(Ordering::Relaxed) { Ok(()) } else { Err("it goes on".to_owned()) }
        });
    }
}

fn bearer(server: &Server) -> String {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    format!("Bearer {}", token.trim())
}

fn ask(server: &Server, call: &str, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.http_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /api/v1/calls/{call}/live.wav?rate=8000&{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n\
         Connection: close\r\n\r\n",
        bearer(server)
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The body of an answer that may still go on.
fn unchunked(raw: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    let Some(head) = raw.windows(4).position(|w| w == b"\r\n\r\n") else { return whole };
    let mut rest = &raw[head + 4..];
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let Some(chunk) = rest.get(line + 2..line + 2 + length).filter(|_| length > 0) else { break };
        whole.extend_from_slice(chunk);
        rest = rest.get(line + 2 + length + 2..).unwrap_or_default();
    }
    whole
}

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

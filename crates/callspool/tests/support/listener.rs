//! Somebody who listens to a call in progress by HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::audio::Sound;
use super::server::Server;
use super::{PATIENCE, wait_until};

/// Samples a second.
pub const RATE: u32 = 8_000;
/// A tone is heard when so much of the last sound is it, in seconds.
const LOOK: f64 = 0.3;

/// Somebody who listens by HTTP and takes all that comes.
pub struct Listener {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
}

impl Listener {
    /// Begins to listen.
    pub fn begin(server: &Server, call: &str, query: &str) -> Self {
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

    /// The head of the answer, as far as it has come.
    pub fn head(&self) -> String {
        let raw = self.bytes.lock().unwrap();
        let length = raw.windows(4).position(|w| w == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
        String::from_utf8_lossy(&raw[..length]).into_owned()
    }

    /// All that was heard so far; one sound for each channel.
    pub fn heard(&self, channels: usize) -> Vec<Sound> {
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
    pub fn wait_for_tone(&self, hertz: f64) {
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
    pub fn wait_for_silence(&self, seconds: f64) {
        wait_until("silence", PATIENCE, || {
            let sound = self.heard(1).remove(0);
            let last = sound.cut(sound.seconds() - seconds, sound.seconds());
            let loud = last.samples.iter().filter(|s| **s != 0).count();
            if sound.seconds() > seconds && loud == 0 { Ok(()) } else { Err(format!("{loud} samples")) }
        });
    }

    /// Waits until the sound is over.
    pub fn wait_for_end(&self) {
        wait_until("the end of the sound", PATIENCE, || {
            if self.ended.load(Ordering::Relaxed) { Ok(()) } else { Err("it goes on".to_owned()) }
        });
    }
}

/// What proves to the server who asks.
pub fn bearer(server: &Server) -> String {
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    format!("Bearer {}", token.trim())
}

/// Asks to listen, and reads nothing.
pub fn ask(server: &Server, call: &str, query: &str) -> TcpStream {
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

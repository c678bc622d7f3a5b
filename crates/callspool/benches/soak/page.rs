//! People and programs at the page: lists, metrics, exports, pictures, orders, tags, events.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::node::{Node, PAGE, ask};

/// Listeners to events; every other one leaves and comes again after a while.
const LISTENERS: u64 = 8;
const LEAVES: Duration = Duration::from_secs(20);

pub(crate) struct Page {
    token: String,
    answers: AtomicU64,
    /// Answers that should not be: none, one that broke off, a 5xx.
    wrong: AtomicU64,
    first_wrong: Mutex<String>,
    orders: AtomicU64,
    exports: AtomicU64,
    events: AtomicU64,
    /// Milliseconds that lists took, since somebody looked.
    lists: Mutex<Vec<f64>>,
}

impl Page {
    pub(crate) fn of(node: &Node) -> Result<Self, Failure> {
        Ok(Self {
            token: node.token()?,
            answers: AtomicU64::default(),
            wrong: AtomicU64::default(),
            first_wrong: Mutex::default(),
            orders: AtomicU64::default(),
            exports: AtomicU64::default(),
            events: AtomicU64::default(),
            lists: Mutex::default(),
        })
    }

    /// Starts all of them; they end when told to stop.
    pub(crate) fn go_on<'s>(&'s self, scope: &'s Scope<'s, '_>, stop: &'s AtomicBool) {
        let each = |pause: u64, act: fn(&Self)| {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    act(self);
                    std::thread::sleep(Duration::from_millis(pause));
                }
            });
        };
        each(250, Self::list);
        each(1_000, |page| drop(page.get("/metrics")));
        each(1_500, Self::order);
        each(2_000, Self::listen_to_recordings);
        for n in 0..LISTENERS {
            let stays = if n % 2 == 0 { LEAVES } else { Duration::MAX };
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = self.hear_events(stays, stop);
                }
            });
        }
    }

    fn list(&self) {
        let begun = Instant::now();
        if self.get("/api/v1/calls?limit=50").is_some() {
            self.lists.lock().unwrap().push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }

    /// Pauses a call that goes on, and lets it go on; tags it.
    fn order(&self) {
        let Some(call) = self.some_call("/api/v1/calls?live=true&limit=20") else { return };
        for (method, rest) in [("POST", "pause"), ("PUT", "tags/soaked"), ("POST", "resume")] {
            self.orders.fetch_add(1, Ordering::Relaxed);
            self.ask(method, &format!("/api/v1/calls/{call}/{rest}"));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Plays a call that is over, whole and in part, and looks at its picture.
    fn listen_to_recordings(&self) {
        let Some(call) = self.some_call("/api/v1/calls?live=false&limit=50") else { return };
        for rest in ["audio.wav", "audio.opus", "audio.flac", "peaks", ""] {
            self.exports.fetch_add(1, Ordering::Relaxed);
            self.get(format!("/api/v1/calls/{call}/{rest}").trim_end_matches('/'));
        }
        // Somebody who begins to listen and leaves.
        if let Ok(mut stream) = self.begin(&format!("/api/v1/calls/{call}/audio.wav?rate=48000")) {
            let _ = stream.read(&mut [0; 1_000]);
        }
    }

    /// The id of one of the calls of a list; which one changes.
    fn some_call(&self, path: &str) -> Option<String> {
        let answer = self.get(path)?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let body = text.split_once("\r\n\r\n")?.1;
        let list: serde_json::Value = serde_json::from_str(body).ok()?;
        let calls = list["calls"].as_array()?;
        let turn = usize::try_from(self.answers.load(Ordering::Relaxed)).ok()?;
        let call = calls.get(turn.checked_rem(calls.len())?)?;
        call["id"].as_str().map(str::to_owned)
    }

    fn hear_events(&self, stays: Duration, stop: &AtomicBool) -> Result<(), Failure> {
        let mut stream = self.begin("/api/v1/events")?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        let begun = Instant::now();
        let mut piece = [0; 8_192];
        while begun.elapsed() < stays && !stop.load(Ordering::Relaxed) {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    let heard = piece[..n].windows(6).filter(|w| w == b"\ndata:").count();
                    self.events.fetch_add(heard as u64, Ordering::Relaxed);
                }
                Err(e)
                    if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn begin(&self, path: &str) -> Result<TcpStream, Failure> {
        let mut stream = TcpStream::connect(PAGE)?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {PAGE}\r\nAuthorization: Bearer {}\r\n\r\n", self.token);
        stream.write_all(request.as_bytes())?;
        Ok(stream)
    }

    fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.ask("GET", path)
    }

    fn ask(&self, method: &str, path: &str) -> Option<Vec<u8>> {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let why = match ask(method, path, &self.token, "") {
            Ok((status, answer)) if status < 500 => return Some(answer),
            Ok((status, _)) => format!("{method} {path}: {status}"),
            Err(e) => format!("{method} {path}: {e}"),
        };
        if self.wrong.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.first_wrong.lock().unwrap() = why;
        }
        None
    }

    /// Milliseconds that lists took since the last time.
    pub(crate) fn take_lists(&self) -> Vec<f64> {
        std::mem::take(&mut *self.lists.lock().unwrap())
    }

    pub(crate) fn is_well(&self) -> bool {
        self.wrong.load(Ordering::Relaxed) == 0 && self.events.load(Ordering::Relaxed) > 0
    }
}

impl std::fmt::Display for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        write!(
            f,
            "{} answers of the page, {} orders and {} exports among them, {} events heard; {} wrong {}",
            of(&self.answers),
            of(&self.orders),
            of(&self.exports),
            of(&self.events),
            of(&self.wrong),
            self.first_wrong.lock().unwrap()
        )
    }
}

//! Somebody who talks: a stream that goes on whatever the signalling does.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::rtp::{Mouth, Packet, Talk};

/// A party that goes on talking whatever the signalling does, as phones do; only where to changes.
pub struct Party {
    /// Where it talks from.
    pub mouth: Mouth,
    to: Mutex<Option<SocketAddr>>,
    sent: Mutex<Vec<(SocketAddr, Packet)>>,
    silent: AtomicBool,
}

impl Party {
    /// One that says nothing yet.
    pub fn new() -> Self {
        let (to, sent) = (Mutex::new(None), Mutex::new(Vec::new()));
        Self { mouth: Mouth::open(), to, sent, silent: AtomicBool::new(false) }
    }

    /// Talks in one tone, to wherever it was last told, until it is hushed.
    pub fn talk(&self, hertz: f64) {
        let start = Instant::now();
        for packet in Talk::new(hertz, Duration::from_secs(20)).packets() {
            std::thread::sleep((start + packet.at).saturating_duration_since(Instant::now()));
            if self.silent.load(Ordering::Relaxed) {
                return;
            }
            let Some(to) = *self.to.lock().unwrap() else { continue };
            self.mouth.say_from(start, to, std::slice::from_ref(&packet));
            self.sent.lock().unwrap().push((to, packet));
        }
    }

    /// Where to from now on.
    pub fn turn_to(&self, to: SocketAddr) {
        *self.to.lock().unwrap() = Some(to);
    }

    /// Packets that it sent there.
    pub fn sent_to(&self, to: SocketAddr) -> u64 {
        self.sent.lock().unwrap().iter().filter(|(t, _)| *t == to).count() as u64
    }
}

/// Parties fall silent when the scenario is over, or has failed.
pub struct Hush<'a>(pub &'a [&'a Party]);

impl Drop for Hush<'_> {
    fn drop(&mut self) {
        for party in self.0 {
            party.silent.store(true, Ordering::Relaxed);
        }
    }
}

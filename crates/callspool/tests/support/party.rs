//! Somebody who talks: a stream that goes on whatever the signalling does.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::rtp::{Mouth, Packet, Talk};

/// A party that goes on talking whatever the signalling does, as phones do; only where to changes.
pub struct Party {
    /// Where it talks from.
    pub mouth: Mouth,
    to: Mutex<Option<SocketAddr>>,
    sent: Mutex<Vec<(SocketAddr, Packet)>>,
    silent: AtomicBool,
    /// The payload type of its packets from now on: 0 for µ-law, 8 for A-law.
    speaks: AtomicU8,
}

impl Party {
    /// One that says nothing yet.
    pub fn new() -> Self {
        let (to, sent) = (Mutex::new(None), Mutex::new(Vec::new()));
        Self { mouth: Mouth::open(), to, sent, silent: AtomicBool::new(false), speaks: AtomicU8::new(0) }
    }

    /// Talks in one tone, to wherever it was last told, until it is hushed.
    pub fn talk(&self, hertz: f64) {
        let start = Instant::now();
        let talk = Talk::new(hertz, Duration::from_secs(20));
        let a_law = Talk { payload_type: 8, ..talk }.packets();
        for (packet, a_law) in talk.packets().into_iter().zip(a_law) {
            let packet = if self.speaks.load(Ordering::Relaxed) == 8 { a_law } else { packet };
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

    /// In which codec from now on: the first of these payload types that it can.
    pub fn speak(&self, payload_types: &[u8]) {
        if let Some(first) = payload_types.iter().find(|pt| matches!(pt, 0 | 8)) {
            self.speaks.store(*first, Ordering::Relaxed);
        }
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

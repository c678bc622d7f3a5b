//! Tones in what is heard, in the order in which packets come. Where samples are missing the ear begins anew, and a key goes
//! on when it is heard again soon enough.

use std::time::Duration;

use model::{Codec, WallTime};

use super::{DigitBy, LOST_NS};
use crate::relay::Event;
use crate::rtp::{BLOCK, Ear, Key, Packet, Samples};

/// 4 blocks in a row, 25 ms: receivers take tones of 40 ms (Q.24), and no voice that was tried holds a key for more than 2.
const BLOCKS: u32 = 4;
/// 25 ms at 8 kHz: a break as long as that ends a key. Receivers read over 10 ms and see 40 (Q.24).
const BREAK: u64 = 200;
/// A tone that goes on is known again so much later, and less.
const RESUMED: u64 = 2 * BLOCK as u64;
/// 2 s at 8 kHz: packets that are so late are passed over; from further behind the sender began anew.
const LATE: i64 = 16_000;

/// Blocks in a row that hold the same key.
#[derive(Clone, Copy, Debug)]
struct Run {
    key: Key,
    from: u64,
    blocks: u32,
}

/// A key that is pressed.
#[derive(Clone, Copy, Debug)]
struct Press {
    key: Key,
    from: u64,
    until: u64,
}

/// See the module. Samples are counted at 8 kHz, those that are missing too.
#[derive(Debug, Default)]
pub(super) struct Heard {
    ear: Ear,
    /// What is sent now, and how it is heard; none: it cannot be.
    payload_type: Option<u8>,
    samples: Option<Samples>,
    /// Ticks of its clock for a sample at 8 kHz.
    each: u32,
    /// Whose packets, and the timestamp of the next if nothing is missing.
    next: Option<(u32, u32)>,
    index: u64,
    run: Option<Run>,
    press: Option<Press>,
    /// When the last packet came.
    last: WallTime,
}

impl Heard {
    /// A packet of anything but events came, of this codec if signalling names it.
    pub(super) fn take(&mut self, packet: &Packet<'_>, codec: Option<&Codec>, tell: &mut impl FnMut(Event)) {
        if self.payload_type != Some(packet.payload_type) {
            self.payload_type = Some(packet.payload_type);
            self.samples = codec.and_then(Samples::of);
            // What RFC 3551 says is the clock of G.722 is that of its samples at 8 kHz.
            self.each = codec.map_or(1, |c| c.clock_rate / 8_000).max(1);
            self.edge();
        }
        if self.samples.is_none() || !self.follows(packet) {
            return;
        }
        self.last = packet.arrival;
        let before = self.index;
        let Some(mut samples) = self.samples.take() else { return };
        samples.each(packet.payload, |sample| self.hear(sample, tell));
        self.samples = Some(samples);
        let ticks = u32::try_from(self.index - before).unwrap_or(0).wrapping_mul(self.each);
        self.next = Some((packet.ssrc, packet.timestamp.wrapping_add(ticks)));
    }

    /// Whether it is to be heard; what is missing before it is counted.
    fn follows(&mut self, packet: &Packet<'_>) -> bool {
        let Some((ssrc, next)) = self.next else { return true };
        if ssrc != packet.ssrc {
            // Another source: nothing says how much lies between.
            self.index += BREAK + 1;
            self.edge();
            return true;
        }
        let ticks = i64::from(packet.timestamp.wrapping_sub(next).cast_signed());
        match ticks / i64::from(self.each.max(1)) {
            0 => true,
            late if (-LATE..0).contains(&late) => false,
            missing => {
                self.index += missing.unsigned_abs();
                self.edge();
                true
            }
        }
    }

    fn hear(&mut self, sample: i16, tell: &mut impl FnMut(Event)) {
        self.index += 1;
        let Some(held) = self.ear.hear(sample) else { return };
        match held {
            Some(key) => self.holds(key, tell),
            None => self.run = None,
        }
        if self.press.is_some_and(|press| self.index - press.until > BREAK + RESUMED) {
            self.release(tell);
        }
    }

    /// A block that ends here holds a key.
    fn holds(&mut self, key: Key, tell: &mut impl FnMut(Event)) {
        let from = self.index - BLOCK as u64;
        if let Some(press) = self.press.as_mut().filter(|p| p.key == key && from <= p.until + BREAK) {
            press.until = self.index;
            return;
        }
        let mut run = self.run.filter(|r| r.key == key).unwrap_or(Run { key, from, blocks: 0 });
        run.blocks += 1;
        self.run = Some(run);
        if run.blocks >= BLOCKS {
            self.release(tell);
            self.press = Some(Press { key, from: run.from, until: self.index });
            tell(Event::Pressed { key: key.name(), by: DigitBy::Tone });
        }
    }

    fn release(&mut self, tell: &mut impl FnMut(Event)) {
        if let Some(Press { key, from, until }) = self.press.take() {
            let lasted = Duration::from_micros((until - from) * 125);
            tell(Event::Released { key: key.name(), by: DigitBy::Tone, lasted });
        }
    }

    /// What comes does not follow what came.
    fn edge(&mut self) {
        self.ear.forget();
        self.run = None;
    }

    pub(super) fn pass(&mut self, now: WallTime, tell: &mut impl FnMut(Event)) {
        if now.nanos_since(self.last) > LOST_NS {
            self.release(tell);
        }
    }
}

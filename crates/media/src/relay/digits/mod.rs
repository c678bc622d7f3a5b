//! Keys that are pressed, told to whoever asks: as telephone events name them (RFC 4733), and, where that is asked too, as
//! tones in what is heard.
//!
//! ```text
//!  a packet of the peer ──► an event's payload type ──► events ──► Pressed, Released
//!                     ├───► redundancy with one in it ──┘
//!                     └───► G.711, G.722, L16 ────────► tones ───► Pressed, Released
//! ```
//!
//! A gateway that sends both is told twice: by whom says [`DigitBy`]. Packets are looked at in the order in which they come;
//! one that is late is passed over. An end that asks for nothing has none of this.

mod events;
mod tones;

use model::{Codec, WallTime};

use self::events::Named;
use self::tones::Heard;
use super::events::{Event, Events};
use crate::rtp::Packet;

/// What is listened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Listening {
    /// Nothing: nobody asks, and it costs nothing.
    #[default]
    Nothing,
    /// Telephone events, of any clock rate, in redundancy (RFC 2198) too.
    Events,
    /// And tones in G.711, G.722 and linear PCM (L16) of one channel; other codecs are not looked into. It costs as much as
    /// masking does, about a microsecond a packet.
    EventsAndTones,
}

/// How a key is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DigitBy {
    /// By a telephone event.
    Event,
    /// By a tone.
    Tone,
}

/// After so long (nanoseconds) without another packet a key is released: senders of events send each 20 to 50 ms.
const LOST_NS: i64 = 200_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Digits {
    codecs: Vec<(u8, Codec)>,
    named: Named,
    heard: Option<Heard>,
}

impl Digits {
    /// None where nobody asks.
    pub(super) fn new(listening: Listening, codecs: &[(u8, Codec)]) -> Option<Box<Self>> {
        let heard = match listening {
            Listening::Nothing => return None,
            Listening::Events => None,
            Listening::EventsAndTones => Some(Heard::default()),
        };
        Some(Box::new(Self { codecs: codecs.to_vec(), named: Named::default(), heard }))
    }

    /// A packet of the peer came.
    pub(super) fn take(&mut self, packet: &Packet<'_>, events: &mut Events<'_>) {
        let Self { codecs, named, heard } = self;
        let mut tell = |event: Event| events.push(event);
        let at = packet.arrival;
        match codec(codecs, packet.payload_type) {
            Some(codec) if is_event(codec) => {
                named.take(at, (packet.ssrc, packet.timestamp), packet.payload, codec.clock_rate, &mut tell);
            }
            Some(red) if red.is("RED") => {
                for (payload_type, before, block) in blocks(packet.payload) {
                    if let Some(codec) = codec(codecs, payload_type).filter(|codec| is_event(codec)) {
                        let timestamp = packet.timestamp.wrapping_sub(before);
                        named.take(at, (packet.ssrc, timestamp), block, codec.clock_rate, &mut tell);
                    }
                }
            }
            found => {
                if let Some(heard) = heard {
                    heard.take(packet, found, &mut tell);
                }
            }
        }
    }

    /// Time has passed: a key of which nothing comes any more is released.
    pub(super) fn pass(&mut self, now: WallTime, events: &mut Events<'_>) {
        let mut tell = |event: Event| events.push(event);
        self.named.pass(now, &mut tell);
        if let Some(heard) = &mut self.heard {
            heard.pass(now, &mut tell);
        }
    }
}

fn codec(codecs: &[(u8, Codec)], payload_type: u8) -> Option<&Codec> {
    codecs.iter().find(|(named, _)| *named == payload_type).map(|(_, codec)| codec)
}

fn is_event(codec: &Codec) -> bool {
    codec.is("telephone-event")
}

/// The blocks of redundancy (RFC 2198 section 3), the oldest first: payload type, how much earlier it was, payload.
fn blocks(payload: &[u8]) -> impl Iterator<Item = (u8, u32, &[u8])> {
    let heads = payload.chunks(4).take_while(|head| head[0] & 0x80 != 0 && head.len() == 4).count();
    let mut rest = payload.get(4 * heads + 1..).unwrap_or_default();
    let last = payload.get(4 * heads).copied();
    let before = payload.chunks(4).take(heads).map(|head| match *head {
        // 14 bits of time, 10 bits of length.
        [first, high, middle, low] => {
            let offset = u32::from(high) << 6 | u32::from(middle) >> 2;
            (first & 0x7f, offset, Some(usize::from(middle & 3) << 8 | usize::from(low)))
        }
        _ => (0x7f, 0, Some(0)),
    });
    before.chain(last.map(|last| (last & 0x7f, 0, None))).map_while(move |(payload_type, offset, length)| {
        let (block, left) = rest.split_at_checked(length.unwrap_or(rest.len()))?;
        rest = left;
        Some((payload_type, offset, block))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redundancy_is_taken_apart_and_what_is_cut_ends_it() {
        let red = [0x80 | 101, 0, 80, 4, 0x80 | 100, 0, 160, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let whole: Vec<_> = blocks(&red).collect();
        assert_eq!(whole, [(101, 20, &[1, 2, 3, 4][..]), (100, 40, &[5, 6][..]), (0, 0, &[7, 8, 9][..])]);
        for length in 0..red.len() {
            let cut: Vec<_> = blocks(&red[..length]).collect();
            assert!(
                cut.len() <= 3 && cut.iter().zip(&whole).take(2).all(|(a, b)| a.0 == b.0 || cut.len() == 1)
            );
        }
        assert_eq!(blocks(&[]).count(), 0);
        assert_eq!(blocks(&[0]).collect::<Vec<_>>(), [(0, 0, &[][..])]);
    }
}

//! Telephone events (RFC 4733 section 2): a key is told by many packets, from when it is pressed until it is released, and
//! its end three times.

use std::time::Duration;

use model::WallTime;

use super::{DigitBy, LOST_NS};
use crate::relay::Event;

/// The keys, by their event (RFC 4733 section 3.2).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
/// Ticks of a segment of a long event: its timestamp moves on by so many (section 2.5.1.3).
const SEGMENT: u32 = 0xffff;
/// The bit that says that it has ended.
const END: u8 = 0x80;
/// Seconds that an event may be late.
const LATE_S: u32 = 2;

/// The key that was told last. All packets of a press have its source, its timestamp and its number.
#[derive(Clone, Copy, Debug)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    event: u8,
    key: char,
    clock: u32,
    /// Ticks of the segments before this one, and of this.
    before: u64,
    ticks: u16,
    /// When the last packet of it came.
    last: WallTime,
    is_over: bool,
}

impl Press {
    fn release(&mut self, tell: &mut impl FnMut(Event)) {
        if !std::mem::replace(&mut self.is_over, true) {
            let ticks = self.before + u64::from(self.ticks);
            let lasted = Duration::from_micros(ticks * 1_000_000 / u64::from(self.clock.max(1)));
            tell(Event::Released { key: self.key, by: DigitBy::Event, lasted });
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Named {
    last: Option<Press>,
}

impl Named {
    /// A packet of an event came.
    pub(super) fn take(
        &mut self,
        at: WallTime,
        (ssrc, timestamp): (u32, u32),
        payload: &[u8],
        clock: u32,
        tell: &mut impl FnMut(Event),
    ) {
        let Some([event, flags, high, low]) = payload.first_chunk::<4>().copied() else { return };
        let Some(key) = KEYS.get(usize::from(event)).copied() else { return };
        let ticks = u16::from_be_bytes([high, low]);
        let new = Press { ssrc, timestamp, event, key, clock, before: 0, ticks, last: at, is_over: false };
        let press = match &mut self.last {
            Some(last) if last.ssrc == ssrc => {
                let ahead = timestamp.wrapping_sub(last.timestamp);
                // One that comes late is of a press before, and is not told again. Far behind, the sender began anew.
                let is_late = ahead >= 1 << 31 && ahead.wrapping_neg() <= clock.saturating_mul(LATE_S);
                if is_late {
                    return;
                }
                if ahead == 0 && event == last.event {
                    last.ticks = last.ticks.max(ticks);
                    last.last = at;
                } else if ahead == SEGMENT && event == last.event && !last.is_over {
                    *last = Press { before: last.before + u64::from(SEGMENT), ..new };
                } else if ahead != 0 {
                    // Its end was lost.
                    last.release(tell);
                    *last = new;
                    tell(Event::Pressed { key, by: DigitBy::Event });
                }
                last
            }
            last => {
                if let Some(last) = last {
                    last.release(tell);
                }
                tell(Event::Pressed { key, by: DigitBy::Event });
                last.insert(new)
            }
        };
        if flags & END != 0 {
            press.release(tell);
        }
    }

    pub(super) fn pass(&mut self, now: WallTime, tell: &mut impl FnMut(Event)) {
        if let Some(last) = self.last.as_mut().filter(|last| now.nanos_since(last.last) > LOST_NS) {
            last.release(tell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets as `timestamp event [E] ticks`, of source 1 unless behind `/`; `pass ms`. What is told.
    fn told(steps: &str) -> String {
        let (mut named, mut now, mut text) = (Named::default(), 0, String::new());
        for step in steps.split(" | ") {
            let words: Vec<&str> = step.split_whitespace().collect();
            let mut tell = |event: Event| match event {
                Event::Pressed { key, .. } => text.push(key),
                Event::Released { lasted, .. } => text.push_str(&format!("({}) ", lasted.as_millis())),
                other => panic!("{other:?}"),
            };
            if words[0] == "pass" {
                now += words[1].parse::<i64>().unwrap() * 1_000_000;
                named.pass(WallTime(now), &mut tell);
                continue;
            }
            let (timestamp, ssrc) = words[0].split_once('/').unwrap_or((words[0], "1"));
            let (timestamp, ssrc) = (timestamp.parse::<u32>().unwrap(), ssrc.parse().unwrap());
            let flags = if words[2] == "E" { 0x8a } else { 10 };
            let ticks = words.last().unwrap().parse::<u16>().unwrap().to_be_bytes();
            let payload = [words[1].parse().unwrap(), flags, ticks[0], ticks[1]];
            now += 20_000_000;
            named.take(WallTime(now), (ssrc, timestamp), &payload, 8_000, &mut tell);
        }
        text
    }

    #[test]
    fn a_key_is_told_once_when_it_is_pressed_and_once_when_it_is_released() {
        assert_eq!(told("100 5 160 | 100 5 320 | 100 5 E 480 | 100 5 E 480 | 100 5 E 480"), "5(60) ");
        assert_eq!(
            told("100 5 160 | 900 11 160 | 100 5 320 | 900 11 E 320"),
            "5(20) #(40) ",
            "its end was lost"
        );
        assert_eq!(told("100 5 E 800 | 100 5 E 800"), "5(100) ", "all but its end was lost");
        assert_eq!(told("100 5 160 | pass 100 | 100 5 320 | pass 200 | pass 1 | 100 5 480"), "5(40) ");
        assert_eq!(told("4294967295 3 160 | 1700 5 160"), "3(20) 5", "across the wrap");
        assert_eq!(told("100 16 160"), "", "a flash is no key");
    }

    #[test]
    fn a_long_one_goes_on_in_segments_and_another_source_or_beginning_is_another_press() {
        assert_eq!(told("5 0 65535 | 65540 0 160 | 65540 0 E 8000"), "0(9191) ");
        assert_eq!(told("5 0 E 65535 | 65540 0 160"), "0(8191) 0", "it had ended");
        assert_eq!(told("100 5 160 | 100/2 5 160 | 100/2 5 E 160"), "5(20) 5(20) ");
        assert_eq!(told("900000 5 E 160 | 7 9 160"), "5(20) 9", "the sender began anew");
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        let mut named = Named::default();
        named.take(WallTime(0), (1, 1), &[1, 10, 0], 8_000, &mut |event| panic!("{event:?}"));
    }
}

//! Keys that are pressed, as telephone events tell them (RFC 4733). Tones in what is heard are not looked for here: who
//! masks them does ([`StreamReceiver::masking`](crate::StreamReceiver::masking)).

/// The keys, by their event (RFC 4733 section 3.2).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// Ticks of a segment of a long event: its timestamp moves on by so many.
const SEGMENT: u32 = 0xffff;
/// Ticks (2 s at 8 kHz) that an event may be late.
const LATE_MAX: u32 = 16_000;

/// Which event was the last. All packets of one have its source, its timestamp and its number.
#[derive(Debug, Default)]
pub(super) struct Digits {
    last: Option<(u32, u32, u8)>,
}

impl Digits {
    /// The key that is pressed, with the first packet that tells it.
    pub(super) fn event(&mut self, ssrc: u32, timestamp: u32, payload: &[u8]) -> Option<char> {
        let event = payload.first_chunk::<4>()?[0];
        let key = KEYS.get(usize::from(event))?;
        let this = (ssrc, timestamp, event);
        let Some((last_ssrc, last, last_event)) = self.last else {
            self.last = Some(this);
            return Some(*key);
        };
        let ahead = timestamp.wrapping_sub(last);
        // One that comes late is of the last but one at most: it is not told again. Far behind, the sender began anew.
        let is_late = ahead >= 1 << 31 && ahead.wrapping_neg() <= LATE_MAX;
        if ssrc == last_ssrc && (ahead == 0 || is_late) {
            return None;
        }
        self.last = Some(this);
        // A long event goes on in another segment (RFC 4733 section 2.5.1.3).
        let goes_on = ssrc == last_ssrc && event == last_event && ahead == SEGMENT;
        (!goes_on).then_some(*key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_once_however_many_packets_tell_it() {
        let mut digits = Digits::default();
        let mut told = String::new();
        for (timestamp, event) in
            [(100, 5), (100, 5), (900, 11), (100, 5), (900, 11), (u32::MAX, 3), (1_700, 5)]
        {
            told.extend(digits.event(7, timestamp, &[event, 10, 0, 160]));
        }
        told.extend(digits.event(8, 5, &[0, 10, 0, 160]));
        // A segment of the same key, held for long; then the sender begins anew, at a lower timestamp.
        told.extend(digits.event(8, 5 + 0xffff, &[0, 10, 0, 160]));
        told.extend(digits.event(8, 7, &[9, 10, 0, 160]));
        assert_eq!(told, "5#509");
        assert_eq!(digits.event(8, 900, &[16, 10, 0, 160]), None, "a flash is no key");
        assert_eq!(digits.event(8, 900, &[1, 10]), None);
    }
}

//! Keys that are pressed, as telephone events tell them (RFC 4733). Tones in what is heard are not looked for here: who
//! masks them does ([`StreamReceiver::masking`](crate::StreamReceiver::masking)).

/// The keys, by their event (RFC 4733 section 3.2).
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

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
        // One that comes late is of the last but one at most: it is not told again.
        let is_new = self.last.is_none_or(|(last_ssrc, last, _)| {
            ssrc != last_ssrc || (timestamp != last && timestamp.wrapping_sub(last) < 1 << 31)
        });
        if is_new {
            self.last = Some(this);
        }
        is_new.then_some(*key)
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
        assert_eq!(told, "5#50");
        assert_eq!(digits.event(8, 900, &[16, 10, 0, 160]), None, "a flash is no key");
        assert_eq!(digits.event(8, 900, &[1, 10]), None);
    }
}

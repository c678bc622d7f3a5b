//! Whether anything is heard in a stream: one packet a second is listened to.
//!
//! Pauses of speech are shorter than the seconds that a silence must last to be told, so a sample is enough, and
//! costs a fiftieth of listening to all.

use model::{Codec, WallTime};

use super::mask::Samples;

/// Between two packets that are listened to.
const EVERY_NS: i64 = 1_000_000_000;
/// -50 dBFS: comfort noise and hum of lines are below, somebody who speaks softly is above.
const LOUD: i64 = 73;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Level {
    due: WallTime,
    sampled: u64,
    loud: u64,
}

impl Level {
    /// Listens to a packet of media, if it is time.
    #[inline]
    pub(super) fn look(&mut self, arrival: WallTime, codec: Option<&Codec>, payload: &[u8]) {
        if arrival >= self.due {
            self.listen(arrival, codec, payload);
        }
    }

    /// Packets that were listened to, and those of them in which something was heard.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.sampled, self.loud)
    }

    fn listen(&mut self, arrival: WallTime, codec: Option<&Codec>, payload: &[u8]) {
        self.due = WallTime(arrival.0.saturating_add(EVERY_NS));
        let Some(mut samples) = codec.and_then(Samples::of) else { return };
        let (mut sum, mut squares, mut count) = (0_i64, 0_i64, 0_i64);
        samples.each(payload, |sample| {
            let sample = i64::from(sample);
            sum += sample;
            squares += sample * sample;
            count += 1;
        });
        if count > 0 {
            self.sampled += 1;
            // Without what is constant: some lines have it.
            let mean = sum / count;
            self.loud += u64::from(squares / count - mean * mean > LOUD * LOUD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711::{encode_alaw, encode_ulaw};
    use crate::tone::Tone;

    fn heard(codec: &str, payload: &[u8]) -> (u64, u64) {
        let mut level = Level::default();
        level.look(WallTime(1_000_000_000), Some(&Codec::new(codec, 8_000, 1)), payload);
        level.counts()
    }

    #[test]
    fn a_soft_voice_is_heard_and_the_noise_of_a_line_is_not() {
        for (dbfs, loud) in [(-60.0, 0), (-54.0, 0), (-44.0, 1), (-20.0, 1)] {
            let mut samples = Vec::new();
            Tone::sine(8_000, 300.0, dbfs).fill(160, &mut samples);
            let ulaw: Vec<u8> = samples.iter().map(|s| encode_ulaw(*s)).collect();
            let alaw: Vec<u8> = samples.iter().map(|s| encode_alaw(*s)).collect();
            assert_eq!((heard("PCMU", &ulaw), heard("PCMA", &alaw)), ((1, loud), (1, loud)), "{dbfs} dBFS");
        }
        assert_eq!((heard("PCMU", &[0xff; 160]), heard("PCMA", &[0xd5; 160])), ((1, 0), (1, 0)));
        assert_eq!(heard("G729", &[1; 20]), (0, 0), "what cannot be listened to says nothing");
    }

    #[test]
    fn one_packet_a_second_is_listened_to() {
        let mut level = Level::default();
        let codec = Codec::new("PCMU", 8_000, 1);
        for n in 1..=500 {
            level.look(WallTime(n * 20_000_000), Some(&codec), &[0x00, 0x80, 0x00, 0x80]);
        }
        assert_eq!(level.counts(), (10, 10));
    }
}

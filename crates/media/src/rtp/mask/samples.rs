//! Payloads as samples at 8 kHz, for the ear only: nothing is kept, nothing is allocated.

use model::Codec;

use super::low_band::LowBand;
use crate::g711;

/// What the ear hears at.
const RATE: u32 = 8_000;
/// 48 kHz: the highest rate of linear samples that is looked into.
const LINEAR_MAX: u32 = 48_000;

/// How payloads of a codec become samples.
#[derive(Debug)]
pub(crate) enum Samples {
    /// µ-law.
    Ulaw,
    /// A-law.
    Alaw,
    /// The lower half of the band, in which all DTMF is.
    G722(LowBand),
    /// 16 bits, big-endian, so many for one at 8 kHz.
    Linear(usize),
}

impl Samples {
    /// None for codecs that cannot be looked into at the price of a packet.
    pub(crate) fn of(codec: &Codec) -> Option<Self> {
        if codec.channels > 1 {
            return None;
        }
        match codec.clock_rate {
            RATE if codec.is("PCMU") => Some(Self::Ulaw),
            RATE if codec.is("PCMA") => Some(Self::Alaw),
            RATE if codec.is("G722") => Some(Self::G722(LowBand::default())),
            rate @ RATE..=LINEAR_MAX if codec.is("L16") && rate.is_multiple_of(RATE) => {
                usize::try_from(rate / RATE).ok().map(Self::Linear)
            }
            _ => None,
        }
    }

    /// Gives each sample of a payload.
    #[inline]
    pub(crate) fn each(&mut self, payload: &[u8], mut take: impl FnMut(i16)) {
        match self {
            Self::Ulaw => payload.iter().for_each(|o| take(g711::decode_ulaw(*o))),
            Self::Alaw => payload.iter().for_each(|o| take(g711::decode_alaw(*o))),
            Self::G722(band) => payload.iter().for_each(|o| take(band.decode(*o))),
            Self::Linear(each) => payload.chunks(*each * 2).for_each(|c| take(mean(c))),
        }
    }
}

/// The mean of samples: enough of a low pass for tones below 1,700 Hz.
fn mean(octets: &[u8]) -> i16 {
    let samples = octets.as_chunks::<2>().0;
    let sum: i32 = samples.iter().map(|s| i32::from(i16::from_be_bytes(*s))).sum();
    let count = i32::try_from(samples.len()).unwrap_or(1).max(1);
    i16::try_from(sum / count).unwrap_or(0)
}

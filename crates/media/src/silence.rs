//! What silence looks like in a codec, where a gap has to be filled so that players show true lengths.

use model::Codec;

use crate::g711;

/// The octet that, repeated, is silence in this codec. None where silence is no single octet: such gaps are
/// left open.
///
/// The duration is of no account for sample-based codecs; it is asked for so that frame-based ones can refuse
/// what is no whole number of frames when they are added.
#[must_use]
pub fn frame(codec: &Codec, duration_us: u32) -> Option<u8> {
    if duration_us == 0 {
        return None;
    }
    match codec.name.to_ascii_uppercase().as_str() {
        "PCMU" => Some(g711::SILENCE_ULAW),
        "PCMA" => Some(g711::SILENCE_ALAW),
        "L16" => Some(0),
        _ => None,
    }
}

/// How many fill octets a duration needs, rounded down to whole samples.
#[must_use]
pub fn octets(codec: &Codec, duration_us: u64) -> Option<u64> {
    frame(codec, 1)?;
    let octets_per_sample = if codec.is("L16") { 2 } else { 1 };
    let samples = duration_us.checked_mul(u64::from(codec.clock_rate))? / 1_000_000;
    samples.checked_mul(octets_per_sample * u64::from(codec.channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_is_silence_and_as_long_as_asked() {
        let check = |name, clock, channels, expected| {
            let codec = Codec::new(name, clock, channels);
            assert_eq!((frame(&codec, 20_000), octets(&codec, 20_000)), expected, "{name}");
        };
        check("PCMU", 8_000, 1, (Some(0xff), Some(160)));
        check("pcma", 8_000, 1, (Some(0xd5), Some(160)));
        check("L16", 44_100, 2, (Some(0), Some(3_528)));
        check("opus", 48_000, 2, (None, None));
        check("G729", 8_000, 1, (None, None));
    }
}

//! G.711: µ-law and A-law, by tables that are computed at compile time.
//!
//! Samples are 16-bit linear, as ITU-T G.191 maps them: µ-law has 14 significant bits, A-law 13.

/// The octet that a silent µ-law line carries.
pub const SILENCE_ULAW: u8 = 0xff;
/// The octet that a silent A-law line carries.
pub const SILENCE_ALAW: u8 = 0xd5;

const ULAW: [i16; 256] = table(Law::U);
const ALAW: [i16; 256] = table(Law::A);

/// µ-law bias: makes the segments' ends powers of two.
const BIAS: i32 = 132;
/// The largest magnitude that µ-law can code, biased.
const ULAW_MAX: i32 = 32_635;

/// A µ-law octet as a sample.
#[must_use]
pub const fn decode_ulaw(octet: u8) -> i16 {
    ULAW[octet as usize]
}

/// An A-law octet as a sample.
#[must_use]
pub const fn decode_alaw(octet: u8) -> i16 {
    ALAW[octet as usize]
}

/// A sample as a µ-law octet.
#[must_use]
pub const fn encode_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let mut magnitude = (sample as i32).abs();
    if magnitude > ULAW_MAX {
        magnitude = ULAW_MAX;
    }
    magnitude += BIAS;
    // Bits 7 to 14 choose the segment: the bias makes bit 7 the lowest that can be the highest set.
    let segment = 24 - magnitude.leading_zeros();
    let step = (magnitude >> (segment + 3)) & 0x0f;
    !octet(sign | ((segment as i32) << 4) | step)
}

/// A sample as an A-law octet.
#[must_use]
pub const fn encode_alaw(sample: i16) -> u8 {
    let negative = sample < 0;
    // One's complement for negative samples, as G.191 has it: symmetrical, and no overflow.
    let magnitude = if negative { !(sample as i32) } else { sample as i32 } >> 4;
    let code = if magnitude < 16 {
        magnitude
    } else {
        let segment = 28 - magnitude.leading_zeros();
        ((segment as i32) << 4) | ((magnitude >> (segment - 1)) & 0x0f)
    };
    let sign = if negative { 0 } else { 0x80 };
    octet(code | sign) ^ 0x55
}

/// Appends the samples of µ-law octets.
pub fn decode_ulaw_into(octets: &[u8], out: &mut Vec<i16>) {
    out.extend(octets.iter().map(|o| decode_ulaw(*o)));
}

/// Appends the samples of A-law octets.
pub fn decode_alaw_into(octets: &[u8], out: &mut Vec<i16>) {
    out.extend(octets.iter().map(|o| decode_alaw(*o)));
}

/// Appends the µ-law octets of samples.
pub fn encode_ulaw_into(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().map(|s| encode_ulaw(*s)));
}

/// Appends the A-law octets of samples.
pub fn encode_alaw_into(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().map(|s| encode_alaw(*s)));
}

enum Law {
    U,
    A,
}

const fn table(law: Law) -> [i16; 256] {
    let mut table = [0_i16; 256];
    let mut index = 0_u8;
    loop {
        table[index as usize] = match law {
            Law::U => expand_ulaw(index),
            Law::A => expand_alaw(index),
        };
        if index == u8::MAX {
            return table;
        }
        index += 1;
    }
}

const fn expand_ulaw(octet: u8) -> i16 {
    let bits = !octet as i32;
    let (segment, step) = ((bits >> 4) & 7, bits & 0x0f);
    let magnitude = (((step << 3) + BIAS) << segment) - BIAS;
    sample(if bits & 0x80 == 0 { magnitude } else { -magnitude })
}

const fn expand_alaw(octet: u8) -> i16 {
    let bits = (octet ^ 0x55) as i32;
    let (segment, step) = ((bits >> 4) & 7, bits & 0x0f);
    let magnitude = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    sample(if bits & 0x80 == 0 { -magnitude } else { magnitude })
}

#[expect(clippy::cast_sign_loss, reason = "the low eight bits are meant")]
const fn octet(bits: i32) -> u8 {
    (bits & 0xff) as u8
}

#[expect(clippy::cast_possible_truncation, reason = "G.711 magnitudes are below 32,768")]
const fn sample(value: i32) -> i16 {
    value as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_g191() {
        // From the tables of ITU-T G.711, scaled to 16 bits.
        for (octet, expected) in [(0xff_u8, 0_i16), (0x7f, 0), (0x80, 32_124), (0x00, -32_124), (0xf0, 120)] {
            assert_eq!(decode_ulaw(octet), expected, "µ-law {octet:#04x}");
        }
        for (octet, expected) in
            [(0xd5_u8, 8_i16), (0x55, -8), (0xaa, 32_256), (0x2a, -32_256), (0x80, 5_504)]
        {
            assert_eq!(decode_alaw(octet), expected, "A-law {octet:#04x}");
        }
        assert_eq!((encode_ulaw(0), encode_alaw(0)), (SILENCE_ULAW, SILENCE_ALAW));
    }

    #[test]
    fn every_octet_survives_a_round_trip() {
        for octet in 0..=u8::MAX {
            // µ-law has two zeros; the negative one comes back as the positive.
            let expected = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(encode_ulaw(decode_ulaw(octet)), expected, "µ-law {octet:#04x}");
            assert_eq!(encode_alaw(decode_alaw(octet)), octet, "A-law {octet:#04x}");
        }
    }

    #[test]
    fn every_sample_comes_back_within_its_step() {
        for value in i16::MIN..=i16::MAX {
            let magnitude = i32::from(value).abs();
            // Half a step: 1/32 of the magnitude, and never less than the smallest step; clipping on top.
            let allowed = magnitude / 32 + 16 + (magnitude - 32_124).max(0);
            for (name, back) in
                [("µ-law", decode_ulaw(encode_ulaw(value))), ("A-law", decode_alaw(encode_alaw(value)))]
            {
                let error = (i32::from(value) - i32::from(back)).abs();
                assert!(error <= allowed, "{name} {value} came back as {back}");
            }
        }
    }
}

//! Codecs that another program decodes: what it is to be given, and how long what it gives back must be.
//!
//! Programs read files, not packets. So payloads become the octets of a file of the codec's own kind (raw frames,
//! or the storage format of RFC 4867), and since every frame of these codecs lasts equally long, the samples that
//! come back are those of frame 0, 1, 2 …

use model::Codec;

use super::amr::{self, Band, Packing};

/// 60 packets a second for 90 s, each of 1,500 octets: more than any of these codecs fills.
const FILE_OCTETS_MAX: usize = 8 << 20;

/// A codec that is decoded by another program.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Foreign {
    /// G.729, with or without annex A: 10 octets are 10 ms. Comfort noise of annex B is silence.
    G729,
    /// G.723.1 at 6.3 or 5.3 kbit/s: a frame is 30 ms.
    G723,
    /// G.726 at 32 kbit/s as RFC 3551 packs it: 2 samples an octet, the first in the low bits.
    G726Low,
    /// The same, packed as ITU-T I.366.2 says (AAL2): the first in the high bits.
    G726High,
    /// GSM full rate: 33 octets are 20 ms.
    Gsm,
    /// iLBC in frames of 20 ms (38 octets).
    Ilbc20,
    /// iLBC in frames of 30 ms (50 octets).
    Ilbc30,
    /// AMR, packed in octets.
    AmrOctets,
    /// AMR, packed in bits.
    AmrBits,
    /// AMR-WB, packed in octets.
    AmrWbOctets,
    /// AMR-WB, packed in bits.
    AmrWbBits,
    /// EVS (3GPP TS 26.445). There is no free program that decodes it.
    Evs,
}

/// Payloads as the octets of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repacked {
    /// The file.
    pub octets: Vec<u8>,
    /// For each payload, in samples, how long it lasts.
    pub samples: Vec<usize>,
}

impl Foreign {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::G729,
        Self::G723,
        Self::G726Low,
        Self::G726High,
        Self::Gsm,
        Self::Ilbc20,
        Self::Ilbc30,
        Self::AmrOctets,
        Self::AmrBits,
        Self::AmrWbOctets,
        Self::AmrWbBits,
        Self::Evs,
    ];

    /// How a codec of SDP is decoded by another program, if it is known at all.
    #[must_use]
    pub fn of(codec: &Codec) -> Option<Self> {
        if codec.channels != 1 {
            return None;
        }
        let says = |text: &str| codec.fmtp.as_deref().is_some_and(|f| parameters(f).any(|p| p == text));
        Some(match codec.name.to_ascii_uppercase().as_str() {
            "G729" | "G729A" => Self::G729,
            "G723" => Self::G723,
            "G726-32" => Self::G726Low,
            "AAL2-G726-32" => Self::G726High,
            "GSM" => Self::Gsm,
            "ILBC" if says("mode=20") => Self::Ilbc20,
            "ILBC" => Self::Ilbc30,
            "AMR" if says("octet-align=1") => Self::AmrOctets,
            "AMR" => Self::AmrBits,
            "AMR-WB" if says("octet-align=1") => Self::AmrWbOctets,
            "AMR-WB" => Self::AmrWbBits,
            "EVS" => Self::Evs,
            _ => return None,
        })
    }

    /// Its name, as people say it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::G729 => "G.729",
            Self::G723 => "G.723.1",
            Self::G726Low | Self::G726High => "G.726",
            Self::Gsm => "GSM",
            Self::Ilbc20 | Self::Ilbc30 => "iLBC",
            Self::AmrOctets | Self::AmrBits => "AMR",
            Self::AmrWbOctets | Self::AmrWbBits => "AMR-WB",
            Self::Evs => "EVS",
        }
    }

    /// What ffmpeg calls the decoder; none where it has none.
    #[must_use]
    pub const fn decoder(self) -> Option<&'static str> {
        Some(match self {
            Self::G729 => "g729",
            Self::G723 => "g723_1",
            Self::G726Low => "g726le",
            Self::G726High => "g726",
            Self::Gsm => "gsm",
            Self::Ilbc20 | Self::Ilbc30 => "ilbc",
            Self::AmrOctets | Self::AmrBits => "amrnb",
            Self::AmrWbOctets | Self::AmrWbBits => "amrwb",
            Self::Evs => return None,
        })
    }

    /// What ffmpeg is told of the file: its format, and what the format does not say itself.
    #[must_use]
    pub const fn input(self) -> &'static [&'static str] {
        match self {
            Self::G729 => &["-f", "g729"],
            Self::G723 => &["-f", "g723_1"],
            Self::G726Low => &["-f", "g726le", "-code_size", "4", "-sample_rate", "8000"],
            Self::G726High => &["-f", "g726", "-code_size", "4", "-sample_rate", "8000"],
            Self::Gsm => &["-f", "gsm"],
            Self::Ilbc20 | Self::Ilbc30 => &["-f", "ilbc"],
            Self::AmrOctets | Self::AmrBits | Self::AmrWbOctets | Self::AmrWbBits => &["-f", "amr"],
            Self::Evs => &[],
        }
    }

    /// How long ffmpeg waits at most for more of a file before it decodes what it has, in microseconds. It reads
    /// G.726 by 1,020 octets, which are 255 ms; it knows the end of a frame of AMR by the beginning of the next.
    #[must_use]
    pub const fn read_ahead_us(self) -> i64 {
        match self {
            Self::G726Low | Self::G726High => 255_000,
            Self::AmrOctets | Self::AmrBits | Self::AmrWbOctets | Self::AmrWbBits => 20_000,
            _ => 0,
        }
    }

    /// Samples a second after decoding.
    #[must_use]
    pub const fn rate(self) -> u32 {
        match self {
            Self::AmrWbOctets | Self::AmrWbBits | Self::Evs => 16_000,
            _ => 8_000,
        }
    }

    /// Makes a file of payloads that follow one another. What cannot be read in one of them lasts no time; nor
    /// does what is beyond 8 MiB.
    #[must_use]
    pub fn repack<'a>(self, payloads: impl Iterator<Item = &'a [u8]>) -> Repacked {
        let mut octets = self.head().to_vec();
        let samples = payloads
            .map(|payload| {
                if octets.len() + payload.len() > FILE_OCTETS_MAX {
                    0
                } else {
                    self.append(payload, &mut octets)
                }
            })
            .collect();
        Repacked { octets, samples }
    }

    /// What a file of it begins with.
    #[must_use]
    pub const fn head(self) -> &'static [u8] {
        match self {
            Self::Ilbc20 => b"#!iLBC20\n",
            Self::Ilbc30 => b"#!iLBC30\n",
            Self::AmrOctets | Self::AmrBits => b"#!AMR\n",
            Self::AmrWbOctets | Self::AmrWbBits => b"#!AMR-WB\n",
            _ => b"",
        }
    }

    /// Appends a payload to a file that has its head: how many samples it lasts. What cannot be read in it lasts no
    /// time, and is left out.
    pub fn append(self, payload: &[u8], out: &mut Vec<u8>) -> usize {
        match self {
            Self::G729 => whole_frames(payload, 10, 80, out),
            Self::G723 => g723_frames(payload, out),
            Self::G726Low | Self::G726High => {
                out.extend_from_slice(payload);
                payload.len() * 2
            }
            Self::Gsm => whole_frames(payload, 33, 160, out),
            Self::Ilbc20 => whole_frames(payload, 38, 160, out),
            Self::Ilbc30 => whole_frames(payload, 50, 240, out),
            Self::AmrOctets => 160 * amr::unpack(payload, Band::Narrow, Packing::Octets, out),
            Self::AmrBits => 160 * amr::unpack(payload, Band::Narrow, Packing::Bits, out),
            Self::AmrWbOctets => 320 * amr::unpack(payload, Band::Wide, Packing::Octets, out),
            Self::AmrWbBits => 320 * amr::unpack(payload, Band::Wide, Packing::Bits, out),
            Self::Evs => 0,
        }
    }
}

/// `a=fmtp` as its parameters, without spaces.
fn parameters(fmtp: &str) -> impl Iterator<Item = &str> {
    fmtp.split(';').map(str::trim)
}

/// A rest that is no whole frame is comfort noise (G.729 annex B) or damage: silence either way.
fn whole_frames(payload: &[u8], octets: usize, samples: usize, out: &mut Vec<u8>) -> usize {
    let frames = payload.len() / octets;
    out.extend_from_slice(payload.get(..frames * octets).unwrap_or_default());
    frames * samples
}

/// The two low bits of a frame say how long it is (RFC 3551 section 4.5.3).
fn g723_frames(mut payload: &[u8], out: &mut Vec<u8>) -> usize {
    let mut samples = 0;
    while let Some(first) = payload.first() {
        let octets = match first & 3 {
            0 => 24,
            1 => 20,
            // Comfort noise.
            2 => 4,
            _ => break,
        };
        let Some((frame, rest)) = payload.split_at_checked(octets) else { break };
        out.extend_from_slice(frame);
        samples += 240;
        payload = rest;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sdp_names_are_known() {
        for (name, fmtp, expected) in [
            ("G729", None, Some(Foreign::G729)),
            ("amr", Some("mode-set=7; octet-align=1"), Some(Foreign::AmrOctets)),
            ("AMR", Some("octet-align=0"), Some(Foreign::AmrBits)),
            ("iLBC", Some("mode=20"), Some(Foreign::Ilbc20)),
            ("iLBC", None, Some(Foreign::Ilbc30)),
            ("EVS", None, Some(Foreign::Evs)),
            ("PCMU", None, None),
            ("telephone-event", None, None),
        ] {
            let codec = Codec { fmtp: fmtp.map(str::to_owned), ..Codec::new(name, 8_000, 1) };
            assert_eq!(Foreign::of(&codec), expected, "{name} {fmtp:?}");
        }
    }

    #[test]
    fn payloads_become_a_file_and_say_how_long_they_last() {
        let repack = |codec: Foreign, payloads: &[&[u8]]| {
            let repacked = codec.repack(payloads.iter().copied());
            (repacked.octets.len(), repacked.samples)
        };
        // The second one ends with comfort noise.
        assert_eq!(repack(Foreign::G729, &[&[1; 20], &[1; 12], &[1; 2]]), (30, vec![160, 80, 0]));
        assert_eq!(repack(Foreign::Gsm, &[&[1; 66]]), (66, vec![320]));
        assert_eq!(repack(Foreign::G726Low, &[&[1; 80]]), (80, vec![160]));
        assert_eq!(repack(Foreign::Ilbc30, &[&[1; 50]]), (59, vec![240]));
        assert_eq!(
            repack(Foreign::G723, &[&[0; 24], &[1; 20], &[2; 4], &[3; 9]]),
            (48, vec![240, 240, 240, 0])
        );
        let amr = [&[0xF0, 7 << 3 | 4][..], &[9; 31]].concat();
        assert_eq!(repack(Foreign::AmrOctets, &[&amr, &[]]), (6 + 32, vec![160, 0]));
        assert_eq!(repack(Foreign::Evs, &[&[1; 20]]), (0, vec![0]));
    }
}

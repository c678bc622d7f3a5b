//! Packets of video that were kept, as pictures: what a container holds and a player decodes.
//!
//! ```text
//!  packets ─► Order ─► units: VP8 (RFC 7741)  ─► pictures ─► Gate ─► pictures that can be decoded,
//!             by number       VP9 (RFC 9628)     whole ones  from a   and stretches of which there are none
//!                             H.264 (RFC 6184)               key frame
//!                             H.265 (RFC 7798)               on
//! ```
//!
//! - [`Depacketizer`]: one source's packets in, in whatever order they were kept; whole pictures out.
//! - [`Gate`]: a picture leans on those before it, so what follows a loss waits for the next key frame.
//!
//! Nothing is decoded: a picture is the octets of an encoder, put together. Pictures of H.264 and H.265 are units with
//! a length of four octets before each, as Matroska and MP4 hold them, and every key frame has its parameter sets.
//! It knows no time but what is said with each packet. What strangers send is refused or left out; nothing here can
//! panic or grow beyond what is stated.

mod bits;
mod depacketizer;
mod gate;
mod h264;
mod h265;
mod nal;
mod order;
mod sets;
mod vp8;
mod vp9;

use model::Codec;

pub use depacketizer::Depacketizer;
pub use gate::{Gate, Missing, MissingKind};

/// 4 MiB: a key frame of 4K at the highest quality has some 2 MiB.
pub const PICTURE_MAX: usize = 4 << 20;

/// What pictures are encoded with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum VideoCodec {
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// H.264 (AVC), in packets that are in order: packetization modes 0 and 1.
    H264,
    /// H.265 (HEVC), in packets that are in order.
    H265,
}

impl VideoCodec {
    /// The codec that SDP names, if its packets can be put together here.
    ///
    /// Of H.264 and H.265 units may be interleaved (packetization mode 2, `sprop-max-don-diff`), to be sorted by numbers
    /// of their own; nobody sends that in calls, and it is refused here.
    #[must_use]
    pub fn of(codec: &Codec) -> Option<Self> {
        match () {
            () if codec.is("VP8") => Some(Self::Vp8),
            () if codec.is("VP9") => Some(Self::Vp9),
            () if codec.is("H264") => {
                (parameter(codec, "packetization-mode") != Some("2")).then_some(Self::H264)
            }
            () if codec.is("H265") => {
                let apart = parameter(codec, "sprop-max-don-diff").is_some_and(|n| n != "0");
                (!apart).then_some(Self::H265)
            }
            () => None,
        }
    }

    /// Its name, as SDP has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::H265 => "H265",
        }
    }
}

/// A parameter of `a=fmtp`.
fn parameter<'a>(codec: &'a Codec, name: &str) -> Option<&'a str> {
    let all = codec.fmtp.as_deref()?.split(';');
    let mut named = all.filter_map(|one| one.trim().split_once('='));
    named.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// A picture, or what was left of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// What was said with its first packet.
    pub at: i64,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// It leans on nothing before it.
    pub key: bool,
    /// Something that it may lean on is missing.
    pub damaged: bool,
    /// Pictures are missing between the one before and this one, or before the first.
    pub after_loss: bool,
    /// What the encoder made.
    pub data: Vec<u8>,
}

/// What a decoder must know before the first picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setup {
    /// The codec.
    pub codec: VideoCodec,
    /// Columns.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// H.264: an AVCDecoderConfigurationRecord; H.265: an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15); else nothing.
    pub private: Vec<u8>,
}

#[cfg(test)]
mod tests;

//! What is wanted of a recording: who is heard where, at which rate.

use model::{SegmentRecord, StreamId};

use super::lane::Coding;
use super::source::coding_of;

/// Who is heard where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Agent left, external right.
    Stereo,
    /// All in one channel.
    Mono,
    /// One stream alone, in one channel.
    One(StreamId),
}

impl Layout {
    /// Channels of the output.
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Stereo => 2,
            Self::Mono | Self::One(_) => 1,
        }
    }
}

/// Samples a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rate {
    /// 8,000: as G.711 came.
    Narrow,
    /// 16,000: as G.722 and AMR-WB came.
    Wide,
    /// 48,000: as Opus came.
    Full,
}

impl Rate {
    /// Samples a second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Narrow => 8_000,
            Self::Wide => 16_000,
            Self::Full => 48_000,
        }
    }

    /// The highest rate of what was received: nothing is lost then.
    #[must_use]
    pub fn of<'a>(segments: impl IntoIterator<Item = &'a SegmentRecord>) -> Self {
        let uses = segments.into_iter().flat_map(|s| &s.streams).flat_map(|s| &s.codecs);
        let codings = uses.filter_map(|u| coding_of(u.codec.as_ref()?));
        let hz = codings.map(|coding| match coding {
            Coding::Here(codec) => codec.rate(),
            Coding::There(codec) => codec.rate(),
        });
        match hz.max() {
            Some(16_001..) => Self::Full,
            Some(8_001..) => Self::Wide,
            _ => Self::Narrow,
        }
    }
}

/// How to assemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Samples a second.
    pub rate: Rate,
    /// Who is heard where.
    pub layout: Layout,
}

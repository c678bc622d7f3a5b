//! Payloads to samples, stream by stream, for somebody who listens now.
//!
//! A stream that changes its codec, or goes on in another segment, gets a decoder that has heard nothing.

use std::collections::BTreeMap;

use media::listen::{Decoder, InProcess};
use model::{SegmentId, StreamId};

use crate::recorder::{Coding, Overheard};

/// As many streams as a segment may have.
const STREAMS_MAX: usize = 32;

/// The decoders of one listener.
#[derive(Default)]
pub(super) struct Decoding {
    streams: BTreeMap<StreamId, Stream>,
    samples: Vec<i16>,
}

struct Stream {
    segment: SegmentId,
    codec: InProcess,
    decoder: Decoder,
}

impl Decoding {
    /// The samples of a frame and how many are a second; none where it cannot be decoded.
    pub(super) fn decode(&mut self, frame: &Overheard) -> Option<(u32, &[i16])> {
        let Coding::Here(codec) = frame.coding else { return None };
        let known = self.streams.get(&frame.stream);
        if known.is_none_or(|s| s.segment != frame.segment || s.codec != codec) {
            if self.streams.len() >= STREAMS_MAX && known.is_none() {
                self.streams.pop_first();
            }
            let decoder = Decoder::new(codec).ok()?;
            self.streams.insert(frame.stream, Stream { segment: frame.segment, codec, decoder });
        }
        let stream = self.streams.get_mut(&frame.stream)?;
        self.samples.clear();
        // What its codec does not know is silence.
        stream.decoder.decode(&frame.payload, &mut self.samples).ok()?;
        Some((codec.rate(), &self.samples))
    }
}

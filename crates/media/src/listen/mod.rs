//! What a listener needs: payloads to samples, samples to another rate, samples to Opus.
//!
//! - [`Decoder`]: G.711, G.722, Opus and linear PCM, decoded here.
//! - [`Foreign`]: codecs that another program decodes: what that program must be given, and how long it lasts.
//! - [`Elsewhere`]: frames that another program is decoding now, and the samples that come back of them.
//! - [`Resampler`]: samples at any place between samples, without state, so that every reader of the same place
//!   gets the same sample.
//! - [`LiveMix`]: what is said in a call that goes on, put together as it arrives.
//! - [`OpusEncoder`]: packets of one length.
//!
//! It starts no program: whoever plays a call does ([`Foreign`] only says what to ask it).

mod amr;
mod decoder;
mod elsewhere;
mod foreign;
mod level;
mod live;
mod opus_encoder;
mod resample;

pub use decoder::{DecodeError, Decoder, InProcess};
pub use elsewhere::{Elsewhere, TooMany};
pub use foreign::{Foreign, Repacked};
pub use level::level_into;
pub use live::{LiveLayout, LiveMix, Piece};
pub use opus_encoder::{Lean, OpusEncoder, OpusEncoderError};
pub use resample::Resampler;

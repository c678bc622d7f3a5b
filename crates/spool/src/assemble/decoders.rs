//! The seam to programs that decode what is not decoded here.

use media::listen::Foreign;

/// Decodes what is not decoded here, by another program.
pub trait Decoders: Sync {
    /// Whether it can, without trying.
    fn can(&self, codec: Foreign) -> Result<(), DecodersError>;
    /// Decodes a file of the codec's own kind ([`Foreign::repack`]) to mono samples at [`Foreign::rate`]. It may
    /// block, and it ends within some time.
    fn decode(&self, codec: Foreign, file: &[u8]) -> Result<Vec<i16>, DecodersError>;
}

/// Why nothing was decoded: what, why and what to do, for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodersError {
    /// There is no program for it, or it lacks the decoder.
    #[error("{0}")]
    Missing(String),
    /// It was tried, and failed.
    #[error("{0}")]
    Failed(String),
}

/// No program at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NoDecoders;

impl Decoders for NoDecoders {
    fn can(&self, codec: Foreign) -> Result<(), DecodersError> {
        Err(DecodersError::Missing(format!("{} is not decoded here", codec.name())))
    }

    fn decode(&self, codec: Foreign, _file: &[u8]) -> Result<Vec<i16>, DecodersError> {
        self.can(codec).map(|()| Vec::new())
    }
}

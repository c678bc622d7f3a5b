//! Listening to a call that goes on.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::Stream;
use model::{CallId, TenantId};

use super::AudioLayout;

/// Who wants to hear what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenRequest {
    /// Whose call.
    pub tenant: TenantId,
    /// Which.
    pub call: CallId,
    /// Who is heard where.
    pub layout: AudioLayout,
    /// Samples a second: 8,000, 16,000 or 48,000.
    pub rate: u32,
    /// As what.
    pub format: LiveFormat,
    /// Who listens, for the log.
    pub by: String,
}

/// As what a call in progress is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiveFormat {
    /// PCM of 16 bits, little-endian, channels interleaved, and nothing before it.
    Pcm,
    /// Opus in Ogg, with all that belongs to such a file: each page holds 20 ms.
    Opus,
}

/// Sound as it is said, at the pace of the clock, until the call is over. Who takes nothing for a while misses what was said, and hears the present then.
pub type LiveSound = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A call in progress, as somebody hears it.
pub struct LiveHearing {
    /// What is said.
    pub sound: LiveSound,
    /// Which of the codecs that are spoken now are silent, and why, in words for people.
    pub not_heard: Vec<String>,
}

/// The sound, when somebody may listen.
pub type ListenAnswer = Pin<Box<dyn Future<Output = Result<LiveHearing, ListenError>> + Send>>;

/// Why somebody cannot listen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ListenError {
    /// Whoever holds live calls knows none of this name for the tenant.
    #[error("no such call is live")]
    NoSuchCall,
    /// The call is known and over.
    #[error("the call is over")]
    NotLive,
    /// As many listen as may: how many.
    #[error("no more can listen: {0}")]
    TooMany(String),
    /// The node that holds the call does not answer: why.
    #[error("whoever holds the call cannot be reached: {0}")]
    Unreachable(String),
}

//! Orders to calls that are being recorded.
//!
//! The binary carries them to whoever holds the call, who acts and answers; the catalog learns of it afterwards.
//! Nothing here goes through a database.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use model::{CallId, Secret, StreamId, Suite, TenantId, WallTime};

use super::listen::{ListenAnswer, ListenRequest};

/// Gives orders to live calls.
pub trait LiveCalls: Send + Sync {
    /// Orders something of a call, on behalf of `by`, who stands in the call's log. Giving an order twice is as
    /// giving it once. What comes out ends within some seconds: [`LiveError::TimedOut`] otherwise.
    fn order(&self, tenant: TenantId, call: CallId, order: LiveOrder, by: String) -> LiveAnswer;
    /// Gives the keys of a stream whose keys come by nothing else. The answer is as of an order: it comes when what waited
    /// for them is opened.
    fn give_keys(&self, given: KeysRequest) -> LiveAnswer;
    /// Lets somebody hear what is said from now on, without touching what is recorded.
    fn listen(&self, wanted: ListenRequest) -> ListenAnswer;
}

/// How the call stands after an order, when it is known.
pub type LiveAnswer = Pin<Box<dyn Future<Output = Result<LiveState, LiveError>> + Send>>;

/// What people order of a live call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiveOrder {
    /// Record it from now on.
    Start,
    /// Record no more of it. The call goes on.
    Stop,
    /// Keep nothing of what is said until told otherwise.
    Pause {
        /// After this long recording goes on by itself, with an alarm. None: as the server is configured.
        timeout: Option<Duration>,
    },
    /// Record again after a pause.
    Resume,
}

/// Keys of a stream, as somebody gives them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeysRequest {
    /// Whose call.
    pub tenant: TenantId,
    /// Which.
    pub call: CallId,
    /// Which of its streams.
    pub stream: StreamId,
    /// The cipher.
    pub suite: Suite,
    /// Key and salt, written as in `a=crypto` (RFC 4568 section 9.1): `inline:…`, and others behind `;`.
    pub key: Secret,
    /// How often the sequence number has rolled over, where that is known.
    pub rollovers: Option<u32>,
    /// RTP is authenticated only.
    pub plain_rtp: bool,
    /// RTCP is authenticated only.
    pub plain_rtcp: bool,
    /// Who gives them, for the log.
    pub by: String,
}

/// How a call stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveState {
    /// The call, which the one that was named may have turned out to be.
    pub call: CallId,
    /// What is kept of it.
    pub recording: LiveRecording,
    /// Whether the order changed anything.
    pub changed: Changed,
}

/// What is kept of a call at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiveRecording {
    /// All that arrives.
    On,
    /// Nothing, until it is resumed.
    Paused {
        /// Since when.
        since: WallTime,
        /// When it is resumed by itself, if at all.
        until: Option<WallTime>,
    },
    /// Nothing, until it is started.
    Off,
}

/// What an order did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changed {
    /// The call is not as it was.
    Yes,
    /// It was so already.
    No,
}

/// Why an order was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LiveError {
    /// Whoever holds live calls knows none of this name for the tenant.
    #[error("no such call is live")]
    NoSuchCall,
    /// The call is known and over.
    #[error("the call is over")]
    NotLive,
    /// The call has no such stream now.
    #[error("the call has no such stream now")]
    NoSuchStream,
    /// The key is not written as it should be, or does not fit the cipher: what it should be.
    #[error("{0}")]
    BadKey(String),
    /// The call is live and cannot do this now: why.
    #[error("this cannot be done with the call: {0}")]
    NotAllowed(String),
    /// The node that holds the call does not take orders: why.
    #[error("whoever holds the call cannot be reached: {0}")]
    Unreachable(String),
    /// It took the order and did not answer in time. Whether it acts is not known.
    #[error("whoever holds the call did not answer in time")]
    TimedOut,
}

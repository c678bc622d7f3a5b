//! What people and programs order of a live call, and what comes of it.

use std::time::Duration;

use model::{CallId, Keys, StreamId, TenantId, WallTime};

/// An order of a person or a program to a live call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// The call.
    pub call: CallId,
    /// The tenant on whose behalf: a call of another tenant is none.
    pub tenant: TenantId,
    /// What is asked.
    pub ask: Ask,
    /// Who asks: the name of a user or a key. It stands in the manifest and in the call's log.
    pub by: String,
}

/// What is asked of a call. Asking for what is so already changes nothing and is no error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Record: begin a segment, after a stop.
    Start,
    /// Record no more: end the segment. The dialog goes on, and only [`Ask::Start`] begins another segment.
    Stop,
    /// Keep nothing of what arrives until [`Ask::Resume`].
    Pause {
        /// Recording goes on by itself after this time, with an alarm; zero: never. None: as configured.
        timeout: Option<Duration>,
    },
    /// Keep again what arrives.
    Resume,
}

/// A person or a program says that two calls are one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinCommand {
    /// The calls, in any order.
    pub calls: [CallId; 2],
    /// The tenant on whose behalf: a call of another tenant is none.
    pub tenant: TenantId,
    /// Who says so: it stands in both calls' logs.
    pub by: String,
}

/// Two calls are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The call that survives.
    pub call: CallId,
    /// Whether they were two before.
    pub changed: Changed,
}

/// Keys of a stream of a live call, which somebody gives beside signalling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenKeys {
    /// The call.
    pub call: CallId,
    /// The tenant on whose behalf: a call of another tenant is none.
    pub tenant: TenantId,
    /// The stream.
    pub stream: StreamId,
    /// By what its sender protects its packets.
    pub keys: Keys,
}

/// What is kept of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recording {
    /// What arrives; on hold, what will arrive.
    On,
    /// Nothing, until it is resumed.
    Paused {
        /// Since when.
        since: WallTime,
        /// When it is resumed by itself.
        until: Option<WallTime>,
    },
    /// Nothing, until it is started.
    Off,
}

/// Whether an order changed anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Changed {
    /// It did.
    Yes,
    /// It was so already.
    No,
}

/// An order was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The call, which the one that was named may have turned out to be.
    pub call: CallId,
    /// How the call stands now.
    pub recording: Recording,
    /// Whether it stood otherwise before.
    pub changed: Changed,
    /// The orders to record servers that must be [carried out](model::Report::CarriedOut) before all of this is
    /// true, one for each segment; none when it is true already.
    pub awaits: Vec<u64>,
}

/// Why an order was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The tenant has no call of this id here.
    #[error("no such call is live")]
    NoSuchCall,
    /// The call ended a moment ago.
    #[error("the call is over")]
    NotLive,
    /// The call has no such stream now.
    #[error("the call has no such stream now")]
    NoSuchStream,
    /// The call cannot do this now.
    #[error("{0}")]
    NotAllowed(&'static str),
}

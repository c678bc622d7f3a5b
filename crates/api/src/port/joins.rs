//! Two calls that are one because somebody says so.

use std::future::Future;
use std::pin::Pin;

use model::{CallId, TenantId};

use super::Changed;

/// Joins calls.
pub trait Joins: Send + Sync {
    /// Joins two calls on behalf of `by`, who stands in the logs of both. Doing it twice is as doing it once. What
    /// comes out ends within some seconds.
    fn join(&self, tenant: TenantId, calls: [CallId; 2], by: String) -> JoinAnswer;
}

/// What the two are, when it is known.
pub type JoinAnswer = Pin<Box<dyn Future<Output = Result<JoinedCalls, JoinError>> + Send>>;

/// Two calls are one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinedCalls {
    /// The one that survives.
    pub call: CallId,
    /// Whether they were two before.
    pub changed: Changed,
}

/// Why two calls were not joined.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinError {
    /// The tenant has no such call, or nothing of it is on disk: which.
    #[error("there is no call {0}")]
    NoCall(CallId),
    /// It was to be joined with itself.
    #[error("a call is not joined with itself")]
    Same,
    /// They cannot be joined now, or not at all: why.
    #[error("the calls cannot be joined: {0}")]
    NotAllowed(String),
    /// The disk that holds one of them cannot be reached: why.
    #[error("the recording cannot be reached: {0}")]
    Away(String),
    /// A log cannot be read or written: why.
    #[error("the recording cannot be read or written: {0}")]
    Failed(String),
    /// Whoever holds live calls does not take orders: why.
    #[error("whoever holds the calls cannot be reached: {0}")]
    Unreachable(String),
    /// It was taken up and not answered in time. Whether it is done is not known.
    #[error("it was not done in time")]
    TimedOut,
}

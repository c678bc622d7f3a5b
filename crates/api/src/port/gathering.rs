//! Segments that come together: how that stands for a call, and having it done now.

use std::future::Future;
use std::pin::Pin;

use model::{CallId, TenantId, WallTime};

/// Gathers the segments of calls on this node.
pub trait Gathering: Send + Sync {
    /// Has a call gathered now, whatever the hour. Doing it twice is as doing it once; it is answered by how it stands, when
    /// that has begun.
    fn gather(&self, tenant: TenantId, call: CallId) -> GatherAnswer;

    /// How a call stands; none when there is nothing left to be gathered of it here, or nobody gathers.
    fn standing(&self, tenant: TenantId, call: CallId) -> StandingAnswer;
}

/// How it stands, when that is known.
pub type GatherAnswer = Pin<Box<dyn Future<Output = Result<CallGathering, GatherError>> + Send>>;

/// The same, where it may be that nothing is to be said.
pub type StandingAnswer = Pin<Box<dyn Future<Output = Option<CallGathering>> + Send>>;

/// How the gathering of a call stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallGathering {
    /// A word: `virtual`, `waiting`, `window`, `elsewhere`, `gathering`, `gathered`, `done`.
    pub stage: String,
    /// The same in a sentence.
    pub text: String,
    /// The node that gathers it, where it is another one.
    pub by: Option<u16>,
    /// What is missing and where, each since when.
    pub missing: Vec<(String, WallTime)>,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub trouble: Option<String>,
}

/// Why a call is not gathered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GatherError {
    /// Nothing of it is here, or it is another tenant's.
    #[error("there is no such call here")]
    NoSuchCall,
    /// Nobody gathers on this node: why.
    #[error("{0}")]
    NotHere(String),
    /// There is no answer in time, or too many ask.
    #[error("whoever gathers cannot be reached: {0}")]
    Unreachable(String),
}

//! What people note of calls: tags and key-values, kept in the calls' logs.

use std::collections::BTreeMap;

use model::{CallId, Note, NoteKey, NoteValue, Sides, Tag, TenantId, WallTime};

use super::{CallSides, Changed};

/// Reads and makes notes. All functions may block on a disk; they are called on threads that may.
pub trait Notes: Send + Sync {
    /// What is noted of a call.
    fn read(&self, tenant: &TenantId, call: CallId) -> Result<CallNotes, NoteError>;

    /// Makes a note on behalf of `by`. When it returns the note is on disk. What is noted already is not noted
    /// again.
    fn note(
        &self,
        tenant: &TenantId,
        call: CallId,
        note: Note,
        by: &str,
    ) -> Result<(CallNotes, Changed), NoteError>;

    /// Who of a call is the agent and who is external.
    fn sides(&self, tenant: &TenantId, call: CallId) -> Result<CallSides, NoteError>;

    /// Corrects that on behalf of `by`, in place of what was said before. When it returns that is on disk.
    fn correct(
        &self,
        tenant: &TenantId,
        call: CallId,
        sides: Sides,
        by: &str,
    ) -> Result<(CallSides, Changed), NoteError>;
}

/// What is noted of a call now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallNotes {
    /// Its tags.
    pub tags: BTreeMap<Tag, NotedBy>,
    /// What its keys stand for.
    pub values: BTreeMap<NoteKey, (NoteValue, NotedBy)>,
}

/// When something was noted, and by whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotedBy {
    /// When.
    pub at: WallTime,
    /// Who.
    pub by: String,
}

/// Why there are no notes, or a note was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoteError {
    /// The tenant has no such call, or nothing of it is on disk.
    #[error("there is no such call")]
    NoCall,
    /// There are as many as a call may have: which limit.
    #[error("no more can be noted: {0}")]
    TooMany(String),
    /// The call has no such stream: where in the body it is named, as a JSON pointer, and what to say of it.
    #[error("{why}")]
    NoStream {
        /// Where.
        at: String,
        /// What to say.
        why: String,
    },
    /// The call's log is where it cannot be reached now: why.
    #[error("the call's log cannot be reached: {0}")]
    Away(String),
    /// It cannot be read or written: why.
    #[error("the call's log cannot be read or written: {0}")]
    Failed(String),
}

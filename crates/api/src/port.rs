//! What the interface needs from the others: somebody who knows how to make sound of a call, and somebody who
//! takes orders to live ones ([`LiveCalls`]), keeps notes of them ([`Notes`]), and knows how the node stands ([`Node`]).
//!
//! The binary implements [`Audio`] over `spool`. Both of its functions may block on a disk; they are called on
//! threads that may.

mod live;
mod node;
mod notes;

use model::{CallId, TenantId};

pub use live::{Changed, LiveAnswer, LiveCalls, LiveError, LiveOrder, LiveRecording, LiveState};
pub use node::{Lack, Node, Standing};
pub use notes::{CallNotes, NoteError, NotedBy, Notes};

/// Gives the audio of calls.
pub trait Audio: Send + Sync {
    /// Opens what was said in a call as one WAV file, as far as it is there now. A call of another tenant is
    /// [`AudioError::NoCall`].
    fn open(&self, tenant: &TenantId, call: CallId) -> Result<Box<dyn AudioStream>, AudioError>;
}

/// A WAV file that is made while it is read.
pub trait AudioStream: Send {
    /// Its length in octets, header included. Does not change while it is open.
    fn len_bytes(&self) -> u64;
    /// Octets from an offset on: `len` of them, fewer only at the end, at least one before it.
    fn read_range(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, AudioError>;
}

/// Why there is no audio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// The tenant has no such call.
    #[error("there is no such call")]
    NoCall,
    /// Nothing of it was recorded, or nothing that can be decoded.
    #[error("there is nothing to play: {0}")]
    Nothing(String),
    /// Its segments are where they cannot be reached now.
    #[error("the recording cannot be reached: {0}")]
    Away(String),
    /// The files cannot be read.
    #[error("the recording cannot be read: {0}")]
    Failed(String),
}

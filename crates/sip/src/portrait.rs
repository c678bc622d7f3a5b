//! A dialog as another agent needs it to carry it on: plain data that can be written down and read again.
//!
//! It holds what a dialog is made of (RFC 3261 section 12) and what is agreed in it, and nothing that is under way:
//! transactions stay with the agent that has them. It may hold keys of media, in our last description, and names of
//! people: it is never printed.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::flow::Transport;

/// An established INVITE session. Members that are not known are passed over when it is read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portrait {
    pub(crate) dialog: DialogPortrait,
    /// The peer takes UPDATE.
    pub(crate) update: bool,
    /// Our last description.
    pub(crate) sdp: String,
    pub(crate) contact_params: String,
    /// The session interval in seconds, and whether its refresh is ours.
    #[serde(default)]
    pub(crate) refresh: Option<(u64, bool)>,
    /// By what it was let in, and who proved to be a user.
    #[serde(default)]
    pub(crate) pass: Option<(String, Option<String>)>,
    pub(crate) is_caller: bool,
}

/// The dialog of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DialogPortrait {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    pub(crate) remote_tag: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    pub(crate) local_cseq: u32,
    #[serde(default)]
    pub(crate) remote_cseq: Option<u32>,
    #[serde(default)]
    pub(crate) target: Option<String>,
    #[serde(default)]
    pub(crate) routes: Vec<String>,
    pub(crate) is_sips: bool,
    pub(crate) transport: Transport,
    /// Where the peer was heard last, or was sent to.
    pub(crate) peer: SocketAddr,
}

impl Portrait {
    /// The tag of our side: it tells the dialog apart from all others.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.dialog.local_tag
    }

    /// Our last description.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    /// By what it comes, and from where.
    #[must_use]
    pub const fn came_from(&self) -> (Transport, SocketAddr) {
        (self.dialog.transport, self.dialog.peer)
    }
}

impl fmt::Debug for Portrait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Portrait({})", self.dialog.call_id)
    }
}

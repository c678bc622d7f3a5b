//! Whose a call is: what proxies and record servers say of that to each other.
//!
//! ```text
//!  owner ──Keep, Release──► keeper          a proxy whose call it is has its state kept by a record server
//!  other ──Seek──► keepers ──Found──► other  somebody looks for a call, or is offered one
//!        ──Adopt─►         ──Adopted─►       and it is that one's from then on; the owner before hears Lost,
//!                                             and Over when nothing comes by it any more
//!  owner ──Leaving─► keeper                   it stops: its calls are for others, while it is still there
//! ```
//!
//! The state of a call is a *snapshot*: octets that only proxies read. It may hold keys, so it is left out wherever one of
//! these is written; the wire carries it beside.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{CallId, SegmentId};
use crate::peer::Report;
use crate::protection::Secret;
use crate::sighting::Sighting;

/// Octets of a snapshot: a call of sixteen dialogs with all that vendors send has some hundred thousand. A call whose state
/// is longer is not kept.
pub const SNAPSHOT_MAX: usize = 512 << 10;
/// Dialogs of a snapshot: as many as a call has at a time.
pub const TAGS_MAX: usize = 16;

/// A snapshot, as it is handed on.
pub type Snapshot = Option<Arc<Secret>>;

/// Of two states of a call the newer one is of the later owner, and of one owner the one that was told later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Stand {
    /// Grows by one with each owner.
    pub epoch: u64,
    /// Grows with each state.
    pub version: u64,
}

/// What is looked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// The call that has a dialog whose tag of our side is this.
    Tag(String),
    /// This call.
    Call(CallId),
}

/// Whether there is a link with the owner of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerIs {
    /// There is, and it is still the process that it was.
    Here,
    /// There is none, or it began anew.
    Away,
}

/// From a proxy to a record server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToKeeper {
    /// Who speaks is this process, and carries on calls of others. Once on each link, and first.
    Present {
        /// Another one after each start.
        run: u64,
    },
    /// The state of a call of the speaker.
    Keep {
        /// The call.
        call: CallId,
        /// Which of its states.
        stand: Stand,
        /// The tags of our side of its dialogs.
        tags: Vec<String>,
        /// The state.
        #[serde(skip)]
        snapshot: Snapshot,
    },
    /// Nothing is to be kept of a call, as of this owner and those before.
    Release {
        /// The call.
        call: CallId,
        /// The owner's.
        epoch: u64,
    },
    /// Who has this?
    Seek {
        /// The number that the answer names.
        number: u64,
        /// What.
        whom: Whom,
    },
    /// The speaker carries on a call.
    Adopt {
        /// The call.
        call: CallId,
        /// One more than that of the owner before.
        epoch: u64,
    },
    /// The speaker may have been made the owner of a call, and does not carry it on: another may.
    Return {
        /// The call.
        call: CallId,
        /// As in the order to adopt it.
        epoch: u64,
    },
    /// By what a call of the speaker is recognized, where a call of another proxy may be of the same conversation; instead
    /// of what was told of it before.
    Sighted(Box<Sighting>),
    /// Nothing is recognized as this call of the speaker any more.
    Unsighted {
        /// The call.
        call: CallId,
    },
    /// The speaker stops: others are to carry on its calls, and until they do it goes on with them. It takes none of others
    /// unasked. Holds until the next `Present`.
    Leaving {},
}

/// From a record server to a proxy.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FromKeeper {
    /// It has the state of what is sought.
    Found {
        /// The number of the question.
        number: u64,
        /// The call.
        call: CallId,
        /// Which of its states.
        stand: Stand,
        /// Whether its owner is there.
        owner: OwnerIs,
        /// The state.
        #[serde(skip)]
        snapshot: Snapshot,
    },
    /// It has none.
    Unknown {
        /// The number of the question.
        number: u64,
    },
    /// The call is of who hears this, and so is what is recorded of it here.
    Adopted {
        /// The call.
        call: CallId,
        /// As in the order.
        epoch: u64,
        /// The segments of it that are live here, and those of whose end follows.
        segments: Vec<SegmentId>,
        /// What its owner before has not heard.
        missed: Vec<Report>,
    },
    /// The call is another's already.
    Denied {
        /// The call.
        call: CallId,
        /// As in the order.
        epoch: u64,
    },
    /// A call of who hears this is another's since.
    Lost {
        /// The call.
        call: CallId,
        /// The new owner's.
        epoch: u64,
    },
    /// The owner of a call is gone, or going: it may be carried on.
    Offer {
        /// The call.
        call: CallId,
    },
    /// A call of who hears this has signs that a call of another proxy has too.
    SightedElsewhere {
        /// The call.
        call: CallId,
        /// The other.
        other: Box<Sighting>,
    },
    /// A segment is over that was of who hears this, until its call became another's: what comes for it still goes nowhere.
    Over {
        /// The segment.
        segment: SegmentId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_in_nothing_that_is_written_or_printed() {
        let snapshot = Some(Arc::new(Secret::new(b"a key".to_vec())));
        let (call, stand) = (CallId::from_u64(1), Stand { epoch: 1, version: 2 });
        let keep = ToKeeper::Keep { call, stand, tags: vec!["t".to_owned()], snapshot };
        let written = serde_json::to_string(&keep).unwrap();
        assert!(!written.contains("key") && !format!("{keep:?}").contains("key"), "{written}");
        assert!(Stand { epoch: 2, version: 1 } > stand && Stand { epoch: 1, version: 3 } > stand);
    }
}

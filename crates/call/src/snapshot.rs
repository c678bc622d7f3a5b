//! The state of a call as another proxy needs it to carry the call on, as octets and back.
//!
//! It is plain data with names, so that a neighboring version reads it: what is not known is passed over, what is missing
//! has a default or makes it unreadable as a whole. It may hold keys of media: it is kept as a [`Secret`], and written into
//! no file and no log.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallId, PeerName, Secret, SegmentId};
use serde::{Deserialize, Serialize};
use sip::Portrait;

use crate::correlate::KnownForm;
use crate::leg::LegForm;
use crate::live_call::{CallForm, SegmentForm};

/// The form that is written, and the only one that is read: it grows when what is there means something else.
const FORM: u16 = 1;
/// Dialogs of a call: as many as it has at a time.
const LEGS_MAX: usize = 16;

/// Octets that are no state of a call that can be read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is of another version.
    #[error("the state of a call is of form {0}, which is not known here")]
    Form(u16),
    /// It is none, or does not hold together.
    #[error("what should be the state of a call is none: {0}")]
    None(String),
}

/// How far a segment has come, as far as a snapshot knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is recorded.
    Live,
    /// It was told to end.
    Ending,
    /// It has ended.
    Ended,
}

/// See the module.
#[derive(Clone, Serialize, Deserialize)]
pub struct Snapshot {
    form: u16,
    pub(crate) call: CallForm,
    pub(crate) legs: Vec<LegForm>,
    pub(crate) known: KnownForm,
    /// The record servers that have segments of it.
    pub(crate) on: BTreeSet<PeerName>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.call.record.id)
    }
}

impl Snapshot {
    pub(crate) fn new(call: CallForm, legs: Vec<LegForm>, known: KnownForm, on: BTreeSet<PeerName>) -> Self {
        Self { form: FORM, call, legs, known, on }
    }

    /// The call.
    #[must_use]
    pub const fn call(&self) -> CallId {
        self.call.record.id
    }

    /// Its dialogs, in an order that stays.
    pub fn dialogs(&self) -> impl Iterator<Item = &Portrait> {
        self.legs.iter().map(|leg| &leg.dialog)
    }

    /// The tags of our side of its dialogs.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        self.dialogs().map(|dialog| dialog.tag().to_owned()).collect()
    }

    /// Its segments of whose end nobody has heard.
    #[must_use]
    pub fn segments(&self) -> BTreeSet<SegmentId> {
        self.call.segments.iter().filter(|s| s.ended.is_none()).map(|s| s.id).collect()
    }

    /// How far each of its segments has come.
    #[must_use]
    pub fn stages(&self) -> BTreeMap<SegmentId, Stage> {
        let stage = |form: &SegmentForm| match (&form.ended, form.is_live) {
            (Some(_), _) => Stage::Ended,
            (None, true) => Stage::Live,
            (None, false) => Stage::Ending,
        };
        self.call.segments.iter().map(|form| (form.id, stage(form))).collect()
    }

    /// Where its newest segment is that goes on.
    #[must_use]
    pub fn home(&self) -> Option<&PeerName> {
        let live = self.call.segments.iter().rev().filter(|s| s.is_live);
        live.filter_map(|s| s.place.as_ref()).map(|place| &place.at).next()
    }

    /// As octets; none where something of it cannot be handed on.
    #[must_use]
    pub fn write(&self) -> Option<Secret> {
        serde_json::to_vec(self).ok().map(Secret::new)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is none, or of a form that is not known here.
    pub fn read(octets: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Head {
            form: u16,
        }
        // Not what the parser found: that may be a key, or a name.
        let none = |error: serde_json::Error| {
            Unreadable::None(format!("{:?} in column {}", error.classify(), error.column()))
        };
        let head: Head = serde_json::from_slice(octets).map_err(none)?;
        if head.form != FORM {
            return Err(Unreadable::Form(head.form));
        }
        let read: Self = serde_json::from_slice(octets).map_err(none)?;
        if read.legs.len() > LEGS_MAX || read.call.legs() != read.legs.len() {
            return Err(Unreadable::None("its dialogs do not hold together".to_owned()));
        }
        Ok(read)
    }
}

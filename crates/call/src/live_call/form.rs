//! A call in progress, written down for another front and read again: what is settled of it. While a segment of it is
//! being opened it is not: what was written before stands until then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::peer::FileNames;
use model::state::Respondent;
use model::{
    CallId, CallRecord, Dtmf, EndReason, Failure, NodeNumber, Now, Order, PeerName, RecordingState,
    SegmentId, StartTrigger, WallTime,
};
use serde::{Deserialize, Serialize};
use sip::SessionId;

use super::{LiveCall, Other, Segment, Standing, Vain};
use crate::pausing::{Pausing, PausingForm};
use crate::segment_gate::Gate;
use crate::stopping::Stops;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CallForm {
    pub(crate) record: CallRecord,
    trunk: Arc<str>,
    is_recorded: bool,
    legs_begun: u16,
    taken_back: Option<RecordingState>,
    aliases: Vec<CallId>,
    elsewhere: BTreeSet<CallId>,
    /// Those of them whose segments lie at other record servers.
    #[serde(default)]
    apart: BTreeSet<CallId>,
    stops: Stops,
    pausing: PausingForm,
    pub(crate) segments: Vec<SegmentForm>,
    files: FileNames,
    is_doubled: bool,
}

/// A segment of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SegmentForm {
    pub(crate) id: SegmentId,
    pub(crate) number: u16,
    pub(crate) total: u16,
    pub(crate) is_live: bool,
    is_closed: bool,
    /// An order to pause or to go on may not have been carried out.
    pub(crate) is_unsure: bool,
    pub(crate) ended: Option<RecordingState>,
    node: Option<NodeNumber>,
    pub(crate) respondent: Respondent,
    legs: u16,
    masks: bool,
    /// Where it is, while it has not ended.
    pub(crate) place: Option<Place>,
}

/// The record server of a segment, and what else is known of it there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) at: PeerName,
    pub(crate) node: NodeNumber,
    pub(crate) run: u64,
    pub(crate) started: WallTime,
    pub(crate) trigger: StartTrigger,
    pub(crate) dtmf: Dtmf,
    /// By what it was told to end.
    pub(crate) end: Option<Order>,
}

impl CallForm {
    /// How many dialogs it is of.
    pub(crate) fn legs(&self) -> usize {
        self.pausing.legs()
    }
}

impl LiveCall {
    /// None while it is not settled.
    pub(crate) fn form(&self, now: Now, place: impl Fn(SegmentId) -> Option<Place>) -> Option<CallForm> {
        if !self.is_recorded || !self.failing.is_empty() || !self.waiting.is_empty() {
            return None;
        }
        let segments = self.segments.iter().map(|segment| segment.form(&place));
        Some(CallForm {
            record: self.record.clone(),
            trunk: Arc::clone(&self.trunk),
            is_recorded: self.is_recorded,
            legs_begun: self.legs_begun,
            taken_back: self.taken_back,
            aliases: self.aliases.clone(),
            elsewhere: self.elsewhere.keys().copied().collect(),
            apart: self.elsewhere.iter().filter(|(_, o)| o.is_apart).map(|(call, _)| *call).collect(),
            stops: self.stops.clone(),
            pausing: self.pausing.form(now),
            segments: segments.collect::<Option<_>>()?,
            files: self.files,
            is_doubled: self.is_doubled,
        })
    }

    /// As another front wrote it, of legs that are these sessions here.
    pub(crate) fn of_form(form: CallForm, sessions: &[SessionId], now: Now) -> Self {
        Self {
            record: form.record,
            legs: sessions.iter().copied().collect(),
            trunk: form.trunk,
            segments: form.segments.into_iter().map(|segment| Segment::of_form(&segment, now)).collect(),
            files: form.files,
            is_doubled: form.is_doubled,
            is_recorded: form.is_recorded,
            pausing: Pausing::of_form(form.pausing, sessions, now),
            is_left_told: false,
            stops: form.stops,
            failing: Vec::new(),
            waiting: Vec::new(),
            legs_begun: form.legs_begun,
            concluded: None,
            taken_back: form.taken_back,
            aliases: form.aliases,
            elsewhere: others(form.elsewhere, &form.apart),
        }
    }
}

/// What others bring of it is told anew.
fn others(elsewhere: BTreeSet<CallId>, apart: &BTreeSet<CallId>) -> BTreeMap<CallId, Other> {
    let other = |call| (call, Other { is_apart: apart.contains(&call), ..Other::default() });
    elsewhere.into_iter().map(other).collect()
}

impl Segment {
    fn form(&self, place: impl Fn(SegmentId) -> Option<Place>) -> Option<SegmentForm> {
        let is_live = match self.standing {
            Standing::Opening { .. } => return None,
            Standing::Open => true,
            Standing::Parting(_) | Standing::Ending => false,
        };
        Some(SegmentForm {
            id: self.id,
            number: self.number,
            total: self.total,
            is_live,
            is_closed: self.gate.is_closed(),
            is_unsure: self.gate.awaited().is_some(),
            ended: self.ended,
            node: self.node,
            respondent: self.respondent,
            legs: self.legs,
            masks: self.masks,
            place: match self.ended {
                Some(_) => None,
                None => Some(place(self.id)?),
            },
        })
    }

    fn of_form(form: &SegmentForm, now: Now) -> Self {
        Self {
            id: form.id,
            number: form.number,
            total: form.total,
            standing: match &form.place {
                _ if form.is_live => Standing::Open,
                // Nobody has told it to end yet.
                Some(Place { end: None, .. }) => Standing::Parting(EndReason::Internal(Failure::Process)),
                _ => Standing::Ending,
            },
            is_answered: true,
            gate: Gate::begin(form.is_closed),
            ended: form.ended,
            node: form.node,
            respondent: form.respondent,
            began: None,
            vain: Vain { since: now.mono, tries: 0, order: None },
            legs: form.legs,
            is_foreign: false,
            masks: form.masks,
            is_change_lost: false,
            is_refusal_told: false,
        }
    }
}

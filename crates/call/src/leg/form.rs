//! A recording dialog, written down for another front and read again. Whatever is being answered or offered is not
//! settled, and is not written: what was written before stands until then.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use media::sdp::Origin;
use model::{CallId, Metadata, Route, SegmentId};
use serde::{Deserialize, Serialize};
use sip::siprec::SnapshotForm;
use sip::{Portrait, SessionId};

use super::{Leg, Offering, Phase};
use crate::asking::Asking;
use crate::bridge::End;
use crate::indication::Indication;
use crate::lines::{Addresses, Line};
use crate::trunk::Trunk;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LegForm {
    pub(crate) dialog: Portrait,
    pub(crate) trunk: Arc<str>,
    lines: Vec<Line>,
    addresses: Addresses,
    waiting: Vec<Metadata>,
    pub(crate) segment: Option<SegmentId>,
    slots_from: u16,
    is_apart: bool,
    bridge: Option<End>,
    is_in_clear: bool,
    /// Its media go through the proxy.
    pub(crate) is_anchored: bool,
    indication: Option<Indication>,
    asking: Option<SnapshotForm>,
    /// An offer of ours with ports that are wanted was under way.
    pub(crate) owes_offer: bool,
    origin: (String, u64, u64, IpAddr),
}

impl Leg {
    /// None while it is not settled.
    pub(crate) fn form(&self, dialog: Portrait) -> Option<LegForm> {
        let segment = match self.phase {
            Phase::Waiting { .. } => return None,
            Phase::Recording { segment } => Some(segment),
            Phase::Held => None,
        };
        if !self.is_answered || self.unanswered.is_some() || self.may_resume {
            return None;
        }
        let Origin { username, session_id, version, address } = &self.origin;
        Some(LegForm {
            dialog,
            trunk: Arc::clone(&self.trunk.name),
            lines: self.lines.clone(),
            addresses: self.addresses,
            waiting: self.waiting.clone(),
            segment,
            slots_from: self.slots_from,
            is_apart: self.is_apart,
            bridge: self.bridge,
            is_in_clear: self.is_in_clear,
            is_anchored: self.route == Route::Anchored,
            indication: self.indication,
            asking: self.asking.form(),
            owes_offer: self.offering == Offering::Ports,
            origin: (username.clone(), *session_id, *version, *address),
        })
    }

    /// As another front wrote it, of a dialog that is this session here.
    pub(crate) fn of_form(form: LegForm, session: SessionId, call: CallId, trunk: Arc<Trunk>) -> Self {
        let (username, session_id, version, address) = form.origin;
        let origin = Origin { username, session_id, version, address };
        let mut leg = Self::new(session, call, trunk, origin, form.addresses);
        leg.lines = form.lines.into_iter().map(Line::adopted).collect();
        for (slot, line) in leg.lines.iter().enumerate() {
            if let Some(stream) = &line.stream {
                leg.sides.place(slot, stream.side);
            }
        }
        if let Some(end) = form.bridge {
            leg.sides.set_whole(end.side());
        }
        leg.asking = Asking::adopted(form.asking);
        leg.is_answered = true;
        leg.waiting = form.waiting;
        leg.phase = form.segment.map_or(Phase::Held, |segment| Phase::Recording { segment });
        leg.slots_from = form.slots_from;
        leg.is_apart = form.is_apart;
        leg.bridge = form.bridge;
        leg.is_in_clear = form.is_in_clear;
        leg.indication = form.indication;
        leg.last_sdp = Some(Bytes::copy_from_slice(form.dialog.sdp().as_bytes()));
        leg
    }
}

//! Who asks for pauses of a call, written down for another front, and read again. Time-outs are times of day there: each
//! process has a monotonic clock of its own.

use std::sync::Arc;

use model::{Now, OpenPause, PauseSource};
use serde::{Deserialize, Serialize};
use sip::SessionId;

use super::{Asks, Demand, Pausing};
use crate::reach::{Reach, Whose};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PausingForm {
    owners: Vec<Arc<str>>,
    order: Option<DemandForm>,
    /// In the order of the legs of the call.
    legs: Vec<AsksForm>,
    left: Vec<(Arc<str>, DemandForm)>,
    last: Option<PauseSource>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct DemandForm {
    reach: Reach,
    pause: OpenPause,
    until: Option<model::WallTime>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct AsksForm {
    whose: Whose,
    header: Option<DemandForm>,
    metadata: Option<DemandForm>,
    sdp: Option<DemandForm>,
}

impl PausingForm {
    /// Of how many legs it is.
    pub(crate) fn legs(&self) -> usize {
        self.legs.len()
    }
}

impl Pausing {
    pub(crate) fn form(&self, now: Now) -> PausingForm {
        let form = |demand: &Demand| DemandForm {
            reach: demand.reach.clone(),
            pause: demand.pause.clone(),
            until: demand.until.map(|at| now.wall + at.since(now.mono)),
        };
        let asks = |asks: &Asks| AsksForm {
            whose: asks.whose.clone(),
            header: asks.header.as_ref().map(form),
            metadata: asks.metadata.as_ref().map(form),
            sdp: asks.sdp.as_ref().map(form),
        };
        PausingForm {
            owners: self.owners.iter().cloned().collect(),
            order: self.order.as_ref().map(form),
            legs: self.legs.values().map(|of_leg| asks(of_leg)).collect(),
            left: self.left.iter().map(|(trunk, demand)| (Arc::clone(trunk), form(demand))).collect(),
            last: self.last.clone(),
        }
    }

    /// As another front wrote it, of legs that are these sessions here.
    pub(crate) fn of_form(form: PausingForm, sessions: &[SessionId], now: Now) -> Self {
        let demand = |form: DemandForm| Demand {
            reach: form.reach,
            pause: form.pause,
            until: form.until.map(|at| now.mono + at.since(now.wall)),
        };
        let asks = |form: AsksForm| Asks {
            whose: form.whose,
            header: form.header.map(demand),
            metadata: form.metadata.map(demand),
            sdp: form.sdp.map(demand),
        };
        let legs = sessions.iter().copied().zip(form.legs);
        Self {
            owners: form.owners.into_iter().collect(),
            order: form.order.map(demand),
            legs: legs.map(|(session, form)| (session, Box::new(asks(form)))).collect(),
            left: form.left.into_iter().map(|(trunk, form)| (trunk, demand(form))).collect(),
            last: form.last,
        }
    }
}

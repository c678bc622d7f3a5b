//! Who asks that nothing of a call is kept, and what follows from that. It belongs to the call and outlives its
//! segments.
//!
//! Each who may ask has a place of its own for it, and ends what it asked for there:
//!
//! ```text
//!  place                     asked by                 ended by
//!  order                     API                      API, its time-out
//!  header, of each leg       INFO, SIP header         headers of the same leg, API, its time-out
//!  metadata, of each leg     metadata                 metadata or headers of the same leg, API, its time-out
//!  SDP, of each leg          all lines inactive       lines of the same leg, or its end
//!  left, of each trunk       a leg that is over       words of a leg of that trunk, API, its time-out, the last leg's end
//! ```
//!
//! **The rule: a stream is kept only if no demand [reaches](crate::reach) it.** So it does not matter in which order
//! they came, nor when legs came or calls became one: what is kept is a function of what is asked for alone
//! ([`Pausing::open`], [`Pausing::is_paused_for`]), and everybody who changes one has it computed anew.

mod form;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Mono, OpenPause, PauseSource};
use sip::SessionId;

pub(crate) use self::form::PausingForm;
use crate::reach::{Reach, Whose};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A person or program.
    Order,
    /// A header of a leg's request.
    Header(SessionId),
    /// What a leg's client says of the recording's state.
    Metadata(SessionId),
    /// The lines of a leg.
    Sdp(SessionId),
}

/// How a leg is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// Its client ended it: what its lines said ended with them.
    Said,
    /// It broke off, or was ended by us: what it asked for is asked for still.
    Failed,
    /// It was refused or cancelled before it was answered: there never was one.
    Refused,
}

/// What one asks for.
#[derive(Debug, Clone)]
struct Demand {
    reach: Reach,
    pause: OpenPause,
    /// When it ends by itself; none: never.
    until: Option<Mono>,
}

impl Demand {
    /// Two who ask are one: since the earlier, until the later.
    fn join(&mut self, other: Self) {
        self.until = self.until.zip(other.until).map(|(a, b)| a.max(b));
        if other.pause.since < self.pause.since {
            self.pause = other.pause;
        }
    }
}

/// What a leg asks for.
#[derive(Debug)]
struct Asks {
    whose: Whose,
    header: Option<Demand>,
    metadata: Option<Demand>,
    sdp: Option<Demand>,
}

impl Asks {
    fn demands(&self) -> impl Iterator<Item = &Demand> {
        [&self.header, &self.metadata, &self.sdp].into_iter().flatten()
    }

    fn demands_mut(&mut self) -> [&mut Option<Demand>; 3] {
        [&mut self.header, &mut self.metadata, &mut self.sdp]
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pausing {
    /// The trunks that the call is of: one, and those of the calls that turned out to be it.
    owners: BTreeSet<Arc<str>>,
    order: Option<Demand>,
    /// Of each leg of the call. A map has room for eleven; nearly all calls have one or two.
    legs: BTreeMap<SessionId, Box<Asks>>,
    /// By trunk: what legs asked for that are over, while the call has others.
    left: BTreeMap<Arc<str>, Demand>,
    /// Who asked last, for a pause or its end.
    last: Option<PauseSource>,
}

impl Pausing {
    /// Nobody asks for a pause of a call of this trunk.
    pub(crate) fn new(own: Arc<str>) -> Self {
        Self {
            owners: BTreeSet::from([own]),
            order: None,
            legs: BTreeMap::new(),
            left: BTreeMap::new(),
            last: None,
        }
    }

    fn demands(&self) -> impl Iterator<Item = &Demand> {
        self.order.iter().chain(self.legs.values().flat_map(|asks| asks.demands())).chain(self.left.values())
    }

    fn of_call(&self) -> impl Iterator<Item = &Demand> {
        self.demands().filter(|demand| self.is_all(&demand.reach))
    }

    /// The pause of the whole call that goes on, as it began.
    pub(crate) fn open(&self) -> Option<&OpenPause> {
        self.of_call().map(|demand| &demand.pause).min_by_key(|pause| pause.since)
    }

    /// When the pause of the whole call ends by itself; none if there is none, or somebody asks without an end.
    pub(crate) fn until(&self) -> Option<Mono> {
        let ends: Option<Vec<Mono>> = self.of_call().map(|demand| demand.until).collect();
        ends?.into_iter().max()
    }

    /// Whose a leg of the call is.
    pub(crate) fn whose(&self, session: SessionId) -> Option<&Whose> {
        self.legs.get(&session).map(|asks| &asks.whose)
    }

    /// Whose a leg is that comes to it by this trunk.
    pub(crate) fn newcomer(&self, trunk: Arc<str>) -> Whose {
        Whose::new(trunk, &self.owners)
    }

    /// Whether this reaches all of its legs; while it has none, whether it would.
    pub(crate) fn is_all(&self, reach: &Reach) -> bool {
        if self.legs.is_empty() {
            return self.owners.iter().all(|owner| reach.covers(&self.newcomer(Arc::clone(owner))));
        }
        self.legs.values().all(|asks| reach.covers(&asks.whose))
    }

    /// Whether nothing is kept of what a leg brings.
    pub(crate) fn is_paused_for(&self, session: SessionId) -> bool {
        let whose = self.whose(session);
        whose.is_some_and(|whose| self.demands().any(|demand| demand.reach.covers(whose)))
    }

    /// Whether somebody asks for that who does not reach the whole call.
    pub(crate) fn is_apart(&self, session: SessionId) -> bool {
        let mut apart = self.demands().filter(|demand| !self.is_all(&demand.reach));
        self.whose(session).is_some_and(|whose| apart.any(|demand| demand.reach.covers(whose)))
    }

    /// Whether who asks reaches the whole call.
    pub(crate) fn is_whole(&self, asker: Asker) -> bool {
        self.reach(asker).is_some_and(|reach| self.is_all(&reach))
    }

    /// Who asked last.
    pub(crate) fn last(&self) -> PauseSource {
        self.last.clone().unwrap_or(PauseSource::Sdp)
    }

    /// Who of persons and programs ordered a pause.
    pub(crate) fn ordered_by(&self) -> Option<&PauseSource> {
        self.order.as_ref().map(|demand| &demand.pause.by)
    }

    /// Whether legs that are over have left a pause behind.
    pub(crate) fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether this one asks.
    pub(crate) fn is_asked_by(&self, asker: Asker) -> bool {
        let asks = |session: SessionId| self.legs.get(&session);
        match asker {
            Asker::Order => self.order.is_some(),
            Asker::Header(session) => asks(session).is_some_and(|asks| asks.header.is_some()),
            Asker::Metadata(session) => asks(session).is_some_and(|asks| asks.metadata.is_some()),
            Asker::Sdp(session) => asks(session).is_some_and(|asks| asks.sdp.is_some()),
        }
    }

    /// Whether a header beside an offer of this leg ordered a pause: then it means one by `a=inactive`. A key of a phone
    /// says nothing of that.
    pub(crate) fn is_signaled(&self, session: SessionId) -> bool {
        let header = self.legs.get(&session).and_then(|asks| asks.header.as_ref());
        header.is_some_and(|demand| matches!(demand.pause.by, PauseSource::Sip(_)))
    }

    /// How many of its legs nothing is kept of.
    pub(crate) fn paused(&self) -> usize {
        self.legs.keys().filter(|session| self.is_paused_for(**session)).count()
    }

    /// The earliest time at which somebody's pause ends by itself.
    pub(crate) fn next_end(&self) -> Option<Mono> {
        self.demands().filter_map(|demand| demand.until).min()
    }

    /// A leg is of the call.
    pub(crate) fn enter(&mut self, session: SessionId, trunk: Arc<str>) {
        let whose = self.newcomer(trunk);
        let asks = Asks { whose, header: None, metadata: None, sdp: None };
        self.legs.entry(session).or_insert_with(|| Box::new(asks));
    }

    /// A leg is over. The words of its client outlast it as long as there are others; with the last one, all that legs
    /// asked for is over. What a person ordered outlives a hold that hangs up.
    pub(crate) fn leave(&mut self, session: SessionId, parting: Parting) {
        let Some(asks) = self.legs.remove(&session) else { return };
        let Asks { whose, header, metadata, sdp } = *asks;
        if self.legs.is_empty() {
            self.left.clear();
        } else if parting != Parting::Refused {
            let sdp = sdp.filter(|_| parting == Parting::Failed);
            for demand in [header, metadata, sdp].into_iter().flatten() {
                self.leave_behind(Arc::clone(whose.trunk()), demand);
            }
        }
    }

    fn leave_behind(&mut self, trunk: Arc<str>, demand: Demand) {
        match self.left.get_mut(&trunk) {
            Some(known) => known.join(demand),
            None => _ = self.left.insert(trunk, demand),
        }
    }

    /// Somebody asks for a pause that ends by itself at `until`. Asking again never ends it sooner. False when the same
    /// one asked before.
    pub(crate) fn ask(&mut self, asker: Asker, pause: OpenPause, until: Option<Mono>) -> bool {
        let Some(reach) = self.reach(asker) else { return false };
        let by = pause.by.clone();
        let Some(demand) = self.demand_mut(asker) else { return false };
        match demand {
            Some(known) => {
                known.until = known.until.zip(until).map(|(a, b)| a.max(b));
                false
            }
            None => {
                *demand = Some(Demand { reach, pause, until });
                self.last = Some(by);
                true
            }
        }
    }

    /// Somebody asks to go on: ends what they may end. Whether that was anything.
    pub(crate) fn resume(&mut self, asker: Asker, by: &PauseSource) -> bool {
        let mut ended = self.demand_mut(asker).is_some_and(|demand| demand.take().is_some());
        match asker {
            Asker::Order => {
                for asks in self.legs.values_mut() {
                    ended |= asks.header.take().is_some() | asks.metadata.take().is_some();
                }
                ended |= !self.left.is_empty();
                self.left.clear();
            }
            Asker::Header(session) => {
                if let Some(asks) = self.legs.get_mut(&session) {
                    ended |= asks.metadata.take().is_some() | self.left.remove(asks.whose.trunk()).is_some();
                }
            }
            // It knew of the pause, for it ended one of its own.
            Asker::Metadata(session) if ended => {
                if let Some(asks) = self.legs.get(&session) {
                    self.left.remove(asks.whose.trunk());
                }
            }
            Asker::Metadata(_) | Asker::Sdp(_) => {}
        }
        if ended {
            self.last = Some(by.clone());
        }
        ended
    }

    /// What lasted as long as it may is over. Whether that was anything.
    pub(crate) fn expire(&mut self, now: Mono) -> bool {
        let is_over = |demand: &Demand| demand.until.is_some_and(|until| until <= now);
        let mut ended = self.order.take_if(|demand| is_over(demand)).is_some();
        for demand in self.legs.values_mut().flat_map(|asks| asks.demands_mut()) {
            ended |= demand.take_if(|demand| is_over(demand)).is_some();
        }
        let before = self.left.len();
        self.left.retain(|_, demand| !is_over(demand));
        ended |= self.left.len() < before;
        if ended {
            self.last = Some(PauseSource::Timeout);
        }
        ended
    }

    /// Another call turned out to be this one: who asked there asks here, and each has a say in the legs that it had one
    /// in before.
    pub(crate) fn join(&mut self, other: Self) {
        self.owners.extend(other.owners);
        self.legs.extend(other.legs);
        for (trunk, demand) in other.left {
            self.leave_behind(trunk, demand);
        }
        match (&mut self.order, other.order) {
            (Some(known), Some(order)) => known.join(order),
            (known, Some(order)) => *known = Some(order),
            (_, None) => {}
        }
        self.last = self.last.take().or(other.last);
    }

    fn reach(&self, asker: Asker) -> Option<Reach> {
        match asker {
            Asker::Order => Some(Reach::Order),
            Asker::Header(session) | Asker::Metadata(session) | Asker::Sdp(session) => {
                self.legs.get(&session).map(|asks| Reach::Trunk(Arc::clone(asks.whose.trunk())))
            }
        }
    }

    fn demand_mut(&mut self, asker: Asker) -> Option<&mut Option<Demand>> {
        match asker {
            Asker::Order => Some(&mut self.order),
            Asker::Header(session) => self.legs.get_mut(&session).map(|asks| &mut asks.header),
            Asker::Metadata(session) => self.legs.get_mut(&session).map(|asks| &mut asks.metadata),
            Asker::Sdp(session) => self.legs.get_mut(&session).map(|asks| &mut asks.sdp),
        }
    }
}

#[cfg(test)]
mod tests;

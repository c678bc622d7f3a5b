//! Several record servers: one owner of what is known of them and their segments, and of the time-outs.
//!
//! ```text
//!   up ──nothing heard for three beats──► probed ──nothing heard──► gone
//!    ▲                                      │                        │
//!    └──────────anything is heard───────────┘◄────a new link─────────┘
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use model::{
    CallId, ChangeKind, Copy, CopyOf, Failure, Incident, Location, Mono, Now, Occurrence, Order, PeerName,
    Report, SegmentId, SegmentRecord,
};

use super::calls::Calls;
use super::copies::SecondCopy;
use super::held::{Fed, Held, Opening, Stage};
use super::peer::Peer;
use super::{PeerEvent, PeerStanding, PeerView, Room, ServersConfig, Step};
use crate::timers::Timers;

/// Segments at a time: several times as many as one proxy carries calls. One more is refused.
pub(super) const SEGMENTS_MAX: usize = 65_536;
/// Beats that may be lost or late before it is looked whether a record server is there.
const BEATS_MISSED: u32 = 3;
/// How long it may take to say that it is: some round trips to the other end of a country, and a pause of its scheduler.
const PROBE_WITHIN: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Until then something should be heard of it.
    Heard(PeerName),
    /// Until then it should answer that it is there.
    Probed(PeerName),
    /// Until then it should be opened, or refused.
    Open(SegmentId),
    /// Another has taken over from it: until then its record server may say how it ended.
    Moved(SegmentId),
    /// Its record server is gone: until then it may return and say how it ended.
    Ended(SegmentId),
    /// Until then its second copy should be opened, or refused.
    Copy(SegmentId),
    /// Until then the call may go on.
    Forget(CallId),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Several {
    pub(super) config: ServersConfig,
    pub(super) peers: BTreeMap<PeerName, Peer>,
    pub(super) segments: BTreeMap<SegmentId, Held>,
    /// Second copies of those.
    pub(super) copies: BTreeMap<SegmentId, SecondCopy>,
    /// To be opened as soon as a record server is reached.
    pub(super) waiting: BTreeMap<SegmentId, Box<Opening>>,
    pub(super) calls: Calls,
    pub(super) timers: Timers<Timer>,
    pub(super) steps: VecDeque<Step>,
}

impl Several {
    pub(super) fn new(config: ServersConfig, peers: impl IntoIterator<Item = PeerName>) -> Self {
        Self {
            config,
            peers: peers.into_iter().map(|name| (name, Peer::default())).collect(),
            segments: BTreeMap::new(),
            copies: BTreeMap::new(),
            waiting: BTreeMap::new(),
            calls: Calls::default(),
            timers: Timers::new(),
            steps: VecDeque::new(),
        }
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn next_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    pub(super) fn handle_event(&mut self, now: Now, name: &PeerName, event: PeerEvent) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        match event {
            PeerEvent::Up(hello) => self.returned(now, name, &hello),
            PeerEvent::Closed(why) => self.gone(now, name, &why),
            // It came by a link that was given up.
            _ if !peer.is_up() => {}
            PeerEvent::Beat(beat) => {
                peer.beat(beat);
                self.heard(now, name);
                self.ask_for_those_that_wait(now);
            }
            PeerEvent::Alive => self.heard(now, name),
            PeerEvent::Report(report) => {
                self.heard(now, name);
                self.reported(now, name, report);
            }
        }
    }

    pub(super) fn order(&mut self, now: Now, order: Order) {
        match order {
            Order::Open(open) => self.open(now, *open),
            Order::End { segment, .. } => self.end(now, segment, order),
            Order::Withdraw { segment } => {
                let is_opening = |held: &&Held| matches!(held.stage, Stage::Opening(_));
                if let Some(held) = self.segments.get(&segment).filter(is_opening) {
                    let to = held.at.clone();
                    self.send(&to, order);
                }
            }
            Order::Change { segment, .. }
            | Order::Annotate { segment, .. }
            | Order::Pause { segment, .. }
            | Order::Resume { segment, .. }
            | Order::Keys { segment, .. } => self.pass_on(now, segment, order),
            Order::Conclude(conclusion) => self.conclude(now, conclusion),
            Order::Join(join) => self.join(now, &join),
        }
    }

    /// An order of a segment goes to where that goes on. Where its record server is gone it is left out: another takes over,
    /// and is told how things are.
    fn pass_on(&mut self, now: Now, segment: SegmentId, order: Order) {
        let is_fed = |held: &Held| matches!(held.stage, Stage::Lost { fed: Fed::ByAnother, .. });
        if matches!(order, Order::Change { .. }) && self.segments.get(&segment).is_some_and(is_fed) {
            // Its streams come from another proxy, as that one told: by ours nothing of them would be heard.
            return;
        }
        self.pass_to_copy(now, segment, &order);
        if let Some(held) = self.segments.get(&segment)
            && self.peers.get(&held.at).is_some_and(|peer| !peer.has_lost(held.by))
        {
            let to = held.at.clone();
            self.send(&to, order);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        while let Some(due) = self.timers.next()
            && let Some(timer) = self.timers.pop_due(now.mono)
        {
            if now.mono.since(due) > self.config.beat {
                // Nobody has looked for a while: what came meanwhile is heard first.
                self.timers.set(timer, now.mono + self.config.beat);
                continue;
            }
            match timer {
                Timer::Heard(name) => {
                    self.steps.push_back(Step::Probe(name.clone()));
                    self.timers.set(Timer::Probed(name), now.mono + PROBE_WITHIN);
                }
                Timer::Probed(name) => {
                    self.steps.push_back(Step::Drop(name.clone()));
                    self.gone(now, &name, "it does not answer");
                }
                Timer::Open(segment) => self.no_answer(now, segment),
                Timer::Copy(segment) => self.copy_unanswered(now, segment),
                Timer::Moved(segment) | Timer::Ended(segment) => self.presume_failed(now, segment),
                Timer::Forget(call) => self.calls.forget(call),
            }
        }
    }

    /// Something came of it: it is there.
    pub(super) fn heard(&mut self, now: Now, name: &PeerName) {
        if let Some(peer) = self.peers.get_mut(name) {
            peer.is_sure(now.mono);
        }
        self.timers.clear(Timer::Probed(name.clone()));
        self.timers.set(Timer::Heard(name.clone()), now.mono + self.config.beat * BEATS_MISSED);
    }

    pub(super) fn room(&self) -> Room {
        if self.peers.values().any(|peer| peer.weight().is_some()) {
            return Room::Free;
        }
        let is_known = |peer: &Peer| matches!(peer.standing(), PeerStanding::Says(_));
        match !self.peers.is_empty() && self.peers.values().all(is_known) {
            true => Room::Full,
            false => Room::Unreachable,
        }
    }

    pub(super) fn views(&self) -> Vec<PeerView> {
        let first = |name: &PeerName| self.segments.values().filter(|held| held.at == *name).count();
        let segments = |name: &PeerName| first(name) + self.copies_at(name).len();
        let view = |(name, peer): (&PeerName, &Peer)| PeerView {
            name: name.clone(),
            standing: peer.standing(),
            segments: segments(name),
        };
        self.peers.iter().map(view).collect()
    }

    pub(super) fn remembered(&self) -> usize {
        let waiting: usize = self.peers.values().map(Peer::remembered).sum();
        self.segments.len() + self.copies.len() + self.waiting.len() + self.calls.len() + waiting
    }

    /// Gives an order to a record server that is up.
    pub(super) fn send(&mut self, to: &PeerName, order: Order) {
        if let Some(peer) = self.peers.get_mut(to).filter(|peer| peer.is_up()) {
            peer.sends();
            self.steps.push_back(Step::Send { to: to.clone(), order });
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        self.steps.push_back(Step::Report(report));
    }

    pub(super) fn refuse(&mut self, segment: SegmentId, why: Failure) {
        self.report(Report::Refused { segment, why });
    }

    /// How the copy of a segment ended, as far as anybody knows: its record server may tell something else later.
    pub(super) fn tell_presumed(&mut self, record: &SegmentRecord) {
        let copy =
            Copy { of: CopyOf::Segment(record.id), at: Location::Node(record.node), state: record.state };
        let kind = ChangeKind::Copy { call: record.call, copy };
        self.steps.push_back(Step::Tell(record.tenant.clone(), kind));
    }

    /// Tells of something that concerns no single call.
    pub(super) fn alarm(&mut self, incident: Incident, text: String) {
        let tenant = self.config.tenant.clone();
        self.steps.push_back(Step::Alarm(Occurrence { tenant, incident, call: None, segment: None, text }));
    }
}

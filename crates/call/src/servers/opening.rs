//! Which record server opens a segment.
//!
//! ```text
//!  Open ──► chosen ──► Opened
//!             │  └───► Refused: the next one, the same segment, for nothing of it remains where it was refused
//!             └──────► nothing: it may be opened there, so it is withdrawn, and comes back unanswered
//! ```
//!
//! Where none is reached, and one may return at once, an order waits for it for a moment: new calls are refused before, so
//! those that wait are in progress.
//!
//! A segment that takes over is asked for where the failed one is first, if that is there still: another volume there
//! keeps the ports.

use std::time::Duration;

use model::{Failure, Incident, Now, OpenSegment, Order, PeerName, Report, SegmentId};

use super::held::{Failing, Held, Kin, Opening, Stage};
use super::peer::Peer;
use super::several::{SEGMENTS_MAX, Several, Timer};
use super::{Room, Step};
use crate::placement;

/// Record servers that are asked for one segment.
const TRIED_MAX: usize = 4;
/// How long one may take to answer: opening takes some milliseconds, and a disk that stands still for longer is better left
/// for another.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// Until when another is asked after a refusal.
const ANOTHER_WITHIN: Duration = Duration::from_secs(1);
/// How long one that is not reached is waited for: a link that breaks is there again within a second or two. With
/// [`ANSWERED_WITHIN`] it is how long `Front` waits at most.
const RETURNS_WITHIN: Duration = Duration::from_secs(2);

impl Several {
    pub(super) fn open(&mut self, now: Now, order: OpenSegment) {
        let segment = order.segment;
        if self.segments.len() + self.waiting.len() >= SEGMENTS_MAX {
            let why = "more segments than one proxy can have at its record servers";
            return self.refuse(segment, Failure::Resources(why.to_owned()));
        }
        let home = order.takes_over.as_ref().and_then(|failed| self.home_of(failed.segment));
        let opening = Opening { order, since: now.mono, tried: Vec::new(), kin: Kin::Other, end: None };
        match home {
            Some(home) => self.ask(now, home, Kin::Same, Box::new(opening)),
            None => self.ask_next(now, Box::new(opening), None),
        }
    }

    /// Where a segment is that fails by the word of its record server, which is there still.
    fn home_of(&self, failed: SegmentId) -> Option<PeerName> {
        let held = self.segments.get(&failed)?;
        let peer = self.peers.get(&held.at)?;
        let is_there = peer.identity() == Some(held.by) && !peer.is_suspected();
        (is_there && matches!(held.stage, Stage::Live(Failing::Yes))).then(|| held.at.clone())
    }

    /// Asks another record server, if there is one; else it is refused, as the last one did.
    pub(super) fn ask_next(&mut self, now: Now, opening: Box<Opening>, refused: Option<Failure>) {
        let patience = if opening.tried.is_empty() { RETURNS_WITHIN } else { ANOTHER_WITHIN };
        let is_soon = now.mono.since(opening.since) <= patience;
        let next = match opening.tried.len() < TRIED_MAX && is_soon {
            true => self.choose(&opening),
            false => None,
        };
        match next {
            Some(to) => self.ask(now, to, Kin::Other, opening),
            None if opening.tried.is_empty() && is_soon && self.room() == Room::Unreachable => {
                let segment = opening.order.segment;
                self.timers.set(Timer::Open(segment), opening.since + RETURNS_WITHIN);
                self.waiting.insert(segment, opening);
            }
            None => {
                let none = || Failure::Resources("no record server takes calls".to_owned());
                self.refuse(opening.order.segment, refused.unwrap_or_else(none));
            }
        }
    }

    /// A record server may take calls again: it is asked for what waits.
    pub(super) fn ask_for_those_that_wait(&mut self, now: Now) {
        if !self.waiting.is_empty() {
            for (segment, opening) in std::mem::take(&mut self.waiting) {
                self.timers.clear(Timer::Open(segment));
                self.ask_next(now, opening, None);
            }
        }
    }

    /// One that takes calls; for a call that goes on already, where there is none, one that has some left for it.
    fn choose(&mut self, opening: &Opening) -> Option<PeerName> {
        let goes_on = opening.order.number > 1;
        let kinds: &[fn(&Peer) -> Option<u32>] =
            if goes_on { &[Peer::weight, Peer::weight_at_need] } else { &[Peer::weight] };
        kinds.iter().find_map(|weight| {
            let others = self.peers.iter_mut().filter(|(name, _)| !opening.tried.contains(name));
            let may =
                others.filter_map(|(name, peer)| Some((name.clone(), weight(peer)?, &mut peer.balance)));
            placement::choose(may)
        })
    }

    /// Who gets the next call that begins.
    pub(super) fn next_place(&self) -> Option<PeerName> {
        let may = self.peers.iter().filter_map(|(name, peer)| Some((name, peer.weight()?, peer.balance)));
        let mut may: Vec<_> = may.collect();
        placement::choose(may.iter_mut().map(|(name, room, balance)| (*name, *room, balance))).cloned()
    }

    /// It begins there, and this node has no more to do with it.
    pub(super) fn sent(&mut self) {
        let all = self.peers.iter_mut();
        let may = all.filter_map(|(name, peer)| Some((name.clone(), peer.weight()?, &mut peer.balance)));
        if let Some(to) = placement::choose(may)
            && let Some(peer) = self.peers.get_mut(&to)
        {
            peer.place();
        }
    }

    fn ask(&mut self, now: Now, to: PeerName, kin: Kin, mut opening: Box<Opening>) {
        let mut order = opening.order.clone();
        let segment = order.segment;
        let Some((peer, by)) = self.peers.get_mut(&to).and_then(|peer| peer.identity().map(|by| (peer, by)))
        else {
            return self.refuse(segment, Failure::Resources("a record server is gone".to_owned()));
        };
        peer.place();
        if kin == Kin::Other {
            // It knows nothing of the other.
            order.takes_over = None;
        }
        opening.kin = kin;
        opening.tried.push(to.clone());
        self.timers.set(Timer::Open(segment), now.mono + ANSWERED_WITHIN);
        self.send(&to, Order::Open(Box::new(order)));
        self.segments.insert(segment, Held::asked(to, by, opening));
    }

    /// A record server does not open a segment: nothing of it remains there.
    pub(super) fn refused(&mut self, now: Now, segment: SegmentId, why: Failure) {
        let Some((_, opening)) = self.take_opening(segment) else { return };
        match opening.end {
            // Nobody waits for it any more.
            Some(_) => self.report(Report::Withdrawn { segment }),
            None => self.ask_next(now, opening, Some(why)),
        }
    }

    /// A record server did not answer in time. It may have opened it: what comes late of that is ended there.
    pub(super) fn no_answer(&mut self, now: Now, segment: SegmentId) {
        if self.waiting.remove(&segment).is_some() {
            return self.refuse(segment, Failure::Resources("no record server is reached".to_owned()));
        }
        let Some((at, opening)) = self.take_opening(segment) else { return };
        self.send(&at, Order::Withdraw { segment });
        self.owe_end(now, &at, segment);
        if self.peers.get_mut(&at).is_some_and(|peer| peer.suspect(now.mono)) {
            let text = format!(
                "record server {at} does not open a segment within {} s: it gets no calls until it answers an order",
                ANSWERED_WITHIN.as_secs()
            );
            self.alarm(Incident::InternalFailure, text);
        }
        self.steps.push_back(Step::Unanswered(Box::new(opening.order)));
    }

    /// Takes out one that is being opened: where, and what it is to be.
    pub(super) fn take_opening(&mut self, segment: SegmentId) -> Option<(PeerName, Box<Opening>)> {
        if !matches!(self.segments.get(&segment)?.stage, Stage::Opening(_)) {
            return None;
        }
        self.timers.clear(Timer::Open(segment));
        match self.segments.remove(&segment)? {
            Held { at, stage: Stage::Opening(opening), .. } => Some((at, opening)),
            Held { .. } => None,
        }
    }
}

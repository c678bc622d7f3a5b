//! Second copies of segments: the same segment, at the same time, at another record server (2N).
//!
//! ```text
//!  one copy at a, one at b ──► a fails, or is gone: the one at b is the segment from now on, and `Front` hears of nothing
//!                         └──► b fails, or is gone: there is one copy, which somebody hears of
//! ```
//!
//! What is ordered of a segment both are told, and a pause is carried out when both have carried it out. One that is lost
//! is not replaced: the other is whole, and where that is lost too the call goes on as another segment, with two copies
//! again. What is lost is told to end when its record server returns; by then nobody sends it media.

use std::collections::{BTreeMap, BTreeSet};

use model::{EndReason, Failure, Incident, Now, OpenPause, OpenSegment, Order, PeerName, Report, SegmentId};

use super::held::{Failing, Stage};
use super::opening::ANSWERED_WITHIN;
use super::peer::{Identity, Peer};
use super::reports::nobody_waits;
use super::several::{Several, Timer};
use super::{CopyEvent, Step};
use crate::placement;

/// Record servers that are asked for one.
const TRIED_MAX: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct SecondCopy {
    at: PeerName,
    by: Identity,
    stage: CopyStage,
    /// Orders that it was given and has not carried out.
    awaited: BTreeSet<u64>,
    /// Of those, the ones that the first has carried out.
    done_by_first: BTreeSet<u64>,
    /// Those that it has carried out before the first.
    done: BTreeSet<u64>,
}

#[derive(Debug)]
enum CopyStage {
    /// It is asked for; who was asked before.
    Opening(Box<OpenSegment>, Vec<PeerName>),
    Live,
}

impl Several {
    /// A segment that is live is to have a second copy.
    pub(super) fn copy(&mut self, now: Now, mut order: OpenSegment) {
        let Some(held) = self.segments.get(&order.segment) else { return };
        if matches!(held.stage, Stage::Live(_)) {
            order.takes_over = None;
            let beside = vec![held.at.clone()];
            self.ask_for_copy(now, Box::new(order), beside, "no other record server takes calls");
        }
    }

    fn ask_for_copy(&mut self, now: Now, order: Box<OpenSegment>, tried: Vec<PeerName>, why: &str) {
        let segment = order.segment;
        let others = self.peers.iter_mut().filter(|(name, _)| !tried.contains(name));
        let may = others.filter_map(|(name, peer)| Some((name.clone(), peer.weight()?, &mut peer.balance)));
        let chosen = if tried.len() > TRIED_MAX { None } else { placement::choose(may) };
        let peer = chosen.and_then(|name| Some((self.peers.get_mut(&name)?, name)));
        let Some((by, at)) = peer.and_then(|(peer, name)| {
            peer.place();
            Some((peer.identity()?, name))
        }) else {
            return self.has_one_copy(segment, why);
        };
        self.timers.set(Timer::Copy(segment), now.mono + ANSWERED_WITHIN);
        self.send(&at, Order::Open(order.clone()));
        let stage = CopyStage::Opening(order, tried);
        let (awaited, done_by_first, done) = Default::default();
        self.copies.insert(segment, SecondCopy { at, by, stage, awaited, done_by_first, done });
    }

    /// Whether a record server has the second copy of a segment, or is to.
    pub(super) fn has_copy(&self, segment: SegmentId, at: &PeerName) -> bool {
        self.copies.get(&segment).is_some_and(|copy| copy.at == *at)
    }

    /// A record server reports of a second copy.
    pub(super) fn copy_reported(&mut self, now: Now, segment: SegmentId, report: Report) {
        let Some(copy) = self.copies.get_mut(&segment) else { return };
        match report {
            Report::Opened { ports, .. } => {
                copy.stage = CopyStage::Live;
                self.timers.clear(Timer::Copy(segment));
                let at = copy.at.clone();
                if let Some(call) = self.segments.get(&segment).map(super::held::Held::call) {
                    for forgotten in self.calls.began(call, at) {
                        self.timers.clear(Timer::Forget(forgotten));
                    }
                }
                self.steps.push_back(Step::Copy(CopyEvent::Opened { segment, ports }));
            }
            Report::Refused { why, .. } => match std::mem::replace(&mut copy.stage, CopyStage::Live) {
                CopyStage::Opening(order, mut tried) => {
                    tried.push(copy.at.clone());
                    // The next one begins as the segment is now.
                    self.give_up_copy(segment);
                    self.ask_for_copy(now, order, tried, &why.describe());
                }
                CopyStage::Live => self.lose_copy(now, segment, EndReason::Internal(why)),
            },
            Report::Failing { why, .. } => self.lose_copy(now, segment, EndReason::Internal(why)),
            Report::Ended { record } => {
                let at = copy.at.clone();
                if let Some(peer) = self.peers.get_mut(&at) {
                    peer.confirm(segment);
                }
                self.give_up_copy(segment);
                self.steps.push_back(Step::Copy(CopyEvent::Lost { segment }));
                let why = record.end.as_ref().map_or_else(|| "it ended".to_owned(), EndReason::describe);
                self.has_one_copy(segment, &why);
            }
            Report::CarriedOut { order, .. } => {
                let is_known = copy.awaited.remove(&order);
                if copy.done_by_first.remove(&order) {
                    self.report(Report::CarriedOut { segment, order });
                } else if is_known {
                    copy.done.insert(order);
                }
            }
            // The first says the same, and is believed.
            Report::MediaTimedOut { .. } | Report::Withdrawn { .. } => {}
        }
    }

    /// The first copy has carried out an order; whether the second has too.
    pub(super) fn is_carried_out(&mut self, segment: SegmentId, order: u64) -> bool {
        let Some(copy) = self.copies.get_mut(&segment) else { return true };
        if copy.awaited.contains(&order) {
            copy.done_by_first.insert(order);
            return false;
        }
        copy.done.remove(&order);
        true
    }

    /// What is ordered of a segment goes to its second copy too.
    pub(super) fn pass_to_copy(&mut self, now: Now, segment: SegmentId, order: &Order) {
        let Some(copy) = self.copies.get_mut(&segment) else { return };
        if let CopyStage::Opening(open, _) = &mut copy.stage {
            keep_up(open, now, order);
        }
        if let Order::Pause { order, .. } | Order::Resume { order, .. } | Order::Keys { order, .. } = order {
            copy.awaited.insert(*order);
        }
        let at = copy.at.clone();
        self.send(&at, order.clone());
    }

    /// A segment that was another proxy's may have a second copy, where that is live beside the first: it ends with that.
    pub(super) fn adopt_copy(
        &mut self,
        segment: SegmentId,
        first: &PeerName,
        live: &BTreeMap<PeerName, BTreeSet<SegmentId>>,
    ) {
        let second = live.iter().find(|(name, live)| *name != first && live.contains(&segment));
        let Some((at, by)) = second.and_then(|(at, _)| Some((at.clone(), self.peers.get(at)?.identity()?)))
        else {
            return;
        };
        let (awaited, done_by_first, done) = Default::default();
        let copy = SecondCopy { at, by, stage: CopyStage::Live, awaited, done_by_first, done };
        self.copies.insert(segment, copy);
    }

    /// A segment ends, and its second copy with it. How that ended its record server tells the catalog.
    pub(super) fn end_copy(&mut self, segment: SegmentId, end: &Order) {
        let Some(copy) = self.forget_copy(segment) else { return };
        self.owe_and_send(&copy.at, segment, end.clone());
    }

    /// The call of a segment is another's, with what is recorded of it `there`: a second copy elsewhere ends, and nobody here
    /// says anything of it.
    pub(super) fn forget_copy_but(&mut self, now: Now, segment: SegmentId, there: &PeerName) {
        if let Some(copy) = self.forget_copy(segment).filter(|copy| copy.at != *there) {
            self.owe_and_send(&copy.at, segment, nobody_waits(now, segment));
        }
    }

    /// The first copy of a segment is lost: the second is the segment from now on, if there is one.
    pub(super) fn goes_on_as_copy(&mut self, now: Now, segment: SegmentId, why: &EndReason) -> bool {
        let Some(copy) = self.copies.get(&segment) else { return false };
        let is_there = self.peers.get(&copy.at).and_then(Peer::identity) == Some(copy.by);
        let is_live = is_there && matches!(copy.stage, CopyStage::Live);
        let Some(copy) = self.forget_copy(segment) else { return false };
        let end = Order::End { segment, at: now.wall, reason: why.clone(), by: None };
        let Some(held) = self.segments.get_mut(&segment).filter(|_| is_live) else {
            self.owe_and_send(&copy.at, segment, end);
            return false;
        };
        let first = std::mem::replace(&mut held.at, copy.at);
        (held.by, held.stage) = (copy.by, Stage::Live(Failing::No));
        self.owe_and_send(&first, segment, end);
        // Those that the first has carried out it need not any more; what it has not, nobody waits for.
        let done: Vec<u64> = copy.done.into_iter().collect();
        done.into_iter().for_each(|order| self.report(Report::CarriedOut { segment, order }));
        self.steps.push_back(Step::Copy(CopyEvent::Moved { segment }));
        true
    }

    /// A second copy is not to be had any more, because of this.
    pub(super) fn lose_copy(&mut self, now: Now, segment: SegmentId, why: EndReason) {
        let Some(at) = self.give_up_copy(segment) else { return };
        let text = why.describe();
        let end = Order::End { segment, at: now.wall, reason: why, by: None };
        self.owe_and_send(&at, segment, end);
        self.steps.push_back(Step::Copy(CopyEvent::Lost { segment }));
        self.has_one_copy(segment, &text);
    }

    /// Nobody said in time whether it is opened.
    pub(super) fn copy_unanswered(&mut self, now: Now, segment: SegmentId) {
        let Some(copy) = self.copies.get(&segment) else { return };
        let at = copy.at.clone();
        self.send(&at, Order::Withdraw { segment });
        if let Some(peer) = self.peers.get_mut(&at) {
            peer.suspect(now.mono);
            peer.owe(segment, nobody_waits(now, segment));
        }
        self.give_up_copy(segment);
        self.has_one_copy(segment, &format!("record server {at} does not answer"));
    }

    /// Those that a record server has that is gone.
    pub(super) fn copies_at(&self, name: &PeerName) -> Vec<SegmentId> {
        self.copies.iter().filter(|(_, copy)| copy.at == *name).map(|(segment, _)| *segment).collect()
    }

    /// There is none any more: what the first has carried out is carried out. Where it was.
    fn give_up_copy(&mut self, segment: SegmentId) -> Option<PeerName> {
        let copy = self.forget_copy(segment)?;
        let done: Vec<u64> = copy.done_by_first.into_iter().collect();
        done.into_iter().for_each(|order| self.report(Report::CarriedOut { segment, order }));
        Some(copy.at)
    }

    fn forget_copy(&mut self, segment: SegmentId) -> Option<SecondCopy> {
        self.timers.clear(Timer::Copy(segment));
        self.copies.remove(&segment)
    }

    /// An end that is told now, or when its record server returns.
    fn owe_and_send(&mut self, to: &PeerName, segment: SegmentId, end: Order) {
        if let Some(peer) = self.peers.get_mut(to) {
            peer.owe(segment, end.clone());
        }
        self.send(to, end);
    }

    fn has_one_copy(&mut self, segment: SegmentId, why: &str) {
        self.alarm(Incident::InternalFailure, format!("segment {segment} has one copy only: {why}"));
    }
}

/// A copy that is being asked for is to be as the segment is since: paused, if that is.
fn keep_up(open: &mut OpenSegment, now: Now, order: &Order) {
    match order {
        Order::Pause { by, .. } => {
            open.pause.get_or_insert_with(|| OpenPause { since: now.wall, by: by.clone() });
        }
        Order::Resume { .. } => open.pause = None,
        Order::Change { streams, .. } => open.streams.clone_from(streams),
        Order::Keys { stream, protection, .. } => {
            let of_stream = open.streams.iter_mut().filter(|open| open.stream == *stream);
            of_stream.for_each(|open| open.protection = protection.clone());
        }
        Order::Annotate { data, metadata, .. } => {
            open.data = data.clone();
            open.metadata.extend(metadata.iter().cloned());
        }
        _ => {}
    }
}

/// Why a segment goes on as its other copy when a record server is gone.
pub(super) const GONE: EndReason = EndReason::Internal(Failure::Process);

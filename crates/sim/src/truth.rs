//! What is true of a world, and what must hold of it at every step.
//!
//! It hears what proxies order and are told, what callers send, what record servers keep and seal; no process ever asks it
//! anything.

pub(crate) mod carrying;
pub(crate) mod pauses;

use std::collections::{BTreeMap, BTreeSet};

use model::{
    CallId, CallKey, CopyOf, NodeNumber, Order, RecordingState, Report, SegmentId, state::TRANSITIONS,
};
use sip::SessionId;
use spool::log::{self, Entry};
use spool::memory::Sealed;

use self::pauses::Secrecy;

/// A packet, by its SSRC and its sequence number.
pub(crate) type Packet = (u32, u32);

/// See the module.
#[derive(Default)]
pub(crate) struct Truth {
    /// The first thing that did not hold.
    pub(crate) violation: Option<String>,
    pub(crate) segments: BTreeMap<SegmentId, Known>,
    pub(crate) calls: BTreeMap<CallId, OfCall>,
    pub(crate) dialogs: BTreeMap<(usize, SessionId), Dialog>,
    /// Those of processes that are gone.
    former: Vec<Dialog>,
    /// What was sealed and is durable: of each segment what it was sealed as. It is more than once where a loss of power
    /// took what was not synced.
    pub(crate) sealed: BTreeMap<SegmentId, (CallKey, Sealed)>,
    /// Segments that were not durable when their machine lost its power.
    pub(crate) powerless: BTreeSet<SegmentId>,
    /// Packets that callers sent, with who did and whether the network lost them.
    pub(crate) sent: BTreeMap<Packet, Sent>,
    /// Packets that a segment kept.
    pub(crate) kept: BTreeMap<Packet, SegmentId>,
    /// What the catalog was told last of copies.
    pub(crate) told: BTreeMap<(CopyOf, NodeNumber), RecordingState>,
    /// How often calls were carried on.
    pub(crate) carried: BTreeMap<CallId, u64>,
    /// Calls that were carried on although they were over.
    pub(crate) revived: BTreeMap<CallId, u64>,
    /// Callers of whose calls somebody ordered a pause.
    pub(crate) paused: BTreeMap<usize, Secrecy>,
    /// How often each kind of fault happened.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// A segment, as its proxy knows it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) call: CallId,
    pub(crate) number: u16,
    pub(crate) answer: Answer,
    /// Whether its proxy takes it to be live.
    pub(crate) is_live: bool,
    /// Where it lies, when it has ended.
    pub(crate) at: Option<NodeNumber>,
    /// What its proxy was told that it came to, or took it to.
    pub(crate) ended_as: Option<RecordingState>,
    /// Whoever has its call now never knew of it.
    pub(crate) is_strange: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Awaited,
    Opened,
    /// It never was.
    Never,
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct OfCall {
    pub(crate) key: CallKey,
    /// Whose it is: the proxy that began it, or carried it on last.
    pub(crate) proxy: usize,
    /// The Call-IDs of its dialogs.
    pub(crate) dialogs: BTreeSet<String>,
    /// Its proxy has said how it came out.
    pub(crate) is_concluded: bool,
    /// Its proxy is gone, and nobody has carried it on.
    pub(crate) is_left: bool,
    /// And nobody can: no record server has its state.
    pub(crate) is_lost: bool,
    /// The record servers that have its state.
    kept_at: BTreeSet<usize>,
    /// How it came out was ordered, and has not come to any record server.
    is_unheard: bool,
}

/// A dialog, as its proxy has it.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) caller: usize,
    pub(crate) call_id: String,
    /// The tag of our side, once there is one.
    pub(crate) tag: Option<String>,
    pub(crate) is_accepted: bool,
    pub(crate) is_held: bool,
    pub(crate) is_over: bool,
    /// Since when nobody cares for it who should.
    pub(crate) uncared: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) caller: usize,
    pub(crate) is_eaten: bool,
    pub(crate) secrecy: Secrecy,
}

impl Truth {
    pub(crate) fn violated(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// A proxy orders something.
    pub(crate) fn ordered(&mut self, proxy: usize, order: &Order) {
        match order {
            Order::Open(open) => {
                let key =
                    CallKey { call: open.call, call_started: open.call_started, tenant: open.tenant.clone() };
                let of_call = self.calls.entry(open.call).or_insert_with(|| OfCall {
                    key,
                    proxy,
                    dialogs: BTreeSet::new(),
                    is_concluded: false,
                    is_left: false,
                    is_lost: false,
                    kept_at: BTreeSet::new(),
                    is_unheard: false,
                });
                // One that hung may not know yet that it is another's.
                let is_its_own = of_call.proxy == proxy;
                if is_its_own {
                    of_call.dialogs.extend(open.data.sip_call_ids.iter().cloned());
                    of_call.is_concluded = false;
                }
                let (call, number) = (open.call, open.number);
                let answer = if is_its_own { Answer::Awaited } else { Answer::Never };
                let (is_live, is_strange) = (is_its_own, !is_its_own);
                let known = Known { call, number, answer, is_live, at: None, ended_as: None, is_strange };
                if self.segments.insert(open.segment, known).is_some() {
                    self.violated(format!("the id of segment {} is given twice", open.segment));
                }
            }
            Order::End { segment, .. } => {
                if let Some(known) = self.known_to(proxy, *segment) {
                    known.is_live = false;
                }
            }
            Order::Conclude(conclusion) if self.has(proxy, conclusion.call) => self.concluded(conclusion),
            _ => {}
        }
    }

    fn concluded(&mut self, conclusion: &model::Conclusion) {
        let goes_on = conclusion.state.is_some_and(|state| !state.is_gathered());
        if let Some(of_call) = self.calls.get_mut(&conclusion.call) {
            (of_call.is_concluded, of_call.is_unheard) = (!goes_on, !goes_on);
        }
        if goes_on {
            return;
        }
        let of_call = |known: &&Known| known.call == conclusion.call && known.answer == Answer::Opened;
        let of_call: Vec<&Known> = self.segments.values().filter(of_call).collect();
        let mut numbers: Vec<u16> = of_call.iter().map(|known| known.number).collect();
        numbers.sort_unstable();
        let places: BTreeSet<Option<NodeNumber>> = of_call.iter().map(|known| known.at).collect();
        let text = || format!("{conclusion:?} of segments {numbers:?} at {places:?}");
        if !numbers.iter().copied().eq(1..=conclusion.total) {
            self.violated(format!("numbers have holes: {}", text()));
        } else if places.contains(&None) {
            self.violated(format!("a call is concluded of which a segment has not ended: {}", text()));
        } else if conclusion.state.is_some() != (places.len() == 1) {
            self.violated(format!(
                "a call has a state although it lies in several places, or none: {}",
                text()
            ));
        }
    }

    /// A proxy is told something of a segment.
    pub(crate) fn reported(&mut self, proxy: usize, report: &Report) {
        let is_strange = self.segments.contains_key(&report.segment());
        if is_strange && self.known_to(proxy, report.segment()).is_none() {
            return;
        }
        match report {
            Report::Opened { segment, .. } => self.answered(proxy, *segment, Answer::Opened),
            Report::Refused { segment, .. } if self.is_opened(*segment) => {}
            Report::Refused { segment, .. } | Report::Withdrawn { segment } => {
                self.answered(proxy, *segment, Answer::Never);
            }
            Report::Failing { segment, .. } => {
                self.answered(proxy, *segment, Answer::Opened);
                if let Some(known) = self.segments.get_mut(segment) {
                    known.is_live = false;
                }
            }
            Report::Ended { record } => {
                self.answered(proxy, record.id, Answer::Opened);
                let Some(known) = self.segments.get_mut(&record.id) else { return };
                (known.is_live, known.ended_as) = (false, Some(record.state));
                if known.at.replace(record.node).is_some() {
                    self.violated(format!("a proxy is told twice that segment {} ended", record.id));
                }
            }
            Report::MediaTimedOut { .. } | Report::CarriedOut { .. } => {}
        }
    }

    fn is_opened(&self, segment: SegmentId) -> bool {
        self.segments.get(&segment).is_some_and(|known| known.answer == Answer::Opened)
    }

    /// Each order to open is answered once. What is opened may be told of again, when its streams change.
    pub(crate) fn answered(&mut self, proxy: usize, segment: SegmentId, answer: Answer) {
        if !self.segments.contains_key(&segment) {
            return self.violated(format!("a proxy hears of segment {segment}, which it never ordered"));
        }
        let Some(known) = self.known_to(proxy, segment) else { return };
        let is_again = known.answer == Answer::Opened && answer == Answer::Opened;
        if known.answer != Answer::Awaited && !is_again {
            let before = known.answer;
            return self
                .violated(format!("segment {segment} is answered twice: {before:?}, then {answer:?}"));
        }
        known.answer = answer;
        known.is_live &= answer == Answer::Opened;
    }

    /// A segment keeps a packet.
    pub(crate) fn keeps(&mut self, packet: Packet, segment: SegmentId) {
        // Who goes on sending to a record server that others took over from is not heard by it of a pause: that is open.
        let is_live = self.segments.get(&segment).is_some_and(|known| known.is_live);
        if is_live && self.sent.get(&packet).is_some_and(|sent| sent.secrecy == Secrecy::Secret) {
            self.violated(format!("packet {packet:?} was sent in a pause and is kept by segment {segment}"));
        }
        if let Some(before) = self.kept.insert(packet, segment).filter(|before| *before != segment) {
            self.violated(format!("packet {packet:?} is kept by segment {before} and by segment {segment}"));
        }
    }

    /// Lines are added to a call's log.
    pub(crate) fn noted(&mut self, bytes: &[u8]) {
        for line in log::read(bytes).0 {
            let Entry::State { copy, from: Some(from), .. } = &line.entry else { continue };
            let is_allowed = TRANSITIONS.iter().any(|(f, _, to)| f == from && *to == copy.state);
            if !is_allowed {
                self.violated(format!("the table has no way from '{from}' to '{}'", copy.state));
            }
        }
    }

    /// The call that a dialog belongs to.
    pub(crate) fn call_of(&self, proxy: usize, call_id: &str) -> Option<CallId> {
        let is_of = |of: &&OfCall| of.proxy == proxy && of.dialogs.contains(call_id);
        self.calls.values().filter(is_of).map(|of| of.key.call).next_back()
    }
}

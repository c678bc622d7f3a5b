//! What `Front` ordered and was told, and what must hold of it at every moment.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallId, NodeNumber, Order, PeerName, Report, SegmentId};
use sip::SessionId;

use crate::node::Node;

/// See the module.
#[derive(Default)]
pub(crate) struct Ledger {
    segments: BTreeMap<SegmentId, Known>,
    calls: BTreeMap<SessionId, CallId>,
    pub(crate) dialogs: BTreeMap<SessionId, Dialog>,
    /// Copies of each segment, at most.
    pub(crate) copies: usize,
    /// Calls that were joined: their numbers are given anew.
    joined: BTreeSet<CallId>,
    /// Calls that are concluded, and in how many places they lie.
    pub(crate) concluded: BTreeMap<CallId, usize>,
}

/// A segment.
struct Known {
    /// In which order it was ordered.
    label: usize,
    call: CallId,
    number: u16,
    answer: Answer,
    /// Whether `Front` takes it to be live.
    is_live: bool,
    /// Where it lies, when it has ended.
    at: Option<NodeNumber>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Awaited,
    Opened,
    /// It never was.
    Never,
}

/// A dialog, as its client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Dialog {
    pub(crate) is_answered: bool,
    /// A request of the client waits for its answer.
    pub(crate) is_pending: bool,
    /// An offer of ours waits for its answer.
    pub(crate) is_offered: bool,
    pub(crate) is_over: bool,
}

impl Ledger {
    pub(crate) fn label(&self, segment: SegmentId) -> String {
        self.segments.get(&segment).map_or("S?".to_owned(), |known| format!("S{}", known.label))
    }

    pub(crate) fn call_of(&self, session: SessionId) -> CallId {
        self.calls[&session]
    }

    pub(crate) fn ordered(&mut self, order: &Order) {
        match order {
            Order::Open(open) => {
                for id in &open.data.sip_call_ids {
                    let session = id.trim_start_matches('s').trim_end_matches("@b").parse();
                    self.calls.insert(SessionId(session.expect("an id of this world")), open.call);
                }
                let label = self.segments.len() + 1;
                let (call, number) = (open.call, open.number);
                let known = Known { label, call, number, answer: Answer::Awaited, is_live: true, at: None };
                assert!(self.segments.insert(open.segment, known).is_none(), "an id is used twice");
            }
            Order::End { segment, .. } => self.known(*segment).is_live = false,
            Order::Join(join) => self.joined.extend([join.into.call, join.from.call]),
            Order::Conclude(conclusion) if conclusion.from.is_none() => {
                let of_call =
                    |known: &&Known| known.call == conclusion.call && known.answer == Answer::Opened;
                let of_call: Vec<&Known> = self.segments.values().filter(of_call).collect();
                if self.joined.contains(&conclusion.call) {
                    return;
                }
                let mut numbers: Vec<u16> = of_call.iter().map(|known| known.number).collect();
                numbers.sort_unstable();
                assert!(
                    numbers.iter().copied().eq(1..=conclusion.total),
                    "holes in {numbers:?} of {conclusion:?}"
                );
                let places: BTreeSet<Option<NodeNumber>> = of_call.iter().map(|known| known.at).collect();
                assert!(!places.contains(&None), "one has not ended");
                let has_state = places.len() == 1 && self.copies < 2;
                assert_eq!(conclusion.state.is_some(), has_state, "{places:?} of {conclusion:?}");
                self.concluded.insert(conclusion.call, places.len());
            }
            _ => {}
        }
    }

    pub(crate) fn reported(&mut self, report: &Report, out: &str) {
        match report {
            Report::Opened { segment, .. } => self.answered_by(*segment, Answer::Opened, out),
            Report::Refused { segment, .. } if self.known(*segment).answer == Answer::Opened => {}
            Report::Refused { segment, .. } | Report::Withdrawn { segment } => {
                self.answered_by(*segment, Answer::Never, out);
            }
            Report::Failing { segment, .. } => {
                self.answered_by(*segment, Answer::Opened, out);
                self.known(*segment).is_live = false;
            }
            Report::Ended { record } => {
                self.answered_by(record.id, Answer::Opened, out);
                let known = self.known(record.id);
                assert_eq!(known.at.replace(record.node), None, "it ended twice:\n{out}");
                known.is_live = false;
            }
            Report::MediaTimedOut { .. } | Report::CarriedOut { .. } => {}
        }
    }

    pub(crate) fn unanswered(&mut self, segment: SegmentId, out: &str) {
        self.answered_by(segment, Answer::Never, out);
    }

    /// Each order to open is answered once. What is opened may be told of again, when its streams change.
    fn answered_by(&mut self, segment: SegmentId, answer: Answer, out: &str) {
        let known = self.known(segment);
        let is_again = known.answer == Answer::Opened && answer == Answer::Opened;
        assert!(known.answer == Answer::Awaited || is_again, "S{} is answered twice:\n{out}", known.label);
        known.answer = answer;
        known.is_live &= answer == Answer::Opened;
    }

    fn known(&mut self, segment: SegmentId) -> &mut Known {
        self.segments.get_mut(&segment).expect("one that was ordered")
    }

    /// What `Front` takes to be live is live at one record server that is reached, and nowhere else.
    pub(crate) fn check(&self, nodes: &BTreeMap<PeerName, Node>, out: &str) {
        for (segment, known) in &self.segments {
            if known.is_live && known.answer == Answer::Opened {
                let places = nodes.values().filter(|node| node.live.contains_key(segment));
                let linked: Vec<bool> = places.map(|node| node.is_linked).collect();
                let reached = linked.iter().filter(|linked| **linked).count();
                // A copy that is given up goes on at one that is not reached, until that returns.
                let is_right = if self.copies == 2 { (1..=2).contains(&reached) } else { linked == [true] };
                assert!(is_right, "S{} is taken to be live, at {linked:?}:\n{out}", known.label);
            }
        }
    }

    /// What `Front` takes to be live.
    pub(crate) fn live(&self) -> BTreeSet<SegmentId> {
        let live = self.segments.iter().filter(|(_, known)| known.is_live && known.answer == Answer::Opened);
        live.map(|(segment, _)| *segment).collect()
    }

    /// Whether every order to open has been answered, and every segment has ended.
    pub(crate) fn is_settled(&self) -> bool {
        self.segments.values().all(|known| match known.answer {
            Answer::Awaited => false,
            Answer::Opened => known.at.is_some(),
            Answer::Never => true,
        })
    }

    pub(crate) fn answered(&mut self, session: SessionId) {
        let dialog = self.dialogs.entry(session).or_default();
        (dialog.is_answered, dialog.is_pending) = (true, false);
    }

    pub(crate) fn refused(&mut self, session: SessionId) {
        let dialog = self.dialogs.entry(session).or_default();
        dialog.is_pending = false;
        dialog.is_over |= !dialog.is_answered;
    }

    pub(crate) fn offered(&mut self, session: SessionId) {
        self.dialogs.entry(session).or_default().is_offered = true;
    }

    pub(crate) fn hung_up(&mut self, session: SessionId) {
        self.dialogs.entry(session).or_default().is_over = true;
    }
}

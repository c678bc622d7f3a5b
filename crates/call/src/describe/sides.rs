//! Whose voice is in which stream, by what the metadata of a dialog say together.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallData, Side};
use sip::siprec::{Lack, Participant, RecordingMetadata, SessionState, StreamMode, View};

use super::agent::AgentSide;
use super::headers::Placed;

/// Labels remembered of a dialog: four times the m-lines that are taken.
const LABELS_MAX: usize = 64;

/// Where an m-line stands in a description.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Among all m-lines.
    pub(crate) slot: usize,
    /// Among those that are taken, or were.
    pub(crate) among: usize,
    /// How many those are.
    pub(crate) total: usize,
    /// Among those of its kind that are taken, or were.
    pub(crate) index: usize,
    /// How many those are.
    pub(crate) count: usize,
}

/// What the metadata of a dialog have told, and the sides of its streams by it; without them by place.
#[derive(Debug)]
pub(crate) struct KnownSides {
    agent: AgentSide,
    view: View,
    by_label: BTreeMap<String, Side>,
    /// In the order in which the metadata list the streams.
    by_place: Vec<Side>,
    /// By m-line, where headers say who is on it.
    by_line: BTreeMap<usize, Side>,
    /// The side of all streams, where the whole dialog is of one.
    whole: Option<Side>,
}

impl KnownSides {
    pub(crate) const fn new(agent: AgentSide) -> Self {
        Self {
            agent,
            view: View::new(),
            by_label: BTreeMap::new(),
            by_place: Vec::new(),
            by_line: BTreeMap::new(),
            whole: None,
        }
    }

    pub(super) const fn agent(&self) -> &AgentSide {
        &self.agent
    }

    /// All metadata of the dialog together.
    pub(super) const fn known(&self) -> &RecordingMetadata {
        self.view.known()
    }

    /// The ids of the participants.
    pub(super) fn participants(&self) -> Vec<String> {
        self.known().participants.iter().map(|p| p.id.clone()).collect()
    }

    /// Whether the client said that the recording goes on, or not.
    pub(crate) const fn state(&self) -> Option<SessionState> {
        self.view.known().state
    }

    /// Takes a document.
    pub(super) fn take(&mut self, read: RecordingMetadata) -> Option<Lack> {
        self.view.take(read)
    }

    /// Learns from what is known: a stream is on the side of the participant that sends it.
    pub(super) fn learn(&mut self, data: &mut CallData) {
        self.settle_by_label(data);
        let known = self.view.known();
        let mut by_place = Vec::new();
        for stream in known.streams.iter().take(LABELS_MAX) {
            let mut senders = known.senders(&stream.id);
            let side = match (stream.mode, senders.next(), senders.next()) {
                (Some(StreamMode::Mixed), ..) | (_, Some(_), Some(_)) => Some(Side::Mixed),
                (_, Some(one), None) => Some(side_of(data, one)),
                (_, None, _) => None,
            };
            by_place.push(side.unwrap_or_default());
            // A stream that nobody sends is on hold: whose it is stays known.
            if let (Some(label), Some(side)) = (stream.label.clone(), side)
                && (self.by_label.len() < LABELS_MAX || self.by_label.contains_key(&label))
            {
                self.by_label.insert(label, side);
            }
        }
        self.by_place = by_place;
    }

    /// A line is on the side of the party that headers put there; on both where it is of several.
    pub(super) fn seat(&mut self, placed: &[Placed], data: &CallData) {
        if !placed.is_empty() {
            self.by_line.clear();
        }
        for one in placed {
            let known =
                data.parties.iter().find(|p| p.uri == one.party.uri).map_or(Side::Unknown, |p| p.side);
            for line in &one.lines {
                self.by_line.entry(*line).and_modify(|side| *side = Side::Mixed).or_insert(known);
            }
        }
    }

    /// Where the label says who the agent is, it says so of the participant that sends the stream too.
    fn settle_by_label(&self, data: &mut CallData) {
        let AgentSide::Label(agent) = &self.agent else { return };
        let known = self.view.known();
        for stream in &known.streams {
            let side = if stream.label.as_ref() == Some(agent) { Side::Agent } else { Side::External };
            for sender in known.senders(&stream.id) {
                let party = data.parties.iter_mut().find(|p| p.participant.as_ref() == Some(&sender.id));
                party.into_iter().for_each(|party| party.side = side);
            }
        }
    }

    /// The whole dialog brings the voice of one side.
    pub(crate) const fn set_whole(&mut self, side: Side) {
        self.whole = Some(side);
    }

    /// Of a dialog that another front had, this line was on this side.
    pub(crate) fn place(&mut self, line: usize, side: Side) {
        if self.by_line.len() < LABELS_MAX {
            self.by_line.insert(line, side);
        }
    }

    /// The side of a dialog of which nothing but its client is known: of both, where it brings not one alone.
    pub(crate) fn presumed(&self) -> Side {
        self.whole.unwrap_or(Side::Mixed)
    }

    /// The side of the stream with this label, or on the m-line in this place.
    pub(crate) fn side(&self, label: Option<&str>, place: Place) -> Side {
        if let Some(side) = self.whole {
            return side;
        }
        let Place { slot, among, total, index, count } = place;
        let told =
            self.by_place.get(among).filter(|side| self.by_place.len() == total && **side != Side::Unknown);
        let known = label.and_then(|l| self.by_label.get(l)).or_else(|| self.by_line.get(&slot));
        match (known, told, &self.agent) {
            (Some(side), ..) => *side,
            (None, _, _) if count <= 1 => Side::Mixed,
            (None, _, AgentSide::Label(agent)) if label.is_some() => {
                if label == Some(agent) {
                    Side::Agent
                } else {
                    Side::External
                }
            }
            // Labels are missing on the wire, or are others than in the metadata.
            (None, Some(side), _) => *side,
            (None, None, agent) => match (agent.at(index), self.only_side()) {
                // One line of two is told of: the other one is of the other side.
                (_, Some(Side::Agent)) if count == 2 => Side::External,
                (_, Some(Side::External)) if count == 2 => Side::Agent,
                (side, _) => side,
            },
        }
    }

    /// The side of all labels that are told of, where it is one.
    fn only_side(&self) -> Option<Side> {
        let mut sides = self.by_label.values().copied();
        let first = sides.next()?;
        sides.all(|side| side == first).then_some(first)
    }
}

fn side_of(data: &CallData, sender: &Participant) -> Side {
    let party = data.parties.iter().find(|p| p.participant.as_ref() == Some(&sender.id));
    party.map_or(Side::Unknown, |p| p.side)
}

/// Who sends a stream that there is, gathered once: asked of each participant, it would cost the product of all lists.
pub(super) fn senders(known: &RecordingMetadata) -> BTreeSet<&str> {
    let streams: BTreeSet<&str> = known.streams.iter().map(|s| s.id.as_str()).collect();
    let current = known.stream_associations.iter().filter(|a| a.disassociated.is_none());
    let sending = current.filter(|a| a.sends.iter().any(|id| streams.contains(id.as_str())));
    sending.map(|a| a.participant.as_str()).filter(|id| !known.has_left(id)).collect()
}

/// Whether a participant stands for nobody: it has neither address nor name, or is called a dummy, and sends
/// nothing.
pub(super) fn is_dummy(senders: &BTreeSet<&str>, participant: &Participant) -> bool {
    let sends = senders.contains(participant.id.as_str());
    let is_nobody = participant.aors.iter().all(|(uri, name)| uri.is_empty() && name.is_none());
    let says_dummy = |text: &str| text.to_ascii_lowercase().contains("dummy");
    let is_called = says_dummy(&participant.id)
        || participant
            .aors
            .iter()
            .any(|(uri, name)| says_dummy(uri) || name.as_deref().is_some_and(says_dummy));
    !sends && (is_nobody || is_called)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_by_label_and_by_place() {
        let at = |index, count| Place { slot: index, among: index, total: count, index, count };
        let known = KnownSides::new(AgentSide::Label("2".into()));
        let sides = (known.side(Some("1"), at(0, 2)), known.side(Some("2"), at(1, 2)));
        assert_eq!(sides, (Side::External, Side::Agent));
        let known = KnownSides::new(AgentSide::Second);
        let sides = (known.side(None, at(0, 2)), known.side(None, at(1, 2)));
        assert_eq!(sides, (Side::External, Side::Agent));
        assert_eq!(known.side(None, at(0, 1)), Side::Mixed);
    }
}

//! Who of a call is the agent and who is external, corrected by a person.
//!
//! Manifests keep what was taken for true when the call was recorded. A [`Correction`] stands in the call's log and is
//! applied whenever the call is read: to its streams (left and right), its parties and its direction. The newest counts,
//! older ones stay as history. Of calls that are one each segment has what was said of the call that it was recorded as,
//! and one that began after the join what was said last of any of them ([`concerned`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::call::{CallData, Direction};
use crate::id::{CallId, StreamId};
use crate::join::{Join, connected};
use crate::segment::SegmentRecord;
use crate::stream::Side;
use crate::time::WallTime;

/// Streams whose side is said one by one: as many as a call of many segments has, and as a person would go through.
pub const STREAMS_MAX: usize = 64;

/// How the sides of a call differ from what was recorded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sides {
    /// Agent and external were taken for each other: in all segments, those that come later included.
    pub swapped: bool,
    /// Whose voice single streams carry, whatever `swapped` says. At most [`STREAMS_MAX`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamId, Side>,
}

impl Sides {
    /// Whether nothing differs.
    #[must_use]
    pub fn are_as_recorded(&self) -> bool {
        !self.swapped && self.streams.is_empty()
    }

    /// Whose voice a stream carries that was recorded as this side's.
    #[must_use]
    pub fn of(&self, stream: StreamId, recorded: Side) -> Side {
        self.streams.get(&stream).copied().unwrap_or(if self.swapped { recorded.other() } else { recorded })
    }

    /// Corrects what a manifest says.
    pub fn correct(&self, record: &mut SegmentRecord) {
        for stream in &mut record.streams {
            stream.side = self.of(stream.id, stream.side);
        }
        self.correct_data(&mut record.data);
    }

    /// Corrects what is known of a call: which parties are agents, and with it which way the call went.
    pub fn correct_data(&self, data: &mut CallData) {
        if !self.swapped {
            return;
        }
        for party in &mut data.parties {
            party.side = party.side.other();
        }
        data.direction = match data.direction {
            Direction::Incoming => Direction::Outgoing,
            Direction::Outgoing => Direction::Incoming,
            Direction::Unknown => Direction::Unknown,
        };
    }

    /// A phrase for lists: `swapped, 2 streams`.
    #[must_use]
    pub fn describe(&self) -> String {
        let swapped = self.swapped.then(|| "swapped".to_owned());
        let streams = match self.streams.len() {
            0 => None,
            1 => Some("1 stream".to_owned()),
            n => Some(format!("{n} streams")),
        };
        let said: Vec<String> = swapped.into_iter().chain(streams).collect();
        if said.is_empty() { "as recorded".to_owned() } else { said.join(", ") }
    }
}

/// The calls whose corrections count for a segment that was recorded as one of them: itself, and those that were known to
/// be one with it when the segment began.
///
/// So what a person said of a call before it was joined stays with what was recorded of it, and counts for what is
/// recorded of the whole call from then on. Of several corrections the newest counts.
#[must_use]
pub fn concerned<'a>(
    recorded_as: CallId,
    began: WallTime,
    joins: impl IntoIterator<Item = &'a Join>,
) -> BTreeSet<CallId> {
    connected(recorded_as, joins.into_iter().filter(|join| join.at <= began))
}

/// A person said who is agent and who is external.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Correction {
    /// The calls that it is of: one, or those that are one. It is of segments that were recorded as theirs.
    pub calls: Vec<CallId>,
    /// What held before.
    pub from: Sides,
    /// What holds now.
    pub to: Sides,
    /// When it was said.
    pub at: WallTime,
    /// Who said it.
    pub by: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_of_all_streams_but_those_that_are_named() {
        let named = StreamId::from_u64(2);
        let sides = Sides { swapped: true, streams: BTreeMap::from([(named, Side::Agent)]) };
        let other = StreamId::from_u64(1);
        for (stream, recorded, is) in [
            (other, Side::Agent, Side::External),
            (other, Side::External, Side::Agent),
            (other, Side::Mixed, Side::Mixed),
            (other, Side::Unknown, Side::Unknown),
            (named, Side::Agent, Side::Agent),
            (named, Side::Unknown, Side::Agent),
        ] {
            assert_eq!(sides.of(stream, recorded), is, "{stream} {recorded:?}");
        }
        assert_eq!(sides.describe(), "swapped, 1 stream");
        assert!(Sides::default().are_as_recorded() && !sides.are_as_recorded());
    }

    #[test]
    fn a_swap_turns_the_direction_and_a_second_one_turns_it_back() {
        let swap = Sides { swapped: true, ..Sides::default() };
        let before = CallData { direction: Direction::Incoming, ..CallData::default() };
        let mut data = before.clone();
        swap.correct_data(&mut data);
        assert_eq!(data.direction, Direction::Outgoing);
        swap.correct_data(&mut data);
        assert_eq!(data, before);
    }

    #[test]
    fn it_reads_as_it_is_written() {
        let sides: Sides = serde_json::from_str("{}").unwrap();
        assert!(sides.are_as_recorded());
        let text = r#"{"swapped":true,"streams":{"0000000000002":"agent"}}"#;
        let sides: Sides = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&sides).unwrap(), text);
        assert!(serde_json::from_str::<Sides>(r#"{"swaped":true}"#).is_err());
    }
}

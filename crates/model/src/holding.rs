//! What nodes tell each other of the copies that they hold, and ask of each other, so that the segments of a call come
//! to lie on one of them.
//!
//! These are plain data: the link between nodes carries them, `spool::gathering` decides by them. Paths are never said:
//! a directory is named by its call, a file by its name, and both are checked by whoever is told.

use serde::{Deserialize, Serialize};

use crate::id::{NodeNumber, SegmentId};
use crate::join::CallKey;
use crate::name::VolumeName;
use crate::state::{RecordingState, Respondent};

/// Which of two copies of a segment lies in a directory, where [two record servers](crate::OpenSegment) recorded it at the
/// same time and both copies lie at one node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// The one copy, or the first of two: in the call's directory.
    #[default]
    First,
    /// The other one: in a directory of its own below that.
    Twin,
}

impl Rank {
    /// Whether it lies in the call's directory.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        matches!(self, Self::First)
    }
}

/// A directory of a call on a volume of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The call whose directory it is: the one as which its segments were recorded, which may have turned out to be
    /// another since.
    pub of: CallKey,
    /// The volume.
    pub volume: VolumeName,
    /// Which of the two directories of that call.
    #[serde(default, skip_serializing_if = "Rank::is_first")]
    pub rank: Rank,
}

/// A file of a segment, as it was sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldFile {
    /// Its name, beside the manifest.
    pub name: String,
    /// Its length in octets.
    pub octets: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A copy of a segment at a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Holding {
    /// The segment.
    pub segment: SegmentId,
    /// Its number in the call, of calls that are one in the one that survives.
    pub number: u16,
    /// The node that recorded it.
    pub node: NodeNumber,
    /// Whether it answers a failure.
    #[serde(default)]
    pub respondent: Respondent,
    /// The state that it ended in, as its manifest says; none while it is live or not repaired yet.
    pub ended_as: Option<RecordingState>,
    /// The state of this copy now.
    pub state: RecordingState,
    /// Its files once it is sealed, the manifest first.
    #[serde(default)]
    pub files: Vec<HeldFile>,
}

impl Holding {
    /// The digest of its manifest, which has the digests of all other files: two copies with the same are the same. None
    /// while it is not sealed.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.ended_as.and(self.files.first()).map(|manifest| manifest.sha256.as_str())
    }

    /// Octets of all its files.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.octets))
    }

    /// Whether it is there to stay: it is not given up for a copy elsewhere.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.state.is_segment()
    }
}

/// What lies in a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldDirectory {
    /// Which.
    pub place: Place,
    /// The copies there.
    pub copies: Vec<Holding>,
}

/// Whether somebody who is linked with a node, or may yet take it from there, has a call: then that one says how it came out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Care {
    /// It is not known. What is not said by a node of an older version.
    #[default]
    Unsaid,
    /// Somebody has it.
    Somebody,
    /// As far as the node knows nobody has it, and nobody can get it from there.
    Nobody,
}

/// What a node holds of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallHoldings {
    /// The call; of calls that are one the one that survives.
    pub call: CallKey,
    /// The corrected total, once the call is known there to have ended.
    pub ended: Option<u16>,
    /// The state of the call's own copy there, if it has one.
    pub state: Option<RecordingState>,
    /// Whether the call was ever gathered there. Others may have been told so and have given up their copies.
    pub gathered: bool,
    /// The highest total that a segment there was sealed with: so many were expected when it ended.
    #[serde(default)]
    pub expected: u16,
    /// Whether somebody has the call.
    #[serde(default)]
    pub care: Care,
    /// Its directories.
    pub directories: Vec<HeldDirectory>,
}

impl CallHoldings {
    /// Of a node that has nothing of the call.
    #[must_use]
    pub const fn nothing(call: CallKey) -> Self {
        Self {
            call,
            ended: None,
            state: None,
            gathered: false,
            expected: 0,
            care: Care::Unsaid,
            directories: Vec::new(),
        }
    }

    /// All copies, each with where it lies.
    pub fn copies(&self) -> impl Iterator<Item = (&Place, &Holding)> {
        self.directories.iter().flat_map(|d| d.copies.iter().map(|copy| (&d.place, copy)))
    }

    /// The copy of what a node recorded of a segment.
    #[must_use]
    pub fn copy(&self, segment: SegmentId, recorded_by: NodeNumber) -> Option<(&Place, &Holding)> {
        self.copies().find(|(_, copy)| copy.segment == segment && copy.node == recorded_by)
    }
}

/// The beginning of a call's log: what follows came later.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogMark {
    /// How long.
    pub octets: u64,
    /// SHA-256 of that in hexadecimal.
    pub sha256: String,
}

/// What a node asks of another. Each may be asked twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What is there of this call? Answered by `Held`.
    List {
        /// The call.
        call: CallKey,
    },
    /// These octets of a file of a segment, or of the call's log. Answered by `Octets`.
    Read {
        /// Where it lies.
        place: Place,
        /// The file's name.
        file: String,
        /// From where.
        offset: u64,
        /// How many: fewer are there at the file's end.
        length: u32,
    },
    /// Whoever asks holds all of these, durable and verified, in a call that is gathered there: they may be given up.
    /// Answered by `Deleted`.
    Delete {
        /// Where they lie.
        place: Place,
        /// The segments, each with the digest of its manifest.
        copies: Vec<(SegmentId, String)>,
        /// What of the log is there too.
        log: LogMark,
        /// What the call came to.
        state: RecordingState,
    },
}

/// What a node answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// This is there.
    Held {
        /// Octets that may still be written there.
        room: u64,
        /// What of the call.
        held: CallHoldings,
    },
    /// These octets.
    Octets {
        /// The octets. As JSON they would be four times as long: the link carries them beside it.
        #[serde(skip)]
        octets: Vec<u8>,
        /// Whether the file ends with them.
        is_end: bool,
    },
    /// The copies are given up: marked durably, or gone.
    Deleted,
    /// No.
    Declined(Declined),
}

/// Why not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why", content = "detail")]
pub enum Declined {
    /// Not now.
    Busy,
    /// There is no such thing here.
    Unknown,
    /// The disk did not give or take it.
    Disk(String),
    /// The call is gathered here too, and this is the one that stays.
    Kept,
    /// The copy here is another one.
    Differs,
    /// The segment is live here.
    Live,
    /// The log here says more by now.
    LogGrew,
    /// A copy in its state cannot be given up.
    Impossible(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CallId, TenantId};
    use crate::time::WallTime;

    fn round_trip<T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug>(what: &T) -> String {
        let text = serde_json::to_string(what).unwrap();
        assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), what);
        text
    }

    #[test]
    fn what_is_asked_and_answered_is_read_as_it_was_said() {
        let of =
            CallKey { call: CallId::from_u64(7), call_started: WallTime(0), tenant: TenantId::default() };
        let place = Place { of: of.clone(), volume: VolumeName::default(), rank: Rank::First };
        let twin = Place { rank: Rank::Twin, ..place.clone() };
        assert!(!round_trip(&place).contains("rank") && round_trip(&twin).contains("\"rank\":\"twin\""));
        let sha256 = "ab".repeat(32);
        let segment = SegmentId::from_u64(9);
        let files = vec![HeldFile { name: "001.json".to_owned(), octets: 5, sha256: sha256.clone() }];
        let node = NodeNumber::SINGLE;
        let (number, respondent, state) = (1, Respondent::No, RecordingState::Partial);
        let holding = Holding { segment, number, node, respondent, ended_as: Some(state), state, files };
        assert_eq!((holding.digest(), holding.octets()), (Some(sha256.as_str()), 5));
        let live = Holding { ended_as: None, state: RecordingState::Incomplete, ..holding.clone() };
        assert_eq!(live.digest(), None);
        let directories = vec![HeldDirectory { place: place.clone(), copies: vec![holding, live] }];
        let held = CallHoldings { ended: Some(2), directories, ..CallHoldings::nothing(of.clone()) };
        let old = serde_json::to_string(&held).unwrap();
        round_trip(&Answer::Held { room: 1, held: CallHoldings { care: Care::Nobody, expected: 3, ..held } });
        let old = old.replace("\"expected\":0,\"care\":\"unsaid\",", "");
        assert!(!old.contains("care"), "what an older version says");
        assert_eq!(serde_json::from_str::<CallHoldings>(&old).unwrap().care, Care::Unsaid);
        round_trip(&Request::List { call: of });
        let log = LogMark { octets: 0, sha256: sha256.clone() };
        let copies = vec![(segment, sha256)];
        let delete = Request::Delete { place, copies, log, state: RecordingState::Complete };
        assert!(round_trip(&delete).contains("\"state\":\"complete\""));
        round_trip(&Answer::Declined(Declined::Disk("full".to_owned())));
        // Octets go beside the JSON.
        let octets = serde_json::to_string(&Answer::Octets { octets: vec![1, 2], is_end: true }).unwrap();
        assert_eq!(octets, "{\"octets\":{\"is_end\":true}}");
    }
}

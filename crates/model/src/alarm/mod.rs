//! Alarms: what a person should know, and what to do about it.
//!
//! There are two kinds, told apart by type. An [`Incident`] happened once: a call was not recorded. A
//! [`Condition`] lasts: it is raised, and cleared when it is over. [`Alarms`] is the machine that makes them out
//! of what others observe, with hysteresis, merging and limits; [`Trend`] estimates when a disk is full.
//!
//! ```text
//!  Occurrence (incident) ─────────┐
//!  Seen::Bad, Between, Good ──────┼──► Alarms ──► Alarm: raised, counted, cleared
//!  time ──────────────────────────┘
//! ```

mod kind;
mod machine;
mod trend;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{CallId, NodeNumber, SegmentId, StreamId, TenantId};
use crate::time::WallTime;

pub use kind::{AlarmKind, Condition, Incident, Severity};
pub use machine::{About, AlarmRules, Alarms, Seen};
pub use trend::Trend;

/// Characters of a text or of a name in a subject, at most: a line of a log.
const TEXT_MAX: usize = 500;

/// What an alarm is about. Its text form names kind and thing: `volume:repository`, `segment:06jv3kq4g2n00`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Subject {
    /// A node as a whole.
    Node(NodeNumber),
    /// A volume of the repository, by its name.
    Volume(String),
    /// Where calls come from: a trunk by its name, or an address.
    Source(String),
    /// A call.
    Call(CallId),
    /// A segment.
    Segment(SegmentId),
    /// A stream.
    Stream(StreamId),
    /// A webhook, by its name.
    Webhook(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(n) => write!(f, "node:{}", n.get()),
            Self::Volume(name) => write!(f, "volume:{name}"),
            Self::Source(name) => write!(f, "source:{name}"),
            Self::Call(id) => write!(f, "call:{id}"),
            Self::Segment(id) => write!(f, "segment:{id}"),
            Self::Stream(id) => write!(f, "stream:{id}"),
            Self::Webhook(name) => write!(f, "webhook:{name}"),
        }
    }
}

/// Text that names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no subject of an alarm, such as node:0, volume:repository or call:06jv3kq4g2n00")]
pub struct SubjectParseError(String);

impl FromStr for Subject {
    type Err = SubjectParseError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || SubjectParseError(s.chars().take(80).collect());
        let (kind, name) = s.split_once(':').ok_or_else(bad)?;
        match kind {
            "node" => name.parse().ok().and_then(|n| NodeNumber::new(n).ok()).map(Self::Node).ok_or_else(bad),
            "volume" => Ok(Self::Volume(name.to_owned())),
            "source" => Ok(Self::Source(name.to_owned())),
            "call" => name.parse().map(Self::Call).map_err(|_| bad()),
            "segment" => name.parse().map(Self::Segment).map_err(|_| bad()),
            "stream" => name.parse().map(Self::Stream).map_err(|_| bad()),
            "webhook" => Ok(Self::Webhook(name.to_owned())),
            _ => Err(bad()),
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An incident as whoever noticed it tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Occurrence {
    /// The owner of what it happened to.
    pub tenant: TenantId,
    /// What happened.
    pub incident: Incident,
    /// The call, when one is affected.
    pub call: Option<CallId>,
    /// The segment, when one is affected.
    pub segment: Option<SegmentId>,
    /// What happened and what to do, in a sentence.
    pub text: String,
}

/// Something that a person should know: an incident, or a condition that was raised or cleared.
///
/// `kind`, `subject` and `raised` name it: telling the same again with a count or with `cleared` is news of the
/// same alarm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// The call, when one is affected.
    pub call: Option<CallId>,
    /// The segment, when one is affected.
    pub segment: Option<SegmentId>,
    /// When it happened, or began to be told.
    pub raised: WallTime,
    /// When a condition was over; none while it lasts, and for incidents.
    pub cleared: Option<WallTime>,
    /// How often: incidents that were merged, or how often the condition came back before it was cleared.
    pub count: u64,
    /// What is the case and what to do, in a sentence.
    pub text: String,
}

impl Alarm {
    /// Whether it is a condition that lasts.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        matches!(self.kind, AlarmKind::Condition(_)) && self.cleared.is_none()
    }
}

/// A text of bounded length.
fn short(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_round_trip_through_text() {
        let subjects = [
            Subject::Node(NodeNumber::SINGLE),
            Subject::Volume("main".to_owned()),
            Subject::Source("2001:db8::7".to_owned()),
            Subject::Call(CallId::from_u64(77)),
            Subject::Segment(SegmentId::from_u64(78)),
            Subject::Stream(StreamId::from_u64(79)),
            Subject::Webhook("ops".to_owned()),
        ];
        for subject in subjects {
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
        for bad in ["", "node", "node:1024", "call:x", "disk:main"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}

//! What a record server says of itself to the proxies that place calls on it: once when they meet, then ten times a
//! second.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{NodeNumber, SegmentId};
use crate::name::PeerName;
use crate::time::WallTime;

/// Something that a record server can run short of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Segments that are live or being closed.
    Recordings,
    /// File descriptors.
    Descriptors,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Free space on its volumes.
    DiskSpace,
    /// The time that its volumes take.
    DiskLatency,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Recordings, Self::Descriptors, Self::Cpu, Self::Memory, Self::DiskSpace, Self::DiskLatency];

    /// As an alarm says it.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Recordings => "recordings",
            Self::Descriptors => "descriptors",
            Self::Cpu => "processor time",
            Self::Memory => "memory",
            Self::DiskSpace => "disk space",
            Self::DiskLatency => "disk latency",
        }
    }
}

/// How much of a resource is in use, in thousandths of what may be: at 1,000 no new call is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u16);

impl Share {
    /// As much as may be in use.
    pub const FULL: Self = Self(1_000);
    /// Whatever is beyond it says no more: twice as much as may be.
    const MAX: u64 = 2_000;

    /// So much of so much. Of nothing all is in use.
    #[must_use]
    pub fn of(used: u64, allowed: u64) -> Self {
        let share = used.saturating_mul(u64::from(Self::FULL.0)).checked_div(allowed).unwrap_or(Self::MAX);
        Self(u16::try_from(share.min(Self::MAX)).unwrap_or(u16::MAX))
    }

    /// In thousandths.
    #[must_use]
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// What is left, in thousandths.
    #[must_use]
    pub const fn free(self) -> u16 {
        Self::FULL.0.saturating_sub(self.0)
    }
}

/// Which resources a record server has as much of in use as it may. One that was stays so until clearly less is in use, so
/// that calls are not taken and refused in turn.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Thresholds {
    over: BTreeSet<Resource>,
}

impl Thresholds {
    /// Below this it is taken to be free again: a tenth of all calls have to end first.
    const FREE_BELOW: Share = Share(900);

    /// What is in use now: those of which as much is as may be, in order. What is not watched any more is not over.
    pub fn look(&mut self, loads: &[(Resource, Share)]) -> Vec<Resource> {
        let was = std::mem::take(&mut self.over);
        let limit = |resource| if was.contains(resource) { Self::FREE_BELOW } else { Share::FULL };
        self.over = loads.iter().filter(|(of, share)| *share >= limit(of)).map(|(of, _)| *of).collect();
        self.over.iter().copied().collect()
    }
}

/// Whether a record server takes new calls.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It does.
    Taking,
    /// It has as much as it may have of these.
    Over(Vec<Resource>),
    /// An operator drains it.
    Draining,
    /// It cannot record, because of this.
    Failing(String),
}

/// How it is now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Beat {
    /// Grows by one with each.
    pub number: u64,
    /// What its clock says.
    pub at: WallTime,
    /// Segments that are live.
    pub recordings: u32,
    /// What is in use of each resource that it watches.
    pub loads: Vec<(Resource, Share)>,
    /// Whether it takes new calls.
    pub standing: Standing,
    /// How many orders have come by the link that this goes by; none where that is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<u64>,
}

impl Beat {
    /// What is left of the resource of which least is left, in thousandths.
    #[must_use]
    pub fn free(&self) -> u16 {
        self.loads.iter().map(|(_, share)| share.free()).min().unwrap_or(Share::FULL.0)
    }
}

/// What it says first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Its name.
    pub name: PeerName,
    /// Its number, which is in the ids that it gives.
    pub node: NodeNumber,
    /// Another one after each start.
    pub run: u64,
    /// Segments that are live by order of whom it speaks to.
    pub segments: Vec<SegmentId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_is_left_of_the_scarcest() {
        let loads = vec![(Resource::Cpu, Share::of(3, 10)), (Resource::Recordings, Share::of(750, 1_000))];
        let beat = Beat {
            number: 1,
            at: WallTime(0),
            recordings: 750,
            loads,
            standing: Standing::Taking,
            heard: None,
        };
        assert_eq!(beat.free(), 250);
        assert_eq!(Share::of(5, 0).thousandths(), 2_000);
        assert_eq!(Share::of(u64::MAX, 1).free(), 0);
    }

    #[test]
    fn what_was_too_much_is_until_clearly_less_is_in_use() {
        let mut thresholds = Thresholds::default();
        let mut look = |cpu: u64, disk: u64| {
            thresholds.look(&[
                (Resource::DiskSpace, Share::of(disk, 1_000)),
                (Resource::Cpu, Share::of(cpu, 1_000)),
            ])
        };
        assert_eq!(look(999, 999), []);
        assert_eq!(look(1_000, 999), [Resource::Cpu]);
        assert_eq!(look(900, 1_000), [Resource::Cpu, Resource::DiskSpace]);
        assert_eq!(look(899, 900), [Resource::DiskSpace]);
        assert_eq!(look(950, 950), [Resource::DiskSpace]);
        assert_eq!(thresholds.look(&[(Resource::Cpu, Share::of(950, 1_000))]), []);
    }
}

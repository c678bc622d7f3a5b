//! What is known of one call: what each node holds, as it said itself or the catalog did.
//!
//! What comes from another node is checked before it is believed: names that could lead elsewhere, digests that are none,
//! more than a call can have.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    CallHoldings, CallKey, HeldFile, Holding, Mono, NodeNumber, Outcome, Place, RecordingState, SegmentId,
    WallTime, copy, total,
};

use super::Lack;
use super::choice::Recorded;
use super::job::Job;
use super::left::Leaving;
use crate::layout::{self, ManifestPath};

/// Copies of a node in a call, at most: a call of a day with a hold each minute has 1,440.
const COPIES_MAX: usize = 4_096;
/// Files of a segment, at most: parts are numbered by 16 bits, and thousands of changes of codec are no call.
const FILES_MAX: usize = 4_096;
/// Octets of a file, at most: a year of what a port of 10 Gbit/s takes is no call either, and sums must not overflow.
const FILE_MAX: u64 = 1 << 48;

/// What a node recorded of a segment: the segment, and the node. Where two recorded it, each is brought together and given up by
/// itself.
pub(super) type Recording = (SegmentId, NodeNumber);

/// One call.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) key: CallKey,
    /// What each node holds, this one among them.
    pub(super) nodes: BTreeMap<NodeNumber, CallHoldings>,
    /// Nodes that said so themselves since they can be spoken to.
    pub(super) heard: BTreeSet<NodeNumber>,
    /// Who was asked what it holds, with which ticket, until when that is waited for.
    pub(super) listing: BTreeMap<NodeNumber, (u64, Mono)>,
    /// When all are asked again.
    pub(super) list_at: Mono,
    /// How often they were asked sooner than that, because a segment is live at one of them.
    pub(super) listed_soon: u32,
    /// Copies here whose files were read through and are what was sealed.
    pub(super) checked: BTreeSet<Recording>,
    /// Copies that are not what was sealed, each with where it lies.
    pub(super) spoiled: BTreeSet<(Recording, NodeNumber)>,
    /// Nodes that keep what they have, and said so.
    pub(super) keepers: BTreeSet<NodeNumber>,
    pub(super) job: Option<Job>,
    /// Whether anybody will say how it came out.
    pub(super) left: Leaving,
    /// It was concluded here while some could not be asked: it is kept in mind until they can.
    pub(super) was_left: bool,
    /// Since when it only waits.
    pub(super) waits_since: Option<Mono>,
    /// Until when it is at rest in mind, with copies at several nodes that all stay.
    pub(super) rests_until: Option<Mono>,
    /// When it is to be looked at, if a time is known.
    pub(super) due: Option<Mono>,
    pub(super) failures: u32,
    /// Nothing is tried before.
    pub(super) retry_at: Mono,
    pub(super) trouble: Option<String>,
    /// What a person was told of since it last went well.
    pub(super) told: BTreeSet<String>,
    /// Somebody wants it now, whatever the window.
    pub(super) is_wanted: bool,
    /// What is missing, each since when.
    pub(super) lacks: BTreeMap<Lack, WallTime>,
    /// Octets that were fetched and are no copies yet: the room that they take is room for this call.
    pub(super) fetched: u64,
}

/// What a node recorded of a segment, over all nodes.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) recorded: Recorded,
    /// The state that it ended in, if anybody knows.
    pub(super) ended_as: Option<RecordingState>,
    /// Where it is still being recorded.
    pub(super) live_at: Option<NodeNumber>,
    /// Sealed copies that are kept.
    pub(super) copies: BTreeMap<NodeNumber, (&'a Place, &'a Holding)>,
}

impl Segment<'_> {
    pub(super) fn octets(&self) -> u64 {
        self.copies.values().map(|(_, copy)| copy.octets()).max().unwrap_or(0)
    }

    /// Whether there are copies that are not the same.
    pub(super) fn differs(&self) -> bool {
        let mut all = self.copies.values().map(|(_, copy)| copy.digest());
        all.next().is_some_and(|first| all.any(|other| other != first))
    }

    /// Whether the copies at two nodes are sealed, and not the same: neither is given up for the other.
    pub(super) fn stays_apart(&self, a: NodeNumber, b: NodeNumber) -> bool {
        let digest = |node| self.copies.get(&node).and_then(|(_, copy)| copy.digest());
        matches!((digest(a), digest(b)), (Some(a), Some(b)) if a != b)
    }
}

impl Known {
    pub(super) fn new(key: CallKey) -> Self {
        Self {
            key,
            nodes: BTreeMap::new(),
            heard: BTreeSet::new(),
            listing: BTreeMap::new(),
            list_at: Mono::ZERO,
            listed_soon: 0,
            checked: BTreeSet::new(),
            spoiled: BTreeSet::new(),
            keepers: BTreeSet::new(),
            job: None,
            left: Leaving::No,
            was_left: false,
            waits_since: None,
            rests_until: None,
            due: None,
            failures: 0,
            retry_at: Mono::ZERO,
            trouble: None,
            told: BTreeSet::new(),
            is_wanted: false,
            lacks: BTreeMap::new(),
            fetched: 0,
        }
    }

    /// All that anybody recorded of segments.
    pub(super) fn segments(&self) -> BTreeMap<Recording, Segment<'_>> {
        let mut found: BTreeMap<Recording, Segment<'_>> = BTreeMap::new();
        for (node, held) in &self.nodes {
            for (place, copy) in held.copies() {
                let recorded = Recorded::new(copy.number, copy.segment, copy.node, copy.respondent);
                let fresh = Segment { recorded, ended_as: None, live_at: None, copies: BTreeMap::new() };
                let segment = found.entry((copy.segment, copy.node)).or_insert(fresh);
                segment.ended_as = segment.ended_as.max(copy.ended_as);
                match copy.digest() {
                    None => segment.live_at = Some(*node),
                    Some(_) if copy.is_kept() => _ = segment.copies.insert(*node, (place, copy)),
                    Some(_) => {}
                }
            }
        }
        found
    }

    /// The call's total, once it is known to have ended. A segment beyond it is one all the same.
    pub(super) fn total(&self, segments: &BTreeMap<Recording, Segment<'_>>) -> Option<u16> {
        let ended = self.nodes.values().filter_map(|held| held.ended).max()?;
        Some(ended.max(segments.values().map(|s| s.recorded.number).max().unwrap_or(0)))
    }

    /// What the call comes to when all of these are gathered. What two nodes recorded ended as the one that ended best.
    pub(super) fn outcome(segments: &BTreeMap<Recording, Segment<'_>>) -> Option<Outcome> {
        let mut ended: BTreeMap<SegmentId, Vec<RecordingState>> = BTreeMap::new();
        for ((segment, _), recorded) in segments {
            ended.entry(*segment).or_default().push(recorded.ended_as?);
        }
        let states: Option<Vec<_>> = ended.into_values().map(copy::ended_best).collect();
        copy::gathered_outcome(&states?)
    }

    /// Whether the numbers from 1 to the total are there.
    pub(super) fn missing(segments: &BTreeMap<Recording, Segment<'_>>, total: u16) -> Vec<u16> {
        let numbers: BTreeSet<u16> = segments.values().map(|s| s.recorded.number).collect();
        if total::is_gathered(numbers.iter().copied(), total) {
            return Vec::new();
        }
        (1..=total.max(1)).filter(|n| !numbers.contains(n)).collect()
    }

    /// What a node holds.
    pub(super) fn at(&self, node: NodeNumber) -> Option<&CallHoldings> {
        self.nodes.get(&node)
    }

    /// To change what this node holds.
    pub(super) fn own_mut(&mut self, node: NodeNumber) -> &mut CallHoldings {
        let key = self.key.clone();
        self.nodes.entry(node).or_insert_with(|| CallHoldings::nothing(key))
    }

    /// Takes in what this node holds, by its disk. What was decided since the disk was read stands: a copy that was given
    /// up stays so, and a call that was gathered was.
    pub(super) fn take_own(&mut self, node: NodeNumber, mut held: CallHoldings) {
        if let Some(before) = self.nodes.get(&node) {
            held.gathered |= before.gathered;
            for directory in &mut held.directories {
                for copy in &mut directory.copies {
                    let was = before.copy(copy.segment, copy.node).map(|(_, copy)| copy.state);
                    if let Some(state) = was.filter(|state| !state.is_segment()) {
                        copy.state = state;
                    }
                }
            }
            if self.job.is_some() {
                held.state = before.state.or(held.state);
            }
        }
        self.nodes.insert(node, held);
        if let Leaving::Asking { has_looked, .. } = &mut self.left {
            *has_looked = true;
        }
    }
}

/// Whether what a node says that it holds can be so.
pub(super) fn is_sound(held: &CallHoldings) -> bool {
    held.copies().take(COPIES_MAX + 1).count() <= COPIES_MAX
        && held.directories.len() <= COPIES_MAX
        && held.directories.iter().all(|d| d.place.of.tenant == held.call.tenant)
        && held.copies().all(|(place, copy)| is_sound_copy(place, copy))
}

fn is_sound_copy(place: &Place, copy: &Holding) -> bool {
    let is_ended = copy.ended_as.is_some_and(|state| state.is_segment() && state.outcome().is_some());
    let Some((manifest, rest)) = copy.files.split_first() else { return copy.ended_as.is_none() };
    let path = format!("{}/{}", super::logs::directory_of(&place.of), manifest.name);
    let Ok(path) = ManifestPath::parse(&path) else { return false };
    let names: BTreeSet<&str> = rest.iter().map(|f| f.name.as_str()).collect();
    let is_of_it = |f: &HeldFile| {
        layout::part_number(&path.stem, &f.name).is_some() || f.name == layout::sidecar_name(&path.stem)
    };
    is_ended
        && copy.number > 0
        && rest.len() < FILES_MAX
        && names.len() == rest.len()
        && rest.iter().all(is_of_it)
        && copy.files.iter().all(is_sound_file)
}

fn is_sound_file(file: &HeldFile) -> bool {
    let is_digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    file.octets <= FILE_MAX && file.sha256.len() == 64 && file.sha256.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::state::Respondent;
    use model::{HeldDirectory, Rank, TenantId, VolumeName};

    fn key() -> CallKey {
        let call = model::CallId::from_u64(4_000);
        CallKey { call, call_started: crate::fixture::START, tenant: TenantId::default() }
    }

    fn holding(name: &str) -> Holding {
        let file = |name: &str| HeldFile { name: name.to_owned(), octets: 1, sha256: "0a".repeat(32) };
        Holding {
            segment: SegmentId::from_u64(1),
            number: 1,
            node: NodeNumber::SINGLE,
            respondent: Respondent::No,
            ended_as: Some(RecordingState::Partial),
            state: RecordingState::Partial,
            files: vec![file("001.json"), file(name)],
        }
    }

    fn holds(copies: Vec<Holding>) -> CallHoldings {
        let place = Place { of: key(), volume: VolumeName::default(), rank: Rank::First };
        CallHoldings { directories: vec![HeldDirectory { place, copies }], ..CallHoldings::nothing(key()) }
    }

    #[test]
    fn what_leads_elsewhere_or_cannot_be_is_not_believed() {
        for (name, sound) in [
            ("001-1.mka", true),
            ("001.pcap", true),
            ("001.json", false),
            ("002-1.mka", false),
            ("../001-1.mka", false),
            ("call.log", false),
            ("", false),
        ] {
            assert_eq!(is_sound(&holds(vec![holding(name)])), sound, "{name}");
        }
        let good = holding("001.pcap");
        let check = |change: fn(&mut Holding)| {
            let mut copy = good.clone();
            change(&mut copy);
            is_sound(&holds(vec![copy]))
        };
        assert!(check(|_| {}));
        assert!(check(|c| (c.files, c.ended_as, c.state) = (Vec::new(), None, RecordingState::Incomplete)));
        assert!(!check(|c| c.files[1].name = "001.json".to_owned()));
        assert!(!check(|c| c.files[0].name = "../x/001.json".to_owned()));
        assert!(!check(|c| c.files[0].sha256 = "0A".repeat(32)));
        assert!(!check(|c| c.files[0].octets = u64::MAX));
        assert!(!check(|c| c.ended_as = Some(RecordingState::Incomplete)));
        assert!(!check(|c| c.ended_as = Some(RecordingState::Complete)));
        assert!(!check(|c| c.number = 0));
        assert!(!check(|c| c.files.clear()));
        assert!(!is_sound(&holds(vec![good.clone(); COPIES_MAX + 1])));
        let mut other = holds(vec![good]);
        other.call.tenant = "acme".parse().unwrap();
        assert!(!is_sound(&other));
    }

    #[test]
    fn what_was_decided_stands_whatever_the_disk_said_before() {
        let (node, mut known) = (NodeNumber::SINGLE, Known::new(key()));
        let gone = Holding { state: RecordingState::Delete, ..holding("001.pcap") };
        known.take_own(node, CallHoldings { gathered: true, ..holds(vec![gone]) });
        known.take_own(node, holds(vec![holding("001.pcap")]));
        let own = known.at(node).unwrap();
        assert!(own.gathered);
        assert_eq!(
            own.copy(SegmentId::from_u64(1), NodeNumber::SINGLE).unwrap().1.state,
            RecordingState::Delete
        );
    }
}

//! Playing a call from wherever its segments lie: which are read here, which are fetched from which node, and which are
//! missing, and why.
//!
//! Nothing is moved, pinned or given up by this: what is fetched to be played is a copy that nobody counts. What nodes say
//! is checked as when they are [gathered](super). A copy that is given up or deleted is played by nobody, and one that is live
//! has no files that could be checked yet.

use std::collections::{BTreeMap, BTreeSet};

use model::{CallHoldings, CallId, CallKey, HeldFile, Holding, NodeNumber, Place, SegmentId};

use super::fetch::manifest_of;
use super::known::is_sound;
use crate::digest;
use crate::manifest::Manifest;

/// Numbers that are told to be missing: a call of a day with a hold each minute lacks no more, and a total that a node made up
/// is not worth a list.
const NUMBERS_MAX: usize = 1_440;

/// What of a call is here.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Here {
    /// Segments that are read here, each with its number: kept, or live.
    pub segments: BTreeMap<SegmentId, u16>,
    /// How many segments the call has, as far as is known here.
    pub total: u16,
}

/// A segment that is fetched to be played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Borrowed {
    /// From where.
    pub from: NodeNumber,
    /// Where it lies there.
    pub place: Place,
    /// What.
    pub copy: Holding,
}

/// A segment that cannot be played.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Absent {
    /// It is being recorded at this node, or not repaired yet after a crash.
    Live(u16, SegmentId, NodeNumber),
    /// This node had it when it could be asked last.
    At(u16, SegmentId, NodeNumber),
    /// This node has given it up, or it was deleted there.
    GivenUp(u16, SegmentId, NodeNumber),
    /// No node that could be asked has the segment of this number.
    Nowhere(u16),
}

/// From where a call is played.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Across {
    /// What is fetched, in the order in which it is heard. Of copies that differ each stands here, the longest first: the
    /// next one is for when that cannot be had.
    pub borrowed: Vec<Vec<Borrowed>>,
    /// What is missing, in the order of numbers.
    pub absent: BTreeSet<Absent>,
}

/// Whether what a node says of a call can be so.
#[must_use]
pub fn is_believed(asked: &CallKey, held: &CallHoldings) -> bool {
    held.call.tenant == asked.tenant && is_sound(held)
}

/// From where a call is played: `said` is what nodes that can be asked hold, `before` what those held that can not any more.
#[must_use]
pub fn across(
    here: &Here,
    said: &BTreeMap<NodeNumber, CallHoldings>,
    before: &BTreeMap<NodeNumber, CallHoldings>,
) -> Across {
    let mut found: BTreeMap<(u16, SegmentId), Vec<Borrowed>> = BTreeMap::new();
    let mut lacking: BTreeMap<SegmentId, Absent> = BTreeMap::new();
    for (from, place, copy) in copies(said).filter(|(.., copy)| !here.segments.contains_key(&copy.segment)) {
        let (number, segment) = (copy.number, copy.segment);
        if copy.digest().is_some() && copy.is_kept() {
            let one = Borrowed { from, place: place.clone(), copy: copy.clone() };
            found.entry((number, segment)).or_default().push(one);
        } else {
            let why = if copy.is_kept() { Absent::Live } else { Absent::GivenUp };
            // That it is live is better news than that somebody gave it up.
            let absent = why(number, segment, from);
            let worst = lacking.entry(segment).or_insert_with(|| absent.clone());
            if absent < *worst {
                *worst = absent;
            }
        }
    }
    for (from, _, copy) in copies(before).filter(|(.., copy)| copy.is_kept()) {
        let at = Absent::At(copy.number, copy.segment, from);
        // Who is away may have what others gave up for it.
        if !matches!(lacking.get(&copy.segment), Some(Absent::Live(..))) {
            lacking.insert(copy.segment, at);
        }
    }
    let is_found = |segment: &SegmentId| {
        here.segments.contains_key(segment) || found.keys().any(|(_, found)| found == segment)
    };
    let mut absent: BTreeSet<Absent> =
        lacking.into_iter().filter(|(segment, _)| !is_found(segment)).map(|(_, absent)| absent).collect();
    let there = here.segments.values().copied().chain(found.keys().map(|(number, _)| *number));
    let spoken_of: BTreeSet<u16> = there.chain(absent.iter().map(Absent::number)).collect();
    let ended = said.values().filter_map(|held| held.ended).max().unwrap_or(0);
    let total = here.total.max(ended);
    let nowhere = (1..=total).filter(|n| !spoken_of.contains(n)).take(NUMBERS_MAX);
    absent.extend(nowhere.map(Absent::Nowhere));
    let mut borrowed: Vec<Vec<Borrowed>> = found.into_values().collect();
    for copies in &mut borrowed {
        copies.sort_by_key(|one| (std::cmp::Reverse(one.copy.octets()), one.from));
    }
    Across { borrowed, absent }
}

fn copies(of: &BTreeMap<NodeNumber, CallHoldings>) -> impl Iterator<Item = (NodeNumber, &Place, &Holding)> {
    of.iter().flat_map(|(node, held)| held.copies().map(|(place, copy)| (*node, place, copy)))
}

impl Absent {
    /// The number of the segment.
    #[must_use]
    pub const fn number(&self) -> u16 {
        match self {
            Self::Live(number, ..)
            | Self::At(number, ..)
            | Self::GivenUp(number, ..)
            | Self::Nowhere(number) => *number,
        }
    }

    /// The segment, where it is known which.
    #[must_use]
    pub const fn segment(&self) -> Option<SegmentId> {
        match self {
            Self::Live(_, segment, _) | Self::At(_, segment, _) | Self::GivenUp(_, segment, _) => {
                Some(*segment)
            }
            Self::Nowhere(_) => None,
        }
    }
}

impl Borrowed {
    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> Option<&HeldFile> {
        self.copy.files.first()
    }

    /// The files of its media.
    #[must_use]
    pub fn media(&self) -> &[HeldFile] {
        self.copy.files.get(1..).unwrap_or_default()
    }

    /// What its manifest says, if these octets are it.
    ///
    /// # Errors
    /// When they are not, with why: what the node says of its files is believed only as far as the manifest says the same.
    pub fn read_manifest(&self, octets: &[u8]) -> Result<Manifest, String> {
        if self.copy.digest() != Some(digest::of_bytes(octets).sha256.as_str()) {
            return Err("its manifest is not the one that it told of".to_owned());
        }
        manifest_of(&self.copy, self.place.of.call, octets)
    }
}

/// The directory of a call, as others are asked for it: by the day of its directory, since when it began is known exactly
/// by the node of its first segment alone.
#[must_use]
pub fn directory_of(key: &CallKey) -> String {
    super::logs::directory_of(key)
}

/// The calls that are meant by an id alone: of the day on which it was given, or of one of its neighbors about midnight.
#[must_use]
pub fn keys_of(tenant: &model::TenantId, call: CallId) -> Vec<CallKey> {
    /// A clock that was set, or a call that began a moment before it got its id.
    const ABOUT: std::time::Duration = std::time::Duration::from_secs(3_600);
    let made = call.made_at();
    let days: BTreeSet<String> = [made, made - ABOUT, made + ABOUT].map(model::WallTime::utc_date).into();
    let midnight = |day: &String| format!("{day}T00:00:00Z").parse().ok();
    let key = |call_started| CallKey { call, call_started, tenant: tenant.clone() };
    let mut keys: Vec<CallKey> = days.iter().filter_map(midnight).map(key).collect();
    // The likeliest first.
    keys.sort_by_key(|key| key.call_started.utc_date() != made.utc_date());
    keys
}

#[cfg(test)]
mod tests {
    use model::state::Respondent;
    use model::{HeldDirectory, RecordingState, TenantId, VolumeName, WallTime};

    use super::*;

    fn node(n: u16) -> NodeNumber {
        NodeNumber::new(n).unwrap()
    }

    fn key() -> CallKey {
        let call = CallId::from_u64(4_000);
        CallKey { call, call_started: crate::fixture::START, tenant: TenantId::default() }
    }

    /// A copy: its number, octets of its part, its state; without octets it is live.
    fn copy(number: u16, octets: Option<u64>, state: RecordingState) -> Holding {
        let file = |name: String, octets| HeldFile { name, octets, sha256: "0a".repeat(32) };
        let files = octets.map(|octets| {
            vec![file(format!("{number:03}.json"), 1), file(format!("{number:03}-1.mka"), octets)]
        });
        Holding {
            segment: SegmentId::from_u64(number.into()),
            number,
            node: node(1),
            respondent: Respondent::No,
            ended_as: octets.map(|_| RecordingState::Partial),
            state,
            files: files.unwrap_or_default(),
        }
    }

    fn holds(ended: Option<u16>, copies: Vec<Holding>) -> CallHoldings {
        let place = Place { of: key(), volume: VolumeName::default(), rank: model::Rank::First };
        let directories = vec![HeldDirectory { place, copies }];
        CallHoldings { ended, directories, ..CallHoldings::nothing(key()) }
    }

    /// `here` are numbers; what is played from where, as `number@node`, and what is missing.
    fn check(
        here: &[u16],
        total: u16,
        said: &[(u16, CallHoldings)],
        before: &[(u16, CallHoldings)],
        (borrowed, absent): (&[&str], &[Absent]),
    ) {
        let segments = here.iter().map(|n| (SegmentId::from_u64((*n).into()), *n)).collect();
        let of = |all: &[(u16, CallHoldings)]| all.iter().map(|(n, held)| (node(*n), held.clone())).collect();
        let plan = across(&Here { segments, total }, &of(said), &of(before));
        let word = |one: &Borrowed| format!("{}@{}", one.copy.number, one.from.get());
        let words: Vec<String> =
            plan.borrowed.iter().map(|all| all.iter().map(word).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words, borrowed, "{plan:?}");
        assert_eq!(plan.absent.into_iter().collect::<Vec<_>>(), absent);
    }

    #[test]
    fn what_is_not_here_is_fetched_from_who_has_it_and_the_rest_is_told() {
        use RecordingState::{Delete, Incomplete, Partial};
        let id = |n: u64| SegmentId::from_u64(n);
        let sealed = |n| copy(n, Some(10), Partial);
        // All is here, or somewhere.
        check(&[1, 2], 2, &[(2, holds(Some(2), vec![sealed(2)]))], &[], (&[], &[]));
        check(&[2], 2, &[(2, holds(Some(2), vec![sealed(1)]))], &[], (&["1@2"], &[]));
        check(&[], 0, &[(2, holds(Some(2), vec![sealed(2), sealed(1)]))], &[], (&["1@2", "2@2"], &[]));
        // The longest of several copies first, of equals that of the lower node.
        let long = copy(1, Some(90), Partial);
        let each = [
            (2, holds(None, vec![sealed(1)])),
            (3, holds(None, vec![long])),
            (4, holds(None, vec![sealed(1)])),
        ];
        check(&[], 1, &each, &[], (&["1@3 1@2 1@4"], &[]));
        // What cannot be had.
        let live = copy(2, None, Incomplete);
        check(
            &[1],
            2,
            &[(2, holds(None, vec![live.clone()]))],
            &[],
            (&[], &[Absent::Live(2, id(2), node(2))]),
        );
        let gone = copy(2, Some(10), Delete);
        check(
            &[1],
            2,
            &[(2, holds(None, vec![gone.clone()]))],
            &[],
            (&[], &[Absent::GivenUp(2, id(2), node(2))]),
        );
        check(&[1], 3, &[], &[], (&[], &[Absent::Nowhere(2), Absent::Nowhere(3)]));
        // Where it was is remembered, and who gave it up may have done so for that one.
        let before = [(3, holds(Some(2), vec![sealed(2)]))];
        let at = [Absent::At(2, id(2), node(3))];
        check(&[1], 2, &[], &before, (&[], &at));
        check(&[1], 2, &[(2, holds(None, vec![gone.clone()]))], &before, (&[], &at));
        check(&[1], 2, &[(2, holds(None, vec![sealed(2)]))], &before, (&["2@2"], &[]));
        // A copy that is given up is not played where another one is kept.
        let both = [(2, holds(None, vec![gone])), (3, holds(None, vec![sealed(2)]))];
        check(&[1], 2, &both, &[], (&["2@3"], &[]));
        check(&[1], 2, &[(2, holds(None, vec![live]))], &before, (&[], &[Absent::Live(2, id(2), node(2))]));
    }

    #[test]
    fn a_total_that_cannot_be_makes_no_list_without_end() {
        let plan = across(&Here { total: u16::MAX, ..Here::default() }, &BTreeMap::new(), &BTreeMap::new());
        assert_eq!(plan.absent.len(), NUMBERS_MAX);
    }

    #[test]
    fn only_the_manifest_that_was_told_of_is_believed() {
        let octets = b"no manifest";
        let mut borrowed = Borrowed {
            from: node(2),
            place: Place { of: key(), volume: VolumeName::default(), rank: model::Rank::First },
            copy: copy(1, Some(10), RecordingState::Partial),
        };
        assert!(borrowed.read_manifest(octets).unwrap_err().contains("not the one"));
        borrowed.copy.files[0].sha256 = digest::of_bytes(octets).sha256;
        assert!(borrowed.read_manifest(octets).unwrap_err().contains("no callspool manifest"));
        let (mut other, held) = (key(), holds(None, vec![copy(1, Some(10), RecordingState::Partial)]));
        assert!(is_believed(&other, &held));
        other.tenant = "acme".parse().unwrap();
        assert!(!is_believed(&other, &held));
    }

    #[test]
    fn a_call_is_looked_for_on_the_day_of_its_id_and_about_midnight_on_the_next_one_too() {
        let days = |at: &str| {
            let at: WallTime = at.parse().unwrap();
            let call = model::IdGenerator::new(NodeNumber::SINGLE, 0).call(at);
            let keys = keys_of(&TenantId::default(), call);
            keys.iter().map(|key| key.call_started.utc_date()).collect::<Vec<_>>()
        };
        assert_eq!(days("2026-11-28T12:00:00Z"), ["2026-11-28"]);
        assert_eq!(days("2026-11-28T00:10:00Z"), ["2026-11-28", "2026-11-27"]);
        assert_eq!(days("2026-11-28T23:50:00Z"), ["2026-11-28", "2026-11-29"]);
    }
}

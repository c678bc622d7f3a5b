//! Two recording proxies, each with some of the dialogs of a conversation: what they tell each other comes late, twice, by
//! one way only, or never. Once one of them knows, both have one call; while neither does there are two, and both are
//! sound.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

#[path = "conversations/kinds.rs"]
mod kinds;
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use call::Sighting;
use kinds::{Dialog, conversation};
use model::join::{Recorded, connected, numbering};
use model::{CallId, Join, NodeNumber};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use world::World;

/// What becomes of what one front tells the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It comes, sooner or later, and perhaps again.
    Open,
    /// It is lost.
    Cut,
}

/// The two, and what is on its way to each.
struct Pair {
    worlds: [World; 2],
    to: [VecDeque<Sighting>; 2],
    ways: [Way; 2],
    /// The calls of each, as they were told last.
    told: [BTreeMap<CallId, Sighting>; 2],
}

impl Pair {
    fn new(ways: [Way; 2]) -> Self {
        let worlds = [1, 2].map(|n| World::at(NodeNumber::new(n).unwrap(), 100));
        Self { worlds, to: Default::default(), ways, told: Default::default() }
    }

    fn play(&mut self, at: usize, session: u64, step: &str) {
        self.worlds[at].session.0 = session;
        self.worlds[at].play(step);
        self.tell(at);
    }

    /// What is new of the calls of a front is on its way to the other.
    fn tell(&mut self, at: usize) {
        let world = &self.worlds[at];
        let calls: Vec<CallId> = world.records.keys().copied().collect();
        let known = calls.into_iter().filter_map(|call| self.worlds[at].front.sighting(call));
        for sighting in known.collect::<Vec<_>>() {
            let last = self.told[at].insert(sighting.call(), sighting.clone());
            if self.ways[at] == Way::Open && last.as_ref() != Some(&sighting) {
                self.to[1 - at].push_back(sighting);
            }
        }
    }

    /// Something that is on its way comes, and may come again.
    fn deliver(&mut self, to: usize, which: Index, luck: u8) {
        if self.to[to].is_empty() {
            return;
        }
        let at = which.index(self.to[to].len());
        let sighting =
            if luck.is_multiple_of(3) { self.to[to].get(at).cloned() } else { self.to[to].remove(at) };
        self.worlds[to].heard_of(sighting.unwrap());
        self.tell(to);
    }

    fn deliver_all(&mut self) {
        while let Some(to) = (0..2).find(|to| !self.to[*to].is_empty()) {
            let sighting = self.to[to].pop_front().unwrap();
            self.worlds[to].heard_of(sighting);
            self.tell(to);
        }
    }
}

/// The calls of both fronts that joins have made one, by the dialogs that they are made of.
fn calls(pair: &Pair) -> Result<BTreeSet<BTreeSet<String>>, TestCaseError> {
    let joins: Vec<Join> = pair.worlds.iter().flat_map(|world| world.joins.clone()).collect();
    let records: Vec<_> = pair.worlds.iter().flat_map(|world| world.records.values()).collect();
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for record in &records {
        let one = connected(record.id, &joins);
        let survivor = *one.first().unwrap();
        prop_assert!(one.contains(&record.id));
        for call in &one {
            prop_assert_eq!(&connected(*call, &joins), &one, "either side has the same of it");
        }
        if !seen.insert(survivor) {
            continue;
        }
        let of_it = records.iter().filter(|r| one.contains(&r.id));
        found.insert(of_it.flat_map(|r| r.data.sip_call_ids.iter().cloned()).collect());
        let segments: BTreeSet<Recorded> =
            pair.worlds.iter().flat_map(|w| &w.segments).filter(|s| one.contains(&s.call)).copied().collect();
        let numbers: Vec<u16> = {
            let mut numbers: Vec<u16> =
                numbering(survivor, segments.iter().copied(), &joins).into_values().collect();
            numbers.sort_unstable();
            numbers
        };
        let count = u16::try_from(segments.len()).unwrap();
        prop_assert!(numbers.iter().copied().eq(1..=count), "{:?} of {:?} by {:?}", numbers, segments, joins);
    }
    Ok(found)
}

/// What the record servers owe is done, but for segments that go on.
fn settle(pair: &mut Pair) {
    for at in 0..2 {
        while !pair.worlds[at].unanswered.is_empty() {
            pair.play(at, 0, "opened");
        }
        while let Some(n) = pair.worlds[at].open.iter().position(|(_, end)| end.is_some()) {
            let open = pair.worlds[at].open.remove(n);
            pair.worlds[at].open.insert(0, open);
            pair.play(at, 0, "sealed");
        }
    }
}

proptest! {
    #[test]
    fn two_fronts_have_one_call_once_one_of_them_knows_and_two_sound_ones_before(
        kinds in proptest::collection::vec(conversation(), 1..3),
        places in proptest::collection::vec(0_usize..2, 24),
        ways in select(&[[Way::Open, Way::Open], [Way::Open, Way::Cut], [Way::Cut, Way::Open], [Way::Cut, Way::Cut]][..]),
        order in proptest::collection::vec((any::<Index>(), any::<u8>()), 120),
    ) {
        let mut pair = Pair::new(ways);
        let mut left: BTreeMap<u64, VecDeque<String>> = BTreeMap::new();
        let mut whole = BTreeSet::new();
        let place = |session: u64| places[usize::try_from(session).unwrap() % places.len()];
        for (n, kind) in (1..).zip(&kinds) {
            let mut of_it = BTreeSet::new();
            for dialog in kind(n) {
                let dialog: Dialog = dialog;
                let session = left.len() as u64 + 1;
                of_it.insert(format!("s{session}@b"));
                left.insert(session, VecDeque::from(dialog));
            }
            whole.insert(of_it);
        }
        for (which, luck) in order {
            if let Some(session) = left.keys().nth(which.index(left.len().max(1))).copied() {
                let events = left.get_mut(&session).unwrap();
                while let Some(event) = events.pop_front() {
                    pair.play(place(session), session, &event);
                    if !event.starts_with("is ") && !event.starts_with("says ") {
                        break;
                    }
                }
                left.retain(|_, events| !events.is_empty());
            }
            match luck % 8 {
                0 | 1 => settle(&mut pair),
                2 => {
                    settle(&mut pair);
                    (0..2).for_each(|at| pair.play(at, 0, "wait 4s"));
                }
                3..=5 => pair.deliver(usize::from(luck % 2), which, luck / 8),
                _ => {}
            }
        }
        prop_assert!(left.is_empty());
        settle(&mut pair);
        (0..2).for_each(|at| pair.play(at, 0, "wait 4s"));
        pair.deliver_all();
        settle(&mut pair);
        (0..2).for_each(|at| pair.play(at, 0, "wait 4s"));
        (0..2).for_each(|at| pair.play(at, 0, "wait 20s"));
        let found = calls(&pair)?;
        let out = || format!("{}\n-- the other:\n{}", pair.worlds[0].out, pair.worlds[1].out);
        if ways == [Way::Cut, Way::Cut] {
            prop_assert!(pair.worlds.iter().flat_map(|w| &w.joins).all(|join| !join.numbers.is_empty()));
        } else {
            prop_assert_eq!(&found, &whole, "other calls:\n{}", out());
        }
        for world in &pair.worlds {
            prop_assert!(world.open.is_empty(), "a segment was never told to end:\n{}", world.out);
            let stats = world.front.stats();
            prop_assert_eq!((stats.dialogs, stats.calls), (0, 0), "something stays:\n{}", world.out);
            for (call, numbers) in &world.numbers {
                let count = u16::try_from(numbers.len()).unwrap();
                prop_assert!(numbers.iter().copied().eq(1..=count), "holes in {numbers:?}:\n{}", world.out);
                prop_assert!(world.records[call].ended.is_some(), "one that goes on:\n{}", world.out);
            }
        }
    }
}

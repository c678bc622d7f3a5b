//! Two proxies, each with some of the dialogs of a conversation: what a record server tells them of each other's calls comes
//! late, twice, to one of them only, or never. Once one of them knows, both have one call; while neither does there are two,
//! and both are sound.

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
use std::time::Duration;

use call::{Keeper, KeeperStep};
use kinds::{Dialog, conversation};
use model::custody::{FromKeeper, ToKeeper};
use model::join::{Recorded, connected, numbering};
use model::{CallId, Join, Mono, NodeNumber, PeerName, Sighting};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use world::World;

fn name(at: usize) -> PeerName {
    format!("proxy{at}").parse().unwrap()
}

/// What becomes of what one front is told of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It comes, sooner or later, and perhaps again.
    Open,
    /// It is lost.
    Cut,
}

/// The two, the record server that they tell of their calls, and what is on its way from there to each.
struct Pair {
    worlds: [World; 2],
    keeper: Keeper,
    to: [VecDeque<(CallId, Sighting)>; 2],
    ways: [Way; 2],
    /// Where the segments of each lie.
    on: [BTreeSet<PeerName>; 2],
    /// The calls of each, as they were told last.
    told: [BTreeMap<CallId, Sighting>; 2],
}

impl Pair {
    fn new(ways: [Way; 2]) -> Self {
        let worlds = [1, 2].map(|n| World::at(NodeNumber::new(n).unwrap(), 100));
        let mut keeper = Keeper::new(Duration::from_secs(60));
        (0..2).for_each(|at| keeper.handle(Mono(1), &name(at), ToKeeper::Present { run: 1 }));
        Self {
            worlds,
            keeper,
            to: Default::default(),
            ways,
            on: Default::default(),
            told: Default::default(),
        }
    }

    fn play(&mut self, at: usize, session: u64, step: &str) {
        self.worlds[at].session.0 = session;
        self.worlds[at].play(step);
        self.tell(at);
    }

    /// What is new of the calls of a front is told, and what follows from it is on its way.
    fn tell(&mut self, at: usize) {
        let world = &self.worlds[at];
        for call in world.records.keys().copied() {
            let sighting = world.front.sighting(call, self.on[at].clone());
            let last = self.told[at].get(&call);
            if last == sighting.as_ref() {
                continue;
            }
            let said = match sighting {
                Some(sighting) => {
                    self.told[at].insert(call, sighting.clone());
                    ToKeeper::Sighted(Box::new(sighting))
                }
                None => {
                    self.told[at].remove(&call);
                    ToKeeper::Unsighted { call }
                }
            };
            self.keeper.handle(Mono(1), &name(at), said);
        }
        while let Some(step) = self.keeper.poll_step() {
            let KeeperStep::Tell(to, FromKeeper::SightedElsewhere { call, other }) = step else {
                panic!("{step:?}")
            };
            let to = usize::from(to == name(1));
            if self.ways[to] == Way::Open {
                self.to[to].push_back((call, *other));
            }
        }
    }

    /// Something that is on its way comes, and may come again.
    fn deliver(&mut self, to: usize, which: Index, luck: u8) {
        if self.to[to].is_empty() {
            return;
        }
        let at = which.index(self.to[to].len());
        let told = if luck.is_multiple_of(3) { self.to[to].get(at).cloned() } else { self.to[to].remove(at) };
        let (call, other) = told.unwrap();
        self.worlds[to].heard_of(call, &other, &self.on[to]);
        self.tell(to);
    }

    fn deliver_all(&mut self) {
        while let Some(to) = (0..2).find(|to| !self.to[*to].is_empty()) {
            let (call, other) = self.to[to].pop_front().unwrap();
            self.worlds[to].heard_of(call, &other, &self.on[to]);
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

/// Plays each of these at a front, delivers what follows, and returns what each of them has found, with the worlds' lines.
fn story(steps: &[(usize, u64, &str)]) -> (Pair, String) {
    story_on([&[], &[]], steps)
}

/// The same, where their segments lie on these record servers.
fn story_on(on: [&[&str]; 2], steps: &[(usize, u64, &str)]) -> (Pair, String) {
    let mut pair = Pair::new([Way::Open, Way::Open]);
    pair.on = on.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
    for (at, session, step) in steps {
        pair.play(*at, *session, step);
        pair.deliver_all();
    }
    let out = format!("{}\n-- the other:\n{}", pair.worlds[0].out, pair.worlds[1].out);
    (pair, out)
}

#[test]
fn a_dialog_that_names_one_of_another_proxy_is_of_its_call() {
    let (pair, out) = story(&[
        (0, 1, "invite sendrecv"),
        (0, 1, "opened"),
        (1, 2, "says Replaces: s1@b;to-tag=1;from-tag=2"),
        (1, 2, "invite sendrecv"),
        (1, 2, "opened"),
    ]);
    let found = calls(&pair).unwrap();
    assert_eq!(found, BTreeSet::from([BTreeSet::from(["s1@b".to_owned(), "s2@b".to_owned()])]), "{out}");
    let why: Vec<_> = pair.worlds.iter().flat_map(|w| &w.joins).map(|join| join.why.describe()).collect();
    assert_eq!(why, ["dialog", "dialog"], "both say it:\n{out}");
}

#[test]
fn a_call_that_ended_goes_on_at_another_proxy_and_is_concluded_once_more() {
    let near = "is near refci=11 cluster=C1 device=SEP1 dn=101 guid=000000000000000000000000000000ab";
    let again = "is near refci=12 cluster=C1 device=SEP1 dn=101 guid=000000000000000000000000000000ab";
    let (pair, out) = story(&[
        (0, 1, near),
        (0, 1, "invite"),
        (0, 1, "opened"),
        (0, 1, "bye"),
        (0, 1, "sealed"),
        (0, 1, "wait 4s"),
        (1, 2, again),
        (1, 2, "invite"),
        (1, 2, "opened"),
        (0, 1, "wait 4s"),
    ]);
    assert_eq!(calls(&pair).unwrap().len(), 1, "{out}");
    let first = &pair.worlds[0].out;
    let states: Vec<_> = first.lines().filter(|line| line.contains("conclude")).map(str::trim).collect();
    let expected = [
        "conclude complete of 1",
        "conclude partial of 1 after complete",
        "conclude complete of 1 after partial",
    ];
    assert_eq!(states, expected, "{out}");
}

/// What the first of two fronts says of how its call came out, whose sides end one after the other.
fn conclusions(on: [&[&str]; 2]) -> Vec<String> {
    let is = |end: &str| format!("is {end} refci=11 cluster=C1 device=SEP1 dn=101");
    let (near, far) = (is("near"), is("far"));
    let (pair, _) = story_on(
        on,
        &[
            (0, 1, &near),
            (0, 1, "invite"),
            (0, 1, "opened"),
            (1, 2, &far),
            (1, 2, "invite"),
            (1, 2, "opened"),
            (0, 1, "bye"),
            (0, 1, "sealed"),
            (0, 1, "wait 4s"),
        ],
    );
    let lines = pair.worlds[0].out.lines().filter(|line| line.contains("conclude") || line.contains("copy"));
    lines.map(|line| line.trim().to_owned()).collect()
}

#[test]
fn calls_that_are_one_and_lie_at_several_record_servers_have_no_state_yet() {
    assert_eq!(conclusions([&["r"], &["r"]]), ["conclude complete of 1", "tell copy complete"]);
    for on in [[&["r"][..], &["s"]], [&["r"], &["r", "s"]], [&["r", "s"], &["r"]]] {
        assert_eq!(conclusions(on), ["conclude without a state of 1"], "{on:?}");
    }
}

#[test]
fn an_end_of_a_bridge_that_came_to_another_proxy_is_not_missing() {
    let is = |end: &str| {
        format!("is {end} refci=11 cluster=C1 device=SEP1 dn=101 guid=000000000000000000000000000000ab")
    };
    let missing = "only the near end";
    for (far_at, told) in [(1, false), (0, false), (2, true)] {
        let (near, far) = (is("near"), is("far"));
        let mut steps = vec![(0, 1, near.as_str()), (0, 1, "invite"), (0, 1, "opened")];
        if far_at < 2 {
            steps.extend([(far_at, 2, far.as_str()), (far_at, 2, "invite"), (far_at, 2, "opened")]);
        }
        steps.push((0, 1, "wait 11s"));
        let (_, out) = story(&steps);
        assert_eq!(out.contains(missing), told, "{far_at}:\n{out}");
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

//! Whose a call is: proxies and record servers whose links come and go, and one owner in the end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use call::{Custody, CustodyStep, Keeper, KeeperStep};
use model::custody::{FromKeeper, Stand, ToKeeper};
use model::{CallId, Mono, PeerName, Secret, SegmentId};
use proptest::prelude::{any, prop_assert_eq, proptest};

const OFFER_AFTER: Duration = Duration::from_secs(5);

fn name(n: &str) -> PeerName {
    n.parse().unwrap()
}

fn call(n: u64) -> CallId {
    CallId::from_u64(n)
}

fn judge(_: &[u8]) -> Option<BTreeSet<SegmentId>> {
    Some(BTreeSet::new())
}

/// A proxy, and what came of its steps.
struct Proxy {
    custody: Custody,
    /// The calls that are its own, as far as it knows.
    owns: BTreeSet<CallId>,
    not_found: Vec<String>,
    /// What becomes its own it cannot carry on.
    is_unable: bool,
    is_leaving: bool,
    run: u64,
}

/// Some of each, and what is on its way between them.
struct World {
    now: Mono,
    proxies: BTreeMap<PeerName, Proxy>,
    keepers: BTreeMap<PeerName, Keeper>,
    links: BTreeSet<(PeerName, PeerName)>,
    to_keeper: VecDeque<(PeerName, PeerName, ToKeeper)>,
    to_proxy: VecDeque<(PeerName, PeerName, FromKeeper)>,
    /// Nobody hears that a call was adopted: that is on its way until this ends, or the link.
    is_slow: bool,
    runs: u64,
}

impl World {
    fn new(proxies: &[&str], keepers: &[&str]) -> Self {
        let mut world = Self {
            now: Mono(1),
            proxies: BTreeMap::new(),
            keepers: keepers.iter().map(|k| (name(k), Keeper::new(OFFER_AFTER))).collect(),
            links: BTreeSet::new(),
            to_keeper: VecDeque::new(),
            to_proxy: VecDeque::new(),
            is_slow: false,
            runs: 0,
        };
        for proxy in proxies {
            world.start(proxy);
            keepers.iter().for_each(|keeper| world.link(proxy, keeper));
        }
        world
    }

    /// It begins anew.
    fn start(&mut self, proxy: &str) {
        self.runs += 1;
        let run = self.runs;
        let (custody, owns, not_found) = (Custody::new(run), BTreeSet::new(), Vec::new());
        let begun = Proxy { custody, owns, not_found, is_unable: false, is_leaving: false, run };
        self.proxies.insert(name(proxy), begun);
    }

    fn link(&mut self, proxy: &str, keeper: &str) {
        if self.links.insert((name(proxy), name(keeper))) {
            self.proxies.get_mut(&name(proxy)).unwrap().custody.linked(&name(keeper));
            self.settle();
        }
    }

    fn cut(&mut self, proxy: &str, keeper: &str) {
        let link = (name(proxy), name(keeper));
        if !self.links.remove(&link) {
            return;
        }
        self.to_keeper.retain(|(p, k, _)| (p, k) != (&link.0, &link.1));
        self.to_proxy.retain(|(p, k, _)| (p, k) != (&link.0, &link.1));
        self.proxies.get_mut(&link.0).unwrap().custody.unlinked(self.now, &link.1, &judge);
        self.keepers.get_mut(&link.1).unwrap().left(self.now, &link.0);
        self.settle();
    }

    fn die(&mut self, proxy: &str) {
        for keeper in self.keepers.keys().cloned().collect::<Vec<_>>() {
            self.cut(proxy, &keeper.to_string());
        }
        self.start(proxy);
    }

    /// A call begins at a proxy, or something of it changes.
    fn keep(&mut self, proxy: &str, n: u64, state: u64) {
        let proxy = self.proxies.get_mut(&name(proxy)).unwrap();
        proxy.owns.insert(call(n));
        let at = self.keepers.keys().next();
        proxy.custody.keep(call(n), at, vec![format!("t{n}")], Secret::new(state.to_be_bytes().to_vec()));
        self.settle();
    }

    /// A proxy stops, and is there until it dies.
    fn leave(&mut self, proxy: &str) {
        let leaving = self.proxies.get_mut(&name(proxy)).unwrap();
        leaving.is_leaving = true;
        leaving.custody.leave();
        self.settle();
    }

    fn seek(&mut self, proxy: &str, n: u64) {
        self.proxies.get_mut(&name(proxy)).unwrap().custody.sought(self.now, format!("t{n}"));
        self.settle();
    }

    fn wait(&mut self, length: Duration) {
        let until = self.now + length;
        while self.now < until {
            self.now = self.now + Duration::from_millis(100);
            for keeper in self.keepers.values_mut() {
                keeper.handle_timeout(self.now);
            }
            for proxy in self.proxies.values_mut() {
                proxy.custody.handle_timeout(self.now, &judge);
            }
            self.settle();
        }
    }

    fn settle(&mut self) {
        loop {
            self.collect();
            if let Some((proxy, keeper, said)) = self.to_keeper.pop_front() {
                self.keepers.get_mut(&keeper).unwrap().handle(self.now, &proxy, said);
            } else if let Some((proxy, keeper, said)) = self.next_to_proxy() {
                let custody = &mut self.proxies.get_mut(&proxy).unwrap().custody;
                custody.handle(self.now, &keeper, said, &judge);
            } else {
                return;
            }
        }
    }

    fn next_to_proxy(&mut self) -> Option<(PeerName, PeerName, FromKeeper)> {
        let is_slow = self.is_slow;
        let waits = |said: &FromKeeper| is_slow && matches!(said, FromKeeper::Adopted { .. });
        let at = self.to_proxy.iter().position(|(_, _, said)| !waits(said))?;
        self.to_proxy.remove(at)
    }

    fn collect(&mut self) {
        for (own, proxy) in &mut self.proxies {
            while let Some(step) = proxy.custody.poll_step() {
                match step {
                    CustodyStep::Tell(to, said) if self.links.contains(&(own.clone(), to.clone())) => {
                        self.to_keeper.push_back((own.clone(), to, said));
                    }
                    CustodyStep::Tell(..) => {}
                    CustodyStep::Carry(carried) if proxy.is_unable => proxy.custody.failed(carried.call),
                    CustodyStep::Carry(carried) => {
                        assert!(proxy.owns.insert(carried.call), "it has it already");
                        let tags = vec![format!("t{}", carried.call.as_u64())];
                        let octets = carried.snapshot.expose().to_vec();
                        let at = carried.live.keys().next().cloned();
                        proxy.custody.keep(carried.call, at.as_ref(), tags, Secret::new(octets));
                    }
                    CustodyStep::NotFound { tag } => proxy.not_found.push(tag),
                    CustodyStep::Forget { call, .. } => assert!(proxy.owns.remove(&call), "it had it"),
                }
            }
        }
        for (own, keeper) in &mut self.keepers {
            while let Some(step) = keeper.poll_step() {
                let (to, said) = match step {
                    KeeperStep::Tell(to, said) => (to, said),
                    KeeperStep::Move { call, to, epoch } => {
                        (to, FromKeeper::Adopted { call, epoch, segments: Vec::new(), missed: Vec::new() })
                    }
                };
                if self.links.contains(&(to.clone(), own.clone())) {
                    self.to_proxy.push_back((to, own.clone(), said));
                }
            }
        }
    }

    /// A call is over.
    fn end(&mut self, proxy: &str, n: u64) {
        let proxy = self.proxies.get_mut(&name(proxy)).unwrap();
        assert!(proxy.owns.remove(&call(n)), "it had it");
        proxy.custody.over(call(n));
        self.settle();
    }

    fn owners(&self, n: u64) -> Vec<String> {
        let owns = self.proxies.iter().filter(|(_, proxy)| proxy.owns.contains(&call(n)));
        owns.map(|(name, _)| name.to_string()).collect()
    }
}

/// A proxy with thousands of calls is linked again: what it has to tell is told as fast as it is taken, and no faster.
#[test]
fn states_are_told_as_fast_as_a_record_server_takes_them() {
    let (mut custody, keeper) = (Custody::new(1), name("rec1"));
    let state = |n: u64| Secret::new(n.to_be_bytes().to_vec());
    custody.linked(&keeper);
    (1..=2_000).for_each(|n| custody.keep(call(n), Some(&keeper), Vec::new(), state(n)));
    while custody.poll_step().is_some() {}
    custody.unlinked(Mono(1), &keeper, &judge);
    custody.linked(&keeper);
    assert_eq!(custody.take_stale(Mono(1), |_| false), [], "it takes nothing");
    let again = custody.next_timeout().expect("it is looked again");
    assert!(again > Mono(1));
    let mut told = BTreeSet::new();
    loop {
        let turn = custody.take_stale(again, |_| true);
        if turn.is_empty() {
            break;
        }
        assert!(turn.len() <= 8, "{} at once", turn.len());
        for call in turn {
            custody.keep(call, Some(&keeper), Vec::new(), state(call.as_u64()));
            assert!(told.insert(call), "each once");
        }
    }
    assert_eq!((told.len(), custody.next_timeout()), (2_000, None));
}

#[test]
fn calls_take_turns_and_wait_for_no_record_server_but_their_own() {
    let mut custody = Custody::new(1);
    let (full, other) = (name("rec1"), name("rec2"));
    [&full, &other].iter().for_each(|keeper| custody.linked(keeper));
    for n in 1..=30 {
        let at = if n % 2 == 0 { &full } else { &other };
        custody.keep(call(n), Some(at), Vec::new(), Secret::new(vec![1]));
    }
    custody.changed((1..=30).map(call));
    let has_room = |keeper: &PeerName| *keeper != full;
    let first = custody.take_stale(Mono(1), has_room);
    assert_eq!(first, [1, 3, 5, 7, 9, 11, 13, 15].map(call));
    // Those that change all the time keep nobody waiting.
    custody.changed(first);
    assert_eq!(custody.take_stale(Mono(1), has_room), [17, 19, 21, 23, 25, 27, 29, 1].map(call));
}

#[test]
fn a_call_goes_to_whom_its_client_turns_to() {
    let mut world = World::new(&["a", "b"], &["r"]);
    world.keep("a", 1, 1);
    world.seek("b", 2);
    assert_eq!(world.proxies[&name("b")].not_found, ["t2"], "nobody has it");
    world.die("a");
    world.seek("b", 1);
    assert_eq!(world.owners(1), ["b"]);
    assert_eq!(world.proxies[&name("b")].not_found, ["t2"]);
}

#[test]
fn a_proxy_that_returns_loses_what_another_has_and_keeps_the_rest() {
    let mut world = World::new(&["a", "b"], &["r"]);
    world.keep("a", 1, 1);
    world.keep("a", 2, 1);
    world.cut("a", "r");
    world.seek("b", 1);
    assert_eq!(world.owners(1), ["a", "b"], "it cannot know yet");
    world.link("a", "r");
    assert_eq!((world.owners(1), world.owners(2)), (vec!["b".to_owned()], vec!["a".to_owned()]));
    world.wait(OFFER_AFTER * 2);
    assert_eq!(world.owners(2), ["a"], "it is there: nobody is offered its calls");
}

#[test]
fn calls_of_one_that_stays_away_are_offered_and_each_is_taken_once() {
    let mut world = World::new(&["a", "b", "c"], &["r", "s"]);
    (1..=500).for_each(|n| world.keep("a", n, 1));
    world.die("a");
    world.wait(OFFER_AFTER - Duration::from_secs(1));
    assert!((1..=500).all(|n| world.owners(n).is_empty()), "it may be back at once");
    world.wait(Duration::from_secs(12));
    let counts = ["b", "c"].map(|p| world.proxies[&name(p)].owns.len());
    assert_eq!(counts[0] + counts[1], 500);
    assert!(counts.iter().all(|n| *n > 200), "spread as {counts:?}");
}

#[test]
fn calls_of_a_proxy_that_stops_go_to_the_others_while_it_is_there() {
    let mut world = World::new(&["a", "b", "c"], &["r", "s"]);
    (1..=500).for_each(|n| world.keep("a", n, 1));
    world.leave("a");
    world.wait(Duration::from_millis(200));
    let moved = (1..=500).filter(|n| world.owners(*n) != ["a"]).count();
    assert!((100..=300).contains(&moved), "a thousand a second: {moved}");
    world.wait(Duration::from_secs(1));
    let counts = ["a", "b", "c"].map(|p| world.proxies[&name(p)].owns.len());
    assert_eq!((counts[0], counts[1] + counts[2]), (0, 500), "each is told, and forgets");
    assert!(counts[1..].iter().all(|n| *n > 200), "spread as {counts:?}");
    world.die("b");
    world.wait(OFFER_AFTER * 2);
    assert_eq!(world.proxies[&name("c")].owns.len(), 500, "the one that stops is offered none");
    world.die("a");
    world.link("a", "r");
    world.link("a", "s");
    world.leave("c");
    world.wait(Duration::from_secs(2));
    assert_eq!(world.proxies[&name("a")].owns.len(), 500, "who began anew takes calls");
}

#[test]
fn a_proxy_that_stops_alone_keeps_its_calls_and_takes_one_only_where_its_client_asks() {
    let mut world = World::new(&["a", "b"], &["r"]);
    world.keep("a", 1, 1);
    world.leave("a");
    world.leave("b");
    world.wait(OFFER_AFTER * 2);
    assert_eq!(world.owners(1), ["a"]);
    world.seek("b", 1);
    assert_eq!(world.owners(1), ["b"]);
}

#[test]
fn a_proxy_that_stops_says_so_to_who_is_linked_later() {
    let mut world = World::new(&["a", "b"], &["r"]);
    world.keep("a", 1, 1);
    world.cut("a", "r");
    world.leave("a");
    world.wait(Duration::from_secs(1));
    assert_eq!(world.owners(1), ["a"], "it may be back");
    world.link("a", "r");
    world.wait(Duration::from_secs(1));
    assert_eq!(world.owners(1), ["b"]);
}

#[test]
fn states_without_room_are_counted() {
    let mut keeper = Keeper::new(OFFER_AFTER);
    let proxy = name("a");
    keeper.handle(Mono(1), &proxy, ToKeeper::Present { run: 1 });
    let state = std::sync::Arc::new(Secret::new(vec![1; model::custody::SNAPSHOT_MAX]));
    let keep = |n| ToKeeper::Keep {
        call: call(n),
        stand: Stand { epoch: 0, version: 1 },
        tags: Vec::new(),
        snapshot: Some(std::sync::Arc::clone(&state)),
    };
    (1..=1_024).for_each(|n| keeper.handle(Mono(1), &proxy, keep(n)));
    assert_eq!((keeper.len(), keeper.take_unkept()), (1_024, 0));
    (1_025..=1_027).for_each(|n| keeper.handle(Mono(1), &proxy, keep(n)));
    assert_eq!((keeper.len(), keeper.take_unkept(), keeper.take_unkept()), (1_024, 3, 0));
}

#[test]
fn calls_of_a_process_that_began_anew_are_taken_at_once_by_itself_too() {
    let mut world = World::new(&["a"], &["r"]);
    world.keep("a", 1, 1);
    world.die("a");
    world.link("a", "r");
    world.wait(Duration::from_secs(1));
    assert_eq!(world.owners(1), ["a"]);
    assert_eq!(world.proxies[&name("a")].run, 2);
}

#[test]
fn a_call_that_is_over_is_kept_nowhere() {
    let mut world = World::new(&["a", "b"], &["r", "s"]);
    world.keep("a", 1, 1);
    assert_eq!(world.keepers[&name("r")].len(), 1);
    world.end("a", 1);
    assert!(world.keepers.values().all(Keeper::is_empty));
    world.seek("b", 1);
    assert_eq!(world.proxies[&name("b")].not_found, ["t1"]);
}

#[test]
fn what_is_newer_is_carried_on_where_two_record_servers_have_states_of_a_call() {
    let mut world = World::new(&["a", "b"], &["r", "s"]);
    world.keep("a", 1, 1);
    // Its record server is cut off from it, and it goes on at the other.
    world.cut("a", "r");
    world.keep("a", 1, 2);
    world.wait(OFFER_AFTER * 2);
    assert_eq!(world.owners(1), ["a"], "the other says that it is there");
    world.cut("a", "s");
    world.seek("b", 1);
    assert_eq!(world.owners(1), ["a", "b"]);
    world.link("a", "s");
    assert_eq!(world.owners(1), ["b"]);
}

/// Record server r has a state of its first owner; the second, which has it by s, is not linked with r.
fn with_an_old_state() -> World {
    let mut world = World::new(&["a", "b"], &["r", "s"]);
    world.keep("a", 1, 1);
    world.cut("a", "r");
    world.cut("b", "r");
    world.keep("a", 1, 2);
    world.die("a");
    world.seek("b", 1);
    assert_eq!(world.owners(1), ["b"]);
    assert_eq!(world.keepers[&name("r")].len(), 1);
    world
}

#[test]
fn a_record_server_that_was_cut_off_gives_nobody_what_is_over() {
    let mut world = with_an_old_state();
    world.end("b", 1);
    world.link("b", "r");
    world.link("a", "r");
    world.wait(OFFER_AFTER * 4);
    assert!(world.owners(1).is_empty(), "it began again");
    assert!(world.keepers.values().all(Keeper::is_empty));
}

#[test]
fn an_old_state_is_forgotten_when_its_record_server_is_linked_with_the_owner() {
    let mut world = with_an_old_state();
    world.link("b", "r");
    assert!(world.keepers[&name("r")].is_empty());
    world.wait(OFFER_AFTER * 2);
    assert_eq!(world.owners(1), ["b"]);
}

#[test]
fn what_comes_late_of_a_call_that_is_over_is_asked_for_in_vain() {
    let mut world = World::new(&["a", "b"], &["r"]);
    world.keep("a", 1, 1);
    world.end("a", 1);
    // By a way round, and after it was released.
    let (call, stand, tags) = (call(1), Stand { epoch: 0, version: 9 }, vec!["t1".to_owned()]);
    let snapshot = Some(std::sync::Arc::new(Secret::new(vec![1])));
    let keep = ToKeeper::Keep { call, stand, tags, snapshot };
    world.keepers.get_mut(&name("r")).unwrap().handle(world.now, &name("a"), keep);
    world.seek("a", 1);
    assert_eq!(world.proxies[&name("a")].not_found, ["t1"]);
    assert!(world.keepers[&name("r")].is_empty(), "it is released again");
}

#[test]
fn a_record_server_that_answers_late_whose_a_call_is_is_believed() {
    let mut world = World::new(&["a", "b"], &["r", "s"]);
    world.keep("a", 1, 1);
    world.die("a");
    world.is_slow = true;
    world.seek("b", 1);
    world.wait(Duration::from_secs(3));
    assert!(world.owners(1).is_empty());
    world.is_slow = false;
    world.settle();
    assert_eq!(world.owners(1), ["b"]);
    assert_eq!(world.keepers.values().map(Keeper::len).sum::<usize>(), 1);
}

#[test]
fn a_call_that_was_given_to_who_did_not_hear_it_is_given_to_somebody() {
    let mut world = World::new(&["a", "b"], &["r"]);
    world.keep("a", 1, 1);
    world.die("a");
    world.is_slow = true;
    world.seek("b", 1);
    world.wait(Duration::from_secs(1));
    world.cut("b", "r");
    world.is_slow = false;
    assert_eq!(world.proxies[&name("b")].not_found, ["t1"]);
    world.link("b", "r");
    world.wait(Duration::from_secs(3));
    assert_eq!(world.owners(1), ["b"]);
}

#[test]
fn a_call_that_one_proxy_cannot_carry_on_another_does() {
    let mut world = World::new(&["a", "b", "c"], &["r"]);
    world.keep("a", 1, 1);
    world.die("a");
    world.proxies.get_mut(&name("b")).unwrap().is_unable = true;
    world.seek("b", 1);
    assert!(world.owners(1).is_empty());
    world.wait(OFFER_AFTER);
    assert_eq!(world.owners(1), ["c"]);
}

#[test]
fn what_nobody_takes_is_offered_ever_less_and_dropped_in_the_end() {
    let mut keeper = Keeper::new(OFFER_AFTER);
    let mut now = Mono(1);
    let proxy = name("a");
    keeper.handle(now, &proxy, ToKeeper::Present { run: 1 });
    let (stand, tags) = (Stand { epoch: 0, version: 1 }, vec!["t1".to_owned()]);
    let snapshot = Some(std::sync::Arc::new(Secret::new(vec![1])));
    keeper.handle(now, &proxy, ToKeeper::Keep { call: call(1), stand, tags, snapshot });
    keeper.left(now, &proxy);
    // It is there again, as another process, and has no use for it.
    keeper.handle(now, &proxy, ToKeeper::Present { run: 2 });
    let mut offers = Vec::new();
    while let Some(next) = keeper.next_timeout().filter(|_| offers.len() < 10_000) {
        now = now.max(next);
        keeper.handle_timeout(now);
        offers.extend(std::iter::from_fn(|| keeper.poll_step()).map(|_| now));
    }
    assert!(keeper.is_empty());
    let within = |length| offers.iter().filter(|at| at.since(Mono(1)) < length).count();
    assert!(within(Duration::from_secs(5)) >= 2, "{offers:?}");
    assert!((100..150).contains(&offers.len()), "each minute in the end: {}", offers.len());
}

#[test]
fn what_is_asked_before_record_servers_are_linked_waits_for_them() {
    let asked = || {
        let mut custody = Custody::new(1).awaiting([name("r")]);
        custody.sought(Mono(1), "t1".to_owned());
        assert_eq!(custody.poll_step(), None);
        custody
    };
    let mut linked = asked();
    linked.linked(&name("r"));
    let steps: Vec<CustodyStep> = std::iter::from_fn(|| linked.poll_step()).collect();
    assert!(matches!(
        steps[..],
        [CustodyStep::Tell(_, ToKeeper::Present { .. }), CustodyStep::Tell(_, ToKeeper::Seek { .. })]
    ));
    let not_found = Some(CustodyStep::NotFound { tag: "t1".to_owned() });
    let mut away = asked();
    away.unlinked(Mono(2), &name("r"), &judge);
    assert_eq!(away.poll_step(), not_found);
    let mut silent = asked();
    silent.handle_timeout(silent.next_timeout().unwrap(), &judge);
    assert_eq!(silent.poll_step(), not_found);
    away.sought(Mono(3), "t1".to_owned());
    assert_eq!(away.poll_step(), not_found, "nobody is left to ask");
}

proptest! {
    #[test]
    fn whatever_links_do_in_the_end_each_call_has_one_owner(
        steps in proptest::collection::vec((0_u8..8, any::<u8>(), any::<u8>()), 0..60),
    ) {
        const PROXIES: [&str; 3] = ["a", "b", "c"];
        let mut world = World::new(&PROXIES, &["r"]);
        (1..=4).for_each(|n| world.keep("a", n, 0));
        for (what, x, y) in steps {
            let proxy = PROXIES[usize::from(x) % 3];
            let n = u64::from(y) % 4 + 1;
            match what {
                0 => world.cut(proxy, "r"),
                1 => world.link(proxy, "r"),
                2 => world.seek(proxy, n),
                3 => world.wait(Duration::from_millis(u64::from(y) * 30)),
                4 if world.owners(n) == [proxy] => world.keep(proxy, n, u64::from(x)),
                5 if x < 80 => world.die(proxy),
                7 if x < 80 => world.leave(proxy),
                6 => world.is_slow = x < 80,
                _ => {}
            }
        }
        world.is_slow = false;
        world.settle();
        // One that stops dies in the end.
        let leaving = PROXIES.iter().filter(|proxy| world.proxies[&name(proxy)].is_leaving);
        leaving.copied().collect::<Vec<_>>().into_iter().for_each(|proxy| world.die(proxy));
        PROXIES.iter().for_each(|proxy| world.link(proxy, "r"));
        world.wait(Duration::from_secs(70));
        for n in 1..=4 {
            prop_assert_eq!(world.owners(n).len(), 1, "call {}: {:?}", n, world.owners(n));
        }
    }
}

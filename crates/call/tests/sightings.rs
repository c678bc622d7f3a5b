//! Proxies that tell of their calls by links that come and go: in the end each two that have calls with a sign in common
//! know it, and nobody hears of a call of its own or of one that shares nothing with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use call::{Custody, CustodyStep, Keeper, KeeperStep};
use model::custody::{FromKeeper, ToKeeper};
use model::{CallId, CallKey, Mono, PeerName, SegmentId, Sighting, Sign, WallTime};
use proptest::collection::{btree_set, vec};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

const PROXIES: usize = 3;
const KEEPERS: usize = 2;

fn name(kind: char, n: usize) -> PeerName {
    format!("{kind}{n}").parse().unwrap()
}

fn judge(_: &[u8]) -> Option<BTreeSet<SegmentId>> {
    None
}

/// The call of this number of a proxy, with these signs.
fn sighting(proxy: usize, n: u64, signs: &BTreeSet<u8>) -> Sighting {
    let call = CallId::from_u64(proxy as u64 * 10 + n);
    Sighting {
        call: CallKey { call, call_started: WallTime(0), tenant: "bonn".parse().unwrap() },
        total: 1,
        signs: signs.iter().map(|sign| Sign::of_digest(&[*sign])).collect(),
        bridged: BTreeSet::new(),
        on: BTreeSet::new(),
    }
}

struct Proxy {
    custody: Custody,
    calls: BTreeMap<CallId, Sighting>,
    /// Which of its calls it knows to share signs with which.
    heard: BTreeSet<(CallId, CallId)>,
}

#[derive(Debug, Clone)]
enum Event {
    Tell { proxy: usize, n: u64, signs: BTreeSet<u8> },
    Forget { proxy: usize, n: u64 },
    Link { proxy: usize, keeper: usize },
    Cut { proxy: usize, keeper: usize },
    Die { proxy: usize },
    Arrive { proxy: usize, keeper: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let link = || (0..PROXIES, 0..KEEPERS);
    prop_oneof![
        4 => (0..PROXIES, 0_u64..3, btree_set(0_u8..5, 1..3)).prop_map(|(proxy, n, signs)| Event::Tell { proxy, n, signs }),
        1 => (0..PROXIES, 0_u64..3).prop_map(|(proxy, n)| Event::Forget { proxy, n }),
        2 => link().prop_map(|(proxy, keeper)| Event::Link { proxy, keeper }),
        2 => link().prop_map(|(proxy, keeper)| Event::Cut { proxy, keeper }),
        1 => (0..PROXIES).prop_map(|proxy| Event::Die { proxy }),
        6 => link().prop_map(|(proxy, keeper)| Event::Arrive { proxy, keeper }),
    ]
}

/// All of them, and what is on its way by each link that there is.
struct World {
    now: Mono,
    run: u64,
    proxies: Vec<Proxy>,
    keepers: Vec<Keeper>,
    links: BTreeMap<(usize, usize), (VecDeque<ToKeeper>, VecDeque<FromKeeper>)>,
}

impl World {
    fn new() -> Self {
        let keepers = (0..KEEPERS).map(|_| Keeper::new(Duration::from_secs(3_600))).collect();
        let mut world = Self { now: Mono(1), run: 0, proxies: Vec::new(), keepers, links: BTreeMap::new() };
        (0..PROXIES).for_each(|_| {
            let proxy = world.fresh();
            world.proxies.push(proxy);
        });
        world
    }

    fn fresh(&mut self) -> Proxy {
        self.run += 1;
        Proxy { custody: Custody::new(self.run), calls: BTreeMap::new(), heard: BTreeSet::new() }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Tell { proxy, n, signs } => {
                let sighting = sighting(proxy, n, &signs);
                let proxy = &mut self.proxies[proxy];
                proxy.calls.insert(sighting.call.call, sighting.clone());
                proxy.custody.sighted(sighting.call.call, Some(sighting));
            }
            Event::Forget { proxy, n } => {
                let call = sighting(proxy, n, &BTreeSet::new()).call.call;
                self.proxies[proxy].calls.remove(&call);
                self.proxies[proxy].custody.sighted(call, None);
            }
            Event::Link { proxy, keeper } => {
                if self.links.contains_key(&(proxy, keeper)) {
                    return;
                }
                self.links.insert((proxy, keeper), Default::default());
                self.proxies[proxy].custody.linked(&name('r', keeper));
            }
            Event::Cut { proxy, keeper } => self.cut(proxy, keeper),
            Event::Die { proxy } => {
                (0..KEEPERS).for_each(|keeper| self.cut(proxy, keeper));
                self.proxies[proxy] = self.fresh();
            }
            Event::Arrive { proxy, keeper } => _ = self.arrive(proxy, keeper),
        }
        self.collect();
    }

    fn cut(&mut self, proxy: usize, keeper: usize) {
        if self.links.remove(&(proxy, keeper)).is_some() {
            self.proxies[proxy].custody.unlinked(self.now, &name('r', keeper), &judge);
            self.keepers[keeper].left(self.now, &name('p', proxy));
        }
    }

    /// One message each way; whether there was any.
    fn arrive(&mut self, proxy: usize, keeper: usize) -> bool {
        let Some((to_keeper, to_proxy)) = self.links.get_mut(&(proxy, keeper)) else { return false };
        let (up, down) = (to_keeper.pop_front(), to_proxy.pop_front());
        let was_any = up.is_some() || down.is_some();
        if let Some(said) = up {
            self.keepers[keeper].handle(self.now, &name('p', proxy), said);
        }
        if let Some(said) = down {
            self.proxies[proxy].custody.handle(self.now, &name('r', keeper), said, &judge);
        }
        self.collect();
        was_any
    }

    /// What follows is on its way, where there is a link.
    fn collect(&mut self) {
        for (n, proxy) in self.proxies.iter_mut().enumerate() {
            proxy.custody.handle_timeout(self.now, &judge);
            while let Some(step) = proxy.custody.poll_step() {
                let CustodyStep::Tell(to, said) = step else { panic!("{step:?}") };
                let keeper = (0..KEEPERS).find(|keeper| name('r', *keeper) == to).unwrap();
                self.links.get_mut(&(n, keeper)).expect("nobody is told who is not linked").0.push_back(said);
            }
            while let Some((call, other)) = proxy.custody.poll_elsewhere() {
                proxy.heard.insert((call, other.call.call));
            }
        }
        for (n, keeper) in self.keepers.iter_mut().enumerate() {
            while let Some(step) = keeper.poll_step() {
                let KeeperStep::Tell(to, said) = step else { panic!("{step:?}") };
                let proxy = (0..PROXIES).find(|proxy| name('p', *proxy) == to).unwrap();
                if let Some((_, to_proxy)) = self.links.get_mut(&(proxy, n)) {
                    to_proxy.push_back(said);
                }
            }
        }
    }

    /// All links are there, and all that is on its way comes.
    fn settle(&mut self) {
        let all = || (0..PROXIES).flat_map(|proxy| (0..KEEPERS).map(move |keeper| (proxy, keeper)));
        all().for_each(|(proxy, keeper)| self.apply(Event::Link { proxy, keeper }));
        // Each of them once, whatever came by the others.
        while all().filter(|(proxy, keeper)| self.arrive(*proxy, *keeper)).count() > 0 {
            self.now = self.now + Duration::from_millis(100);
        }
    }
}

proptest! {
    #[test]
    fn whatever_links_do_in_the_end_who_has_calls_with_a_sign_in_common_knows_it(
        events in vec(event(), 0..80),
        seed in any::<bool>(),
    ) {
        let mut world = World::new();
        if seed {
            world.settle();
        }
        let mut ever: BTreeSet<CallId> = BTreeSet::new();
        for event in events {
            world.apply(event);
            ever.extend(world.proxies.iter().flat_map(|proxy| proxy.calls.keys()));
        }
        world.settle();
        for (a, one) in world.proxies.iter().enumerate() {
            for (b, other) in world.proxies.iter().enumerate().filter(|(b, _)| *b != a) {
                for (mine, theirs) in one.calls.values().flat_map(|m| other.calls.values().map(move |t| (m, t))) {
                    let pair = (mine.call.call, theirs.call.call);
                    let is_one = !mine.signs.is_disjoint(&theirs.signs);
                    prop_assert!(!is_one || one.heard.contains(&pair), "p{a} does not know {pair:?} of p{b}");
                }
            }
            for (mine, theirs) in &one.heard {
                prop_assert_eq!(mine.as_u64() / 10, a as u64);
                prop_assert!(theirs.as_u64() / 10 != a as u64 && ever.contains(theirs));
            }
        }
    }
}

#[test]
fn what_is_told_once_is_told_by_each_record_server_and_heard_of_by_both() {
    let mut world = World::new();
    world.settle();
    let signs = BTreeSet::from([1]);
    world.apply(Event::Tell { proxy: 0, n: 1, signs: signs.clone() });
    world.apply(Event::Tell { proxy: 1, n: 2, signs: signs.clone() });
    world.settle();
    let (a, b) = (CallId::from_u64(1), CallId::from_u64(12));
    assert_eq!(world.proxies[0].heard, BTreeSet::from([(a, b)]));
    assert_eq!(world.proxies[1].heard, BTreeSet::from([(b, a)]));
    // One that is over and forgotten is found by nobody any more.
    world.apply(Event::Forget { proxy: 0, n: 1 });
    world.settle();
    world.apply(Event::Tell { proxy: 2, n: 3, signs });
    world.settle();
    assert_eq!(world.proxies[2].heard, BTreeSet::from([(CallId::from_u64(23), b)]));
}

#[test]
fn two_nodes_that_are_proxy_and_record_server_each_hear_of_each_other() {
    // Each tells the other's record server and its own, and takes calls of the other for its own record server.
    let names = ["one", "two"].map(|name| name.parse::<PeerName>().unwrap());
    let mut keepers = [(); 2].map(|()| Keeper::new(Duration::from_secs(3_600)));
    let mut proxies = [0, 1].map(|n| Custody::new(1).beside(&names[n]));
    for n in 0..2 {
        proxies[n].linked(&names[1 - n]);
        let sighting = sighting(n, 1, &BTreeSet::from([7]));
        proxies[n].sighted(sighting.call.call, Some(sighting));
    }
    let at = |name: &PeerName| usize::from(*name == names[1]);
    for _ in 0..4 {
        for n in 0..2 {
            proxies[n].handle_timeout(Mono(1), &judge);
            while let Some(CustodyStep::Tell(to, said)) = proxies[n].poll_step() {
                keepers[at(&to)].handle(Mono(1), &names[n], said);
            }
            while let Some(KeeperStep::Tell(to, said)) = keepers[n].poll_step() {
                proxies[at(&to)].handle(Mono(1), &names[n], said, &judge);
            }
        }
    }
    for (n, proxy) in proxies.iter_mut().enumerate() {
        let (call, other) = proxy.poll_elsewhere().expect("it knows");
        assert_eq!((call.as_u64(), other.call.call.as_u64()), (n as u64 * 10 + 1, (1 - n as u64) * 10 + 1));
    }
}

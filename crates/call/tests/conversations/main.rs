//! Conversations of several dialogs: whatever the order in which dialogs and what they say arrive, the calls are the
//! same, and the numbers of their segments have no holes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

mod asks;
mod kinds;
#[path = "../world/mod.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use asks::Asks;
use call::{FrontConfig, Trunk, Trunks};
use kinds::{Dialog, conversation, told_later};
use model::TenantId;
use model::peer::Flowing;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;
use world::World;

/// What people and clients may ask for while a dialog goes on.
const ASKED: [&str; 17] = [
    "",
    "",
    "",
    "",
    "order pause",
    "order pause 3s",
    "order resume",
    "info Record: off",
    "info Record: on",
    "metadata paused",
    "metadata active",
    "reinvite inactive",
    "reinvite sendonly",
    "order stop",
    "order start",
    "info X-AC-Action: stop-siprec",
    "failing",
];

/// What the record server owes is done, but for segments that go on.
fn settle(world: &mut World) {
    while !world.unanswered.is_empty() {
        world.play("opened");
    }
    while let Some(at) = world.open.iter().position(|(_, end)| end.is_some()) {
        let open = world.open.remove(at);
        world.open.insert(0, open);
        world.play("sealed");
    }
}

/// Dialogs that are to come, and what is asked meanwhile.
struct Run {
    world: World,
    asks: Asks,
    left: BTreeMap<u64, VecDeque<String>>,
    begun: BTreeSet<u64>,
    expected: BTreeSet<BTreeSet<String>>,
    /// A segment has failed since time passed last: one that fails as soon as it took over is not taken over from.
    has_failed: bool,
}

impl Run {
    fn new(world: World, asks: Asks, conversations: impl IntoIterator<Item = Vec<Dialog>>) -> Self {
        let mut left = BTreeMap::new();
        let mut expected = BTreeSet::new();
        for dialogs in conversations {
            let mut ids = BTreeSet::new();
            for dialog in dialogs {
                let session = left.len() as u64 + 1;
                ids.insert(format!("s{session}@b"));
                left.insert(session, VecDeque::from(dialog));
            }
            expected.insert(ids);
        }
        Self { world, asks, left, begun: BTreeSet::new(), expected, has_failed: false }
    }

    fn play(&mut self, session: u64, step: &str) -> Result<(), TestCaseError> {
        self.world.session.0 = session;
        if step.contains("invite") {
            self.world.play(&format!("from {}", asks::address(self.asks.trunk(session))));
        }
        self.asks.hear(&self.world, session, step);
        self.world.play(step);
        self.asks.heard(&self.world, session, step);
        self.check(step)
    }

    fn check(&self, step: &str) -> Result<(), TestCaseError> {
        let held = self.asks.check(&self.world);
        prop_assert!(
            held.is_ok(),
            "after {} of {}: {}\n{}",
            step,
            self.world.session.0,
            held.unwrap_err(),
            self.world.out
        );
        Ok(())
    }

    /// The next thing that happens in some dialog.
    fn go_on(&mut self, which: Index) -> Result<(), TestCaseError> {
        let Some(session) = self.left.keys().nth(which.index(self.left.len().max(1))).copied() else {
            return Ok(());
        };
        loop {
            let events = self.left.get_mut(&session).unwrap();
            let Some(event) = events.pop_front() else { break };
            if events.is_empty() {
                self.left.remove(&session);
            }
            if event.starts_with("invite") {
                self.begun.insert(session);
            }
            if event == "bye" {
                self.begun.remove(&session);
            }
            self.play(session, &event)?;
            // What a dialog is goes with what it does next.
            if !event.starts_with("is ") && !event.starts_with("says ") {
                break;
            }
        }
        Ok(())
    }

    /// Somebody asks for something in a dialog that goes on. A client sends a request when the one before is answered.
    fn ask(&mut self, which: Index, step: &str) -> Result<(), TestCaseError> {
        let waits = !self.world.unanswered.is_empty();
        let Some(session) = self.begun.iter().nth(which.index(self.begun.len().max(1))).copied() else {
            return Ok(());
        };
        if step.is_empty() || (waits && !step.starts_with("order") && step != "failing") {
            return Ok(());
        }
        if step == "failing"
            && (self.world.failing().is_none() || std::mem::replace(&mut self.has_failed, true))
        {
            return Ok(());
        }
        self.play(session, step)
    }

    fn pass(&mut self, luck: u8) -> Result<(), TestCaseError> {
        match luck % 8 {
            0 | 1 => settle(&mut self.world),
            2 if !self.world.unanswered.is_empty() => self.world.play("opened"),
            3 => {
                settle(&mut self.world);
                self.asks.pass(4);
                self.world.play("wait 4s");
                self.has_failed = false;
            }
            _ => {}
        }
        self.check("that")
    }

    /// Everything that was to come has come: the calls are those that were expected.
    fn end(mut self) -> Result<(), TestCaseError> {
        while !self.left.is_empty() {
            let all = self.left.clone();
            let session = *all.keys().next().unwrap();
            for event in self.left.remove(&session).unwrap() {
                self.play(session, &event)?;
            }
        }
        let mut world = self.world;
        settle(&mut world);
        prop_assert!(world.open.is_empty(), "a segment was never told to end:\n{}", world.out);
        world.play("wait 4s");
        world.play("wait 20s");
        let stats = world.front.stats();
        prop_assert_eq!((stats.dialogs, stats.calls), (0, 0), "something stays:\n{}", world.out);
        let calls: BTreeSet<BTreeSet<String>> =
            world.records.values().map(|call| call.data.sip_call_ids.iter().cloned().collect()).collect();
        prop_assert_eq!(&calls, &self.expected, "other calls:\n{}", world.out);
        for (call, numbers) in &world.numbers {
            let count = u16::try_from(numbers.len()).unwrap();
            prop_assert!(numbers.iter().copied().eq(1..=count), "holes in {numbers:?}:\n{}", world.out);
            let told = &world.records[call];
            prop_assert_eq!((told.total, told.ended.is_some()), (count, true), "total:\n{}", world.out);
        }
        world.play("wait 7200s");
        prop_assert_eq!(world.front.next_timeout(), None, "a timer stays:\n{}", world.out);
        Ok(())
    }
}

/// Two trunks of one tenant.
fn two_trunks() -> World {
    let trunk = |name: &str, n: u64| Trunk {
        name: name.into(),
        from: vec![asks::address(n).into()],
        ..Trunk::open(TenantId::default())
    };
    let trunks = Trunks::new(vec![trunk("sbc", 0), trunk("gateway", 1)], TenantId::default());
    World::of(FrontConfig { trunks, ..world::config(100) })
}

proptest! {
    #[test]
    fn any_order_of_arrival_ends_in_the_same_calls(
        kinds in proptest::collection::vec(conversation(), 1..4),
        order in proptest::collection::vec((any::<Index>(), any::<u8>()), 120),
    ) {
        let conversations = (1..).zip(&kinds).map(|(n, kind)| kind(n));
        let mut run = Run::new(World::new(100), Asks::new(Flowing::Held, false), conversations);
        for (which, luck) in order {
            run.go_on(which)?;
            run.pass(luck)?;
        }
        run.end()?;
    }

    /// Pauses and stops, ordered, signaled and told, holds too: the calls are the same, and after each event nothing is
    /// kept of a call whose pause somebody asks for.
    #[test]
    fn in_any_order_nothing_is_kept_that_somebody_asks_not_to_keep(
        kinds in proptest::collection::vec(conversation(), 1..3),
        pauses in any::<bool>(),
        order in proptest::collection::vec((any::<Index>(), any::<Index>(), select(&ASKED[..]), any::<u8>()), 60),
    ) {
        let conversations = (1..).zip(&kinds).map(|(n, kind)| kind(n));
        let inactive = if pauses { Flowing::Paused } else { Flowing::Held };
        let mut run = Run::new(World::meaning(100, inactive), Asks::new(inactive, false), conversations);
        for (at, (which, whose, asked, luck)) in order.into_iter().enumerate() {
            if at % 3 == 0 {
                run.go_on(which)?;
            }
            run.ask(whose, asked)?;
            run.pass(luck)?;
        }
        run.end()?;
    }

    /// The same where dialogs of a call come by two trunks of a tenant.
    #[test]
    fn a_trunk_that_the_call_is_not_of_pauses_its_own_and_keeps_nothing_that_it_paused(
        first in any::<bool>(),
        order in proptest::collection::vec((any::<Index>(), any::<Index>(), select(&ASKED[..]), any::<u8>()), 50),
    ) {
        // So that the dialogs of either trunk may be the first.
        let conversations = if first { vec![told_later(1)] } else { vec![vec![told_later(1).remove(1)], told_later(2)] };
        let mut run = Run::new(two_trunks(), Asks::new(Flowing::Held, true), conversations);
        for (at, (which, whose, asked, luck)) in order.into_iter().enumerate() {
            if at % 5 == 0 {
                run.go_on(which)?;
            }
            run.ask(whose, asked)?;
            run.pass(luck)?;
        }
        run.end()?;
    }
}

//! Conversations of several dialogs: whatever the order in which dialogs and what they say arrive, the calls are the
//! same, and the numbers of their segments have no holes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;
use world::World;

/// What happens in a dialog, in this order.
type Dialog = Vec<String>;

/// A pair of a phone's bridge; the gateway says the same Cisco-Guid after a hold.
fn bridged(n: u64, holds: u64) -> Vec<Dialog> {
    let mut dialogs = Vec::new();
    for hold in 0..=holds {
        for end in ["near", "far"] {
            let is = format!(
                "is {end} refci={n}{hold}1 cluster=C1 device=SEP{n} dn=10{n} guid={:032x}",
                0xab_0000 + n
            );
            dialogs.push(vec![is, "invite".to_owned(), "bye".to_owned()]);
        }
    }
    dialogs
}

/// Two ends of a session, and a request of the first that names both.
fn told_later(n: u64) -> Vec<Dialog> {
    let (a, b) = (format!("{:032x}", 0xa0_0000 + n), format!("{:032x}", 0xb0_0000 + n));
    let first = vec![
        format!("says Session-ID: {a};remote={:032}", 0),
        "invite sendrecv".to_owned(),
        format!("says Session-ID: {a};remote={b}"),
        "info X-Other: 1".to_owned(),
        "bye".to_owned(),
    ];
    let second =
        vec![format!("says Session-ID: {b}"), "invite sendonly sendonly".to_owned(), "bye".to_owned()];
    vec![first, second]
}

/// Three recordings of one call by systems of different makers, that only one of them knows all of.
fn by_vendors(n: u64) -> Vec<Dialog> {
    let ucid = format!("{:016x}", 0x1234_5678_0000 + n);
    let works = format!("works-{:032x}", 0xcd_0000 + n);
    let says = |headers: &[String]| {
        let mut dialog: Dialog = headers.iter().map(|h| format!("says {h}")).collect();
        dialog.extend(["invite sendrecv".to_owned(), "bye".to_owned()]);
        dialog
    };
    let (ucid, works) = (format!("X-UCID: {ucid}"), format!("X-BroadWorks-Correlation-Info: {works}"));
    vec![says(std::slice::from_ref(&ucid)), says(std::slice::from_ref(&works)), says(&[ucid, works])]
}

fn conversation() -> impl Strategy<Value = fn(u64) -> Vec<Dialog>> {
    let one_hold: fn(u64) -> Vec<Dialog> = |n| bridged(n, 1);
    let two_holds: fn(u64) -> Vec<Dialog> = |n| bridged(n, 2);
    prop_oneof![
        Just(one_hold),
        Just(two_holds),
        Just(told_later as fn(u64) -> _),
        Just(by_vendors as fn(u64) -> _)
    ]
}

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

proptest! {
    #[test]
    fn any_order_of_arrival_ends_in_the_same_calls(
        kinds in proptest::collection::vec(conversation(), 1..4),
        order in proptest::collection::vec((any::<Index>(), any::<u8>()), 120),
    ) {
        let mut world = World::new(100);
        let mut left = BTreeMap::new();
        let mut expected = BTreeSet::new();
        for (n, kind) in (1..).zip(&kinds) {
            let mut ids = BTreeSet::new();
            for dialog in kind(n) {
                let session = left.len() as u64 + 1;
                ids.insert(format!("s{session}@b"));
                left.insert(session, std::collections::VecDeque::from(dialog));
            }
            expected.insert(ids);
        }
        for (which, luck) in order {
            let Some(session) = (!left.is_empty()).then(|| *left.keys().nth(which.index(left.len())).unwrap())
            else {
                break;
            };
            world.session.0 = session;
            let events = left.get_mut(&session).unwrap();
            while let Some(event) = events.pop_front() {
                world.play(&event);
                // What a dialog is goes with what it does next.
                if !event.starts_with("is ") && !event.starts_with("says ") {
                    break;
                }
            }
            if events.is_empty() {
                left.remove(&session);
            }
            match luck % 8 {
                0 | 1 => settle(&mut world),
                2 if !world.unanswered.is_empty() => world.play("opened"),
                3 => { settle(&mut world); world.play("wait 4s"); }
                _ => {}
            }
        }
        prop_assert!(left.is_empty());
        settle(&mut world);
        prop_assert!(world.open.is_empty(), "a segment was never told to end:\n{}", world.out);
        world.play("wait 4s");
        world.play("wait 20s");
        let stats = world.front.stats();
        prop_assert_eq!((stats.dialogs, stats.calls), (0, 0), "something stays:\n{}", world.out);
        let calls: BTreeSet<BTreeSet<String>> =
            world.records.values().map(|call| call.data.sip_call_ids.iter().cloned().collect()).collect();
        prop_assert_eq!(&calls, &expected, "other calls:\n{}", world.out);
        for (call, numbers) in &world.numbers {
            let count = u16::try_from(numbers.len()).unwrap();
            prop_assert!(numbers.iter().copied().eq(1..=count), "holes in {numbers:?}:\n{}", world.out);
            let told = &world.records[call];
            prop_assert_eq!((told.total, told.ended.is_some()), (count, true), "total:\n{}", world.out);
        }
        world.play("wait 7200s");
        prop_assert_eq!(world.front.next_timeout(), None, "a timer stays:\n{}", world.out);
    }
}

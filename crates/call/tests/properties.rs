//! Whatever clients and record servers do in whatever order: nothing stays live, nothing is counted twice.

mod world;

use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::{collection, sample};
use world::World;

const STEPS: [&str; 19] = [
    "invite sendonly sendonly",
    "invite sendrecv",
    "invite",
    "invite image",
    "reinvite inactive inactive",
    "reinvite sendonly sendonly",
    "reinvite inactive sendonly",
    "reinvite",
    "ack",
    "ack sendonly",
    "opened",
    "opened",
    "refused",
    "sealed",
    "bye",
    "cancel",
    "silence",
    "failing",
    "wait 4s",
];

/// Whether the world is in a position for the step: a client sends no BYE before its INVITE.
fn possible(world: &World, step: &str, begun: &[u64]) -> bool {
    match step.split(' ').next().unwrap_or_default() {
        "invite" => !begun.contains(&world.session.0),
        "opened" | "refused" => !world.unanswered.is_empty(),
        // A record server answers before it seals.
        "sealed" => {
            let told = |s| world.unanswered.iter().all(|(asked, ..)| *asked != s);
            world.open.first().is_some_and(|(open, end)| end.is_some() && told(open.segment))
        }
        // The agent holds a request back while another is being answered.
        "reinvite" | "ack" => begun.contains(&world.session.0) && world.unanswered.is_empty(),
        "silence" => !world.open.is_empty(),
        "failing" => world.failing().is_some(),
        _ => begun.contains(&world.session.0),
    }
}

proptest! {
    #[test]
    fn every_segment_ends_every_call_is_concluded_and_numbers_have_no_holes(
        script in collection::vec((sample::select(&STEPS[..]), any::<bool>()), 1..60),
    ) {
        let mut world = World::new(8);
        let mut begun = Vec::new();
        for (step, next_session) in script {
            if next_session && step.starts_with("invite") {
                world.session.0 += 1;
            }
            if possible(&world, step, &begun) {
                if step.starts_with("invite") {
                    begun.push(world.session.0);
                }
                world.play(step);
            }
        }
        for session in begun {
            world.session.0 = session;
            world.play("bye");
        }
        // The record server answers what it was asked, late or not.
        while !world.unanswered.is_empty() {
            world.play("opened");
        }
        while world.open.first().is_some_and(|(_, end)| end.is_some()) {
            world.play("sealed");
        }
        prop_assert!(world.open.is_empty(), "a segment was never told to end:\n{}", world.out);
        world.play("wait 4s");
        world.play("wait 10s");
        world.play("wait 10s");
        let stats = world.front.stats();
        prop_assert_eq!((stats.dialogs, stats.calls), (0, 0), "something stays:\n{}", world.out);
        prop_assert_eq!(world.front.next_timeout(), None, "a timer stays:\n{}", world.out);
        for numbers in world.numbers.values() {
            let expected = 1..=u16::try_from(numbers.len()).unwrap_or(u16::MAX);
            prop_assert!(numbers.iter().copied().eq(expected), "holes:\n{}", world.out);
        }
    }
}

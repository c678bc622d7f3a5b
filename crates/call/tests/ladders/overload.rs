//! More calls than can be opened: who would wait too long is refused, and calls in progress are not.

use sip::SessionId;

use crate::world::World;

/// As many as are believed to be opened within 400 ms, before anything was measured.
const AT_ONCE: u64 = 801;

fn refused(world: &World) -> usize {
    world.out.matches("\n    503 s").count()
}

#[test]
fn a_crowd() {
    let mut world = World::new(10_000);
    world.play("invite sendonly");
    world.play("opened");
    world.play("reinvite inactive");
    world.play("sealed");
    for session in 2..=AT_ONCE + 100 {
        world.session = SessionId(session);
        world.play("invite sendonly");
    }
    assert_eq!(refused(&world), 99, "the first that would wait too long, and all after it");
    assert_eq!(world.out.matches("ALARM").count(), 1, "told once");
    assert!(world.out.contains("calls were refused (1): more calls come than can be opened in time"));
    // One that is resumed waits as long as it must.
    world.session = SessionId(1);
    world.play("reinvite sendonly");
    assert!(world.out.ends_with("> reinvite sendonly\n    open 2/2 1:mixed:active\n"), "{}", world.out);
    while !world.unanswered.is_empty() {
        world.play("opened");
    }
    assert_eq!(refused(&world), 99, "whoever was taken is answered");
    world.session = SessionId(5_000);
    world.play("invite sendonly");
    assert_eq!(refused(&world), 99, "and the next is taken");
    world.play("wait 1s");
    assert_eq!(world.front.stats().crowded, 99);
}

#[test]
fn who_hangs_up_before_it_is_opened_is_missed_by_nobody() {
    let mut world = World::new(10);
    world.play("invite sendonly");
    world.play("cancel");
    world.play("withdrawn");
    assert!(
        world.out.ends_with("> cancel\n    end by hang-up\n    withdraw\n> withdrawn\n"),
        "{}",
        world.out
    );
    let stats = world.front.stats();
    assert_eq!((stats.not_recorded, stats.calls, stats.opening), (0, 0, 0));
    // The next finds nothing of it.
    world.session = SessionId(2);
    world.play("invite sendonly");
    world.play("opened");
    assert!(world.out.contains("200 s2"), "{}", world.out);
}

//! Orders to live calls as ladders, and as a property: in no order of events does anything pass in a pause.
//!
//! `order …` is what a person asks, with how the call stands then; `carried-out` is the record server's answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

mod world;

use expect_test::{Expect, expect};
use model::peer::Flowing;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::{collection, sample};
use world::{Asked, World};

fn play(mut world: World, script: &str, expected: &Expect) {
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
}

fn check(script: &str, expected: Expect) {
    play(World::new(2), script, &expected);
}

#[test]
fn a_pause_and_its_end_by_order() {
    check(
        "invite sendonly sendonly
         opened
         order pause
         carried-out
         order pause
         order resume
         carried-out
         order resume
         bye
         sealed
         wait 3s
         order pause",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > order pause
                paused, not yet
                pause by API (alice)
            > carried-out
            > order pause
                paused already
            > order resume
                on, not yet
                resume by API (alice)
            > carried-out
            > order resume
                on already
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > order pause
                ERROR no such call is live
        "#]],
    );
}

#[test]
fn neither_reinvite_nor_metadata_end_a_pause_and_a_hold_in_it_is_followed_by_a_paused_segment() {
    check(
        "invite sendonly sendonly
         opened
         order pause
         carried-out
         reinvite sendonly sendonly
         opened
         reinvite sendonly sendonly sendonly
         opened
         info X-Other: 1
         reinvite inactive inactive inactive
         sealed
         order pause
         reinvite sendonly sendonly
         opened
         order resume
         carried-out",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > order pause
                paused, not yet
                pause by API (alice)
            > carried-out
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20004/recvonly 20006/recvonly
            > reinvite sendonly sendonly sendonly
                change 1:agent:active 2:external:active 3:unknown:active
            > opened
                200 s1 20008/recvonly 20010/recvonly 20012/recvonly
            > info X-Other: 1
            > reinvite inactive inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive 9/inactive
                tell call of 2
            > sealed
            > order pause
                paused already
            > reinvite sendonly sendonly
                open 2/2 1:agent:active 2:external:active paused
            > opened
                200 s1 20014/recvonly 20016/recvonly
                tell call of 2
            > order resume
                on, not yet
                resume by API (alice)
            > carried-out
        "#]],
    );
}

#[test]
fn a_pause_on_hold_and_a_pause_while_a_segment_opens_are_before_the_first_packet() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         order pause
         reinvite sendonly
         opened
         session 2
         invite sendonly
         order pause
         opened
         order resume",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > order pause
                paused
            > reinvite sendonly
                open 2/2 1:mixed:active paused
            > opened
                200 s1 20002/recvonly
                tell call of 2
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > order pause
                paused, not yet
            > opened
                pause by API (alice)
                200 s2 20004/recvonly
                tell call of 1
            > order resume
                on, not yet
                resume by API (alice)
        "#]],
    );
}

#[test]
fn a_time_out_ends_a_pause_with_an_alarm_and_is_never_shortened() {
    check(
        "invite sendonly
         opened
         order pause 60s
         carried-out
         wait 50s
         order pause 20s
         wait 10s
         wait 10s
         order pause 30s
         order pause 5s
         wait 20s
         order pause 0s
         wait 60s
         order resume",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > order pause 60s
                paused for 60 s, not yet
                pause by API (alice)
            > carried-out
            > wait 50s
            > order pause 20s
                paused for 20 s already
            > wait 10s
            > wait 10s
                resume by time-out
                ALARM pause-timed-out: a pause lasted as long as it may: recording goes on. What is said now is kept; whoever paused should pause again if that is not wanted
            > order pause 30s
                paused for 30 s, not yet
                pause by API (alice)
            > order pause 5s
                paused for 30 s already, not yet
            > wait 20s
                pause by API (alice)
            > order pause 0s
                paused already, not yet
            > wait 60s
                pause by API (alice)
            > order resume
                on, not yet
                resume by API (alice)
        "#]],
    );
}

#[test]
fn headers_of_the_client_pause_and_resume_but_do_not_end_what_the_api_ordered() {
    check(
        "invite sendonly
         opened
         info Record: off
         carried-out
         order pause
         info Record: on
         order resume
         carried-out
         info Record: on
         reinvite-with X-AC-Action: pause-siprec / inactive
         opened
         carried-out
         reinvite inactive
         opened
         reinvite-with X-AC-Action: resume-siprec / sendonly
         opened
         info X-AC-Action: stop-siprec
         sealed
         reinvite-with X-AC-Action: start-siprec / sendonly
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > info Record: off
                pause by INFO (Record: off)
            > carried-out
            > order pause
                paused, not yet
                pause by API (alice)
            > info Record: on
            > order resume
                on, not yet
                resume by API (alice)
            > carried-out
            > info Record: on
            > reinvite-with X-AC-Action: pause-siprec / inactive
                pause by SIP (X-AC-Action: pause-siprec)
                change 1:mixed:paused
            > opened
                200 s1 20002/inactive
            > carried-out
            > reinvite inactive
                change 1:mixed:paused
            > opened
                200 s1 20004/inactive
            > reinvite-with X-AC-Action: resume-siprec / sendonly
                resume by SIP (X-AC-Action: resume-siprec)
                change 1:mixed:active
            > opened
                200 s1 20006/recvonly
            > info X-AC-Action: stop-siprec
                end by stop of INFO (X-AC-Action: stop-siprec)
                INVITE s1 9/inactive
                tell call of 1
            > sealed
            > reinvite-with X-AC-Action: start-siprec / sendonly
                open 2/2 1:mixed:active
            > opened
                200 s1 20008/recvonly
                tell call of 2
        "#]],
    );
}

#[test]
fn inactive_pauses_where_the_client_means_that_and_active_ends_it_unless_somebody_ordered_a_pause() {
    play(
        World::meaning(2, Flowing::Paused),
        "invite sendonly sendonly
         opened
         reinvite inactive inactive
         opened
         carried-out
         reinvite sendonly sendonly
         opened
         carried-out
         reinvite inactive inactive
         opened
         order pause
         order resume
         order pause
         reinvite sendonly sendonly
         opened
         order resume",
        &expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > reinvite inactive inactive
                pause by SDP (inactive)
                change 1:agent:paused 2:external:paused
            > opened
                200 s1 20004/inactive 20006/inactive
            > carried-out
            > reinvite sendonly sendonly
                resume by SDP (inactive)
                change 1:agent:active 2:external:active
            > opened
                200 s1 20008/recvonly 20010/recvonly
            > carried-out
            > reinvite inactive inactive
                pause by SDP (inactive)
                change 1:agent:paused 2:external:paused
            > opened
                200 s1 20012/inactive 20014/inactive
            > order pause
                paused, not yet
                pause by API (alice)
            > order resume
                paused, not yet
            > order pause
                paused, not yet
                pause by API (alice)
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20016/recvonly 20018/recvonly
            > order resume
                on, not yet
                resume by API (alice)
        "#]],
    );
}

#[test]
fn a_stop_ends_the_segment_and_only_a_start_begins_the_next() {
    check(
        "invite sendonly sendonly
         opened
         order stop
         accepted
         sealed
         order stop
         order pause
         reinvite sendonly sendonly
         order start
         opened
         accepted sendonly sendonly
         opened
         order start
         order resume
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > order stop
                off
                end by stop of alice
                INVITE s1 9/inactive 9/inactive
                tell call of 1
            > accepted
            > sealed
            > order stop
                off already
            > order pause
                off
            > reinvite sendonly sendonly
                200 s1 9/inactive 9/inactive
                tell call of 1
            > order start
                paused
                open 2/2 1:agent:active 2:external:active paused
            > opened
                INVITE s1 20004/recvonly 20006/recvonly
                tell call of 2
            > accepted sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
            > order start
                paused already
            > order resume
                on, not yet
                resume by API (alice)
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn a_client_that_does_not_take_our_offer_is_told_of_and_the_call_goes_on() {
    check(
        "invite sendonly
         opened
         order stop
         not-accepted
         sealed
         order start
         opened
         not-accepted
         sealed
         order start
         refused
         order start
         opened
         accepted
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > order stop
                off
                end by stop of alice
                INVITE s1 9/inactive
                tell call of 1
            > not-accepted
            > sealed
            > order start
                on
                open 2/2 1:mixed:active
            > opened
                INVITE s1 20002/recvonly
                tell call of 2
            > not-accepted
                ALARM not-recorded: a call that was started by order, or went on after a hold, is not recorded: the client refuses to send again (488)
                end by dialog failure: the client refuses to send again (488)
                tell call of 2
            > sealed
            > order start
                on
                open 3/3 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
            > order start
                on
                open 3/3 1:mixed:active
            > opened
                INVITE s1 20004/recvonly
                tell call of 3
            > accepted
            > bye
                end by hang-up
                tell call of 3, ended
            > sealed
            > wait 3s
                tell call of 3, ended
                conclude complete-external-error of 3
                tell copy complete-external-error
        "#]],
    );
}

#[test]
fn a_stop_while_something_is_negotiated() {
    check(
        "invite sendonly
         order stop
         order start
         opened
         sealed
         order start
         opened
         accepted sendonly
         opened
         reinvite sendonly sendonly
         order stop
         opened
         sealed
         reinvite inactive
         order start
         reinvite sendonly
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > order stop
                off
                end by stop of alice
                200 s1 9/inactive
            > order start
                on
            > opened
                open 2/2 1:mixed:active
            > sealed
            > order start
                on already
            > opened
                INVITE s1 20002/recvonly
                tell call of 2
            > accepted sendonly
                change 1:mixed:active
            > opened
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > order stop
                off
                end by stop of alice
                200 s1 9/inactive 9/inactive
                tell call of 2
            > opened
            > sealed
            > reinvite inactive
                200 s1 9/inactive
                tell call of 2
            > order start
                on
            > reinvite sendonly
                open 3/3 1:mixed:active
            > opened
                200 s1 20010/recvonly
                tell call of 3
        "#]],
    );
}

#[test]
fn orders_reach_live_calls_of_the_tenant_only() {
    check(
        "invite sendonly
         opened
         order pause foreign
         order pause
         end-all
         order resume",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > order pause foreign
                ERROR no such call is live
            > order pause
                paused, not yet
                pause by API (alice)
            > end-all
                BYE s1 SIP;cause=503;text="callspool is stopping"
                end by process ended
                tell call of 1, ended
            > order resume
                ERROR the call is over
        "#]],
    );
}

const STEPS: [&str; 24] = [
    "invite sendonly sendonly",
    "invite inactive",
    "invite",
    "reinvite inactive inactive",
    "reinvite sendonly sendonly",
    "reinvite sendonly sendonly sendonly",
    "reinvite inactive sendonly",
    "reinvite",
    "ack sendonly",
    "opened",
    "opened",
    "opened",
    "sealed",
    "bye",
    "wait 4s",
    "order pause",
    "order pause 3s",
    "order pause 0s",
    "order resume",
    "info Record: off",
    "info Record: on",
    "info X-Other: 1",
    "order stop",
    "order start",
];

/// What the pause of a call should be, told in another way than the front does it: who asks, and until which second of
/// the world's life; none: without an end.
#[derive(Default, Clone, Copy)]
struct Expected {
    api: Option<Option<u64>>,
    info: Option<Option<u64>>,
}

impl Expected {
    fn step(&mut self, now: u64, step: &str) {
        let longer = |asked: Option<Option<u64>>, until: Option<u64>| match asked {
            None => Some(until),
            Some(before) => Some(before.zip(until).map(|(a, b)| a.max(b))),
        };
        match step {
            "order pause" | "order pause 0s" => self.api = longer(self.api, None),
            "order pause 3s" => self.api = longer(self.api, Some(now + 3)),
            "order resume" => *self = Self::default(),
            "info Record: off" => self.info = longer(self.info, None),
            "info Record: on" => self.info = None,
            _ => {}
        }
    }

    fn pass(&mut self, now: u64) {
        for slot in [&mut self.api, &mut self.info] {
            slot.take_if(|until| until.is_some_and(|until| until <= now));
        }
    }
}

proptest! {
    /// Every segment that can receive is paused when its call is, and when it is not it is not.
    #[test]
    fn in_any_order_of_events_a_segment_is_paused_when_its_call_is(
        script in collection::vec((sample::select(&STEPS[..]), any::<bool>()), 1..80),
    ) {
        let mut world = World::new(8);
        let mut expected = std::collections::BTreeMap::<u64, Expected>::new();
        let mut now = 0;
        for (step, next_session) in script {
            if next_session && step.starts_with("invite") {
                world.session.0 += 1;
            }
            let known = world.called.contains_key(&world.session);
            let fits = match step.split(' ').next().unwrap_or_default() {
                "invite" => !expected.contains_key(&world.session.0),
                "opened" => !world.unanswered.is_empty(),
                "sealed" => {
                    let told = |s| world.unanswered.iter().all(|(asked, ..)| *asked != s);
                    world.open.first().is_some_and(|(open, end)| end.is_some() && told(open.segment))
                }
                "reinvite" | "ack" => expected.contains_key(&world.session.0) && world.unanswered.is_empty(),
                "order" | "info" => known,
                _ => expected.contains_key(&world.session.0),
            };
            if !fits {
                continue;
            }
            let of_call = expected.entry(world.session.0).or_default();
            of_call.step(now, step);
            if step == "wait 4s" {
                now += 4;
                expected.values_mut().for_each(|e| e.pass(now));
            }
            world.play(step);
            for (open, _) in world.open.iter().filter(|(_, end)| end.is_none()) {
                let opening = world.unanswered.iter().any(|(s, _, asked)| *s == open.segment && *asked == Asked::Open);
                let session = world.called.iter().find(|(_, call)| **call == open.call).map(|(s, _)| s.0);
                let Some(e) = session.and_then(|s| expected.get(&s)).filter(|_| !opening) else { continue };
                let paused = world.paused.get(&open.segment).copied();
                prop_assert_eq!(paused, Some(e.api.is_some() || e.info.is_some()), "after {}:\n{}", step, world.out);
            }
        }
        prop_assert!(world.open.len() < 80);
    }
}

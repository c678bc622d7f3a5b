//! The front as ladders: what a client and a record server do goes in, what is answered, ordered and told comes
//! out. Only `check` knows the API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

mod world;

use call::{FrontConfig, Trunk, Trunks};
use expect_test::{Expect, expect};
use model::TenantId;
use model::peer::Flowing;
use world::World;

fn check(script: &str, expected: Expect) {
    let mut world = World::new(2);
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
}

#[test]
fn a_plain_call() {
    check(
        "invite sendrecv
         opened
         ack
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendrecv
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn hold_and_resume_are_two_segments() {
    check(
        "invite sendonly sendonly
         opened
         ack
         reinvite inactive inactive
         sealed
         reinvite sendonly sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > ack
            > reinvite inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive
                tell call of 2
            > sealed
            > reinvite sendonly sendonly
                open 2/2 1:agent:active 2:external:active
            > opened
                200 s1 20004/recvonly 20006/recvonly
                tell call of 2
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
fn one_label_held_is_a_span_and_a_hang_up_on_hold_leaves_no_segment_to_wait_for() {
    check(
        "invite sendonly sendonly
         opened
         reinvite inactive sendonly
         opened
         reinvite inactive inactive
         sealed
         bye
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > reinvite inactive sendonly
                change 1:agent:held 2:external:active
            > opened
                200 s1 20004/inactive 20006/recvonly
            > reinvite inactive inactive
                end by hold
                200 s1 9/inactive 9/inactive
                tell call of 2
            > sealed
            > bye
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn without_a_body_we_offer_and_the_answer_comes_in_the_ack() {
    check(
        "invite
         opened
         ack sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite
                open 1/1 -:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack sendonly
                change 1:mixed:active
            > opened
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn media_that_we_cannot_take_get_port_0_and_nothing_at_all_is_488() {
    check(
        "invite image sendonly -
         opened
         bye
         session 2
         invite image
         session 3
         invite junk",
        expect![[r#"
            > invite image sendonly -
                open 1/1 2:mixed:active
            > opened
                200 s1 0/sendrecv 20000/recvonly 0/sendrecv
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > session 2
            > invite image
                488 s2
            > session 3
            > invite junk
                488 s3
        "#]],
    );
}

#[test]
fn a_stream_is_added_by_re_invite() {
    check(
        "invite sendonly
         opened
         reinvite sendonly sendonly
         opened
         update sendonly -
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20002/recvonly 20004/recvonly
            > update sendonly -
                change 1:mixed:active
            > opened
                200 s1 20006/recvonly 0/sendrecv
        "#]],
    );
}

#[test]
fn failures_upstream() {
    check(
        "invite sendonly
         opened
         silence
         sealed
         wait 3s
         session 2
         invite sendonly
         opened
         bye cause 38
         sealed
         wait 3s
         session 3
         invite sendonly
         opened
         expired
         sealed
         session 4
         invite sendonly
         opened
         no-ack",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > silence
                ALARM upstream-failure: a segment ended early: media time-out
                BYE s1 SIP;cause=408;text="media time-out"
                end by media time-out
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete-external-error of 1
                tell copy complete-external-error
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > bye cause 38
                end by failure reason in BYE: Q.850 38
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete-external-error of 1
                tell copy complete-external-error
            > session 3
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s3 20004/recvonly
                tell call of 1
            > expired
                end by session expired
                tell call of 1, ended
            > sealed
            > session 4
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s4 20006/recvonly
                tell call of 1
            > no-ack
                end by dialog failure: no ACK for our 200
                tell call of 1, ended
        "#]],
    );
}

#[test]
fn failures_inside() {
    check(
        "invite sendonly
         refused
         session 2
         invite sendonly
         wait 5s
         opened
         sealed
         session 3
         invite sendonly
         opened
         disk-error
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                503 s1
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > wait 5s
                ALARM not-recorded: a segment could not be opened: out of resources: the record server did not answer
                503 s2
            > opened
                end by out of resources: ports came too late
            > sealed
            > session 3
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s3 20002/recvonly
                tell call of 1
            > disk-error
                ALARM internal-failure: a segment ended: storage failure: EIO
                BYE s3 SIP;cause=503;text="storage failure: EIO"
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
        "#]],
    );
}

#[test]
fn a_resume_that_cannot_be_recorded_is_refused_and_the_number_stays_free() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         reinvite sendonly
         refused
         reinvite sendonly
         opened
         bye
         sealed
         wait 3s",
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
            > reinvite sendonly
                open 2/2 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                503 s1
            > reinvite sendonly
                open 2/2 1:mixed:active
            > opened
                200 s1 20002/recvonly
                tell call of 2
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
fn a_cancel_while_the_segment_opens() {
    check(
        "invite sendonly
         cancel
         opened
         sealed
         wait 3s
         session 2
         invite sendonly
         cancel
         refused",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > cancel
                end by hang-up
            > opened
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > cancel
                end by hang-up
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
        "#]],
    );
}

#[test]
fn limits_and_the_end() {
    check(
        "invite sendonly
         opened
         session 2
         invite sendonly
         opened
         session 3
         invite sendonly
         end-all
         sealed
         sealed
         wait 0s
         session 4
         invite sendonly",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > session 3
            > invite sendonly
                ALARM not-recorded: calls were refused (1): the limit of calls is reached
                503 s3
            > end-all
                BYE s1 SIP;cause=503;text="callspool is stopping"
                end by process ended
                tell call of 1, ended
                BYE s2 SIP;cause=503;text="callspool is stopping"
                end by process ended
                tell call of 1, ended
            > sealed
            > sealed
            > wait 0s
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
            > session 4
            > invite sendonly
                503 s4
        "#]],
    );
}

#[test]
fn new_calls_are_refused_or_handed_over_while_others_go_on() {
    check(
        "invite sendonly
         opened
         close sip:other.example.com
         session 2
         invite sendonly
         close
         session 3
         invite sendonly
         session 1
         reinvite sendonly
         opened
         open
         session 4
         invite sendonly
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > close sip:other.example.com
            > session 2
            > invite sendonly
                302 s2 <sip:other.example.com>
            > close
            > session 3
            > invite sendonly
                ALARM not-recorded: calls were refused (1): callspool is stopping
                503 s3
            > session 1
            > reinvite sendonly
                change 1:mixed:active
            > opened
                200 s1 20002/recvonly
            > open
            > session 4
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s4 20004/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn a_hold_that_nobody_resumes_ends() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         wait 7200s
         wait 3s",
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
            > wait 7200s
                BYE s1 SIP;cause=200;text="on hold for too long"
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn a_hang_up_while_a_resume_cannot_be_recorded_waits_for_nothing() {
    check(
        "invite sendonly
         opened
         reinvite inactive
         sealed
         reinvite sendonly
         bye
         refused
         wait 3s",
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
            > reinvite sendonly
                open 2/2 1:mixed:active
            > bye
                end by hang-up
                tell call of 2, ended
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn a_call_that_begins_on_hold_survives_a_resume_that_cannot_be_recorded() {
    check(
        "invite inactive
         reinvite sendonly
         refused
         reinvite sendonly
         opened
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite inactive
                200 s1 9/inactive
            > reinvite sendonly
                open 1/1 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                503 s1
            > reinvite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
        "#]],
    );
}

#[test]
fn our_own_offer_keeps_every_line_in_its_place() {
    check(
        "invite image sendonly
         opened
         reinvite
         opened
         ack - sendonly
         opened",
        expect![[r#"
            > invite image sendonly
                open 1/1 2:mixed:active
            > opened
                200 s1 0/sendrecv 20000/recvonly
                tell call of 1
            > reinvite
                change 2:mixed:active
            > opened
                200 s1 0/inactive 20002/recvonly
            > ack - sendonly
                change 2:mixed:active
            > opened
        "#]],
    );
}

#[test]
fn a_segment_that_fails_is_taken_over_from_and_the_client_notices_nothing() {
    check(
        "invite sendonly sendonly
         opened
         ack
         failing
         opened
         sealed
         wait 3s
         bye
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > ack
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:agent:active 2:external:active taking over
            > opened
                tell call of 2
            > sealed
            > wait 3s
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete-internal-error-respondent of 2
                tell copy complete-internal-error-respondent
        "#]],
    );
}

#[test]
fn when_nobody_can_take_over_the_client_is_told() {
    check(
        "invite sendonly
         opened
         ack
         failing
         refused
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:active taking over
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                BYE s1 SIP;cause=503;text="storage failure: EIO"
                end by storage failure: EIO
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
        "#]],
    );
}

#[test]
fn one_that_fails_as_soon_as_it_took_over_ends_the_dialog() {
    check(
        "invite sendonly
         opened
         ack
         failing
         opened
         failing
         sealed
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:active taking over
            > opened
                tell call of 2
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO
                BYE s1 SIP;cause=503;text="storage failure: EIO"
                end by storage failure: EIO
                tell call of 2, ended
            > sealed
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete-internal-error of 2
                tell copy complete-internal-error
        "#]],
    );
}

#[test]
fn a_hang_up_while_another_takes_over_ends_both() {
    check(
        "invite sendonly
         opened
         ack
         failing
         bye
         opened
         sealed
         sealed
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:active taking over
            > bye
                end by storage failure: EIO
                end by hang-up
                tell call of 2, ended
            > opened
            > sealed
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete-internal-error-respondent of 2
                tell copy complete-internal-error-respondent
        "#]],
    );
}

#[test]
fn a_reinvite_that_comes_while_a_segment_fails_is_answered_by_the_next() {
    check(
        "invite sendonly
         opened
         ack
         reinvite sendonly sendonly
         opened
         reinvite sendonly
         failing
         opened
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > opened
                200 s1 20002/recvonly 20004/recvonly
            > reinvite sendonly
                change 1:mixed:active
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:active taking over
            > opened
            > opened
                200 s1 20008/recvonly
                tell call of 2
        "#]],
    );
}

#[test]
fn a_segment_that_is_never_closed_does_not_keep_its_call() {
    check(
        "invite sendonly
         opened
         ack
         failing
         opened
         wait 31s
         bye
         wait 31s
         wait 271s
         wait 40s
         wait 3s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:active taking over
            > opened
                tell call of 2
            > wait 31s
                ALARM storage: a segment is not closed after 30 s: is its disk in trouble?
            > bye
                end by hang-up
                tell call of 2, ended
            > wait 31s
                ALARM storage: a segment is not closed after 30 s: is its disk in trouble?
            > wait 271s
                ALARM internal-failure: a segment is still not closed; its call is concluded as if it had failed
            > wait 40s
                ALARM internal-failure: a segment is still not closed; its call is concluded as if it had failed
            > wait 3s
                tell call of 2, ended
                conclude complete-internal-error of 2
                tell copy complete-internal-error
        "#]],
    );
}

/// Two trunks of two tenants; the second takes `inactive` for a pause and two calls at a time.
fn check_trunks(script: &str, expected: Expect) -> World {
    let trunk = |name: &str, from: &str, tenant: &str| Trunk {
        from: vec![from.parse().unwrap()],
        name: name.into(),
        ..Trunk::open(tenant.parse().unwrap())
    };
    let pausing = Trunk {
        inactive: Some(Flowing::Paused),
        calls_max: Some(2),
        tags: vec![("site".into(), "Bonn".into())],
        ..trunk("pausing", "127.0.0.2/32", "bonn")
    };
    let limits = [("acme".parse().unwrap(), 1)].into();
    let written = vec![pausing, trunk("holding", "127.0.0.1/32", "acme")];
    let trunks = Trunks::new(written, TenantId::default());
    let mut world = World::of(FrontConfig { trunks, tenant_calls_max: limits, ..world::config(100) });
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
    world
}

#[test]
fn a_trunk_says_whose_calls_are_and_what_inactive_means() {
    let world = check_trunks(
        "from 127.0.0.1
         invite inactive
         session 2
         from ::ffff:127.0.0.2
         invite inactive
         opened
         failing",
        expect![[r#"
            > from 127.0.0.1
            > invite inactive
                200 s1 9/inactive
            > session 2
            > from ::ffff:127.0.0.2
            > invite inactive
                open 1/1 1:mixed:paused paused
            > opened
                200 s2 20000/inactive
                bonn: tell call of 1
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:paused taking over paused
        "#]],
    );
    let data = &world.open[0].0.data;
    assert_eq!((data.extra["trunk"].as_str(), data.extra["site"].as_str()), ("pausing", "Bonn"));
}

#[test]
fn strangers_and_calls_over_the_limits_of_trunk_and_tenant_are_refused() {
    check_trunks(
        "from 203.0.113.9
         invite sendonly
         session 2
         invite sendonly
         wait 10s
         session 3
         from 127.0.0.1
         invite sendonly
         opened
         session 4
         invite sendonly
         from 127.0.0.2
         session 5
         invite sendonly
         session 6
         invite sendonly
         session 7
         invite sendonly",
        expect![[r#"
            > from 203.0.113.9
            > invite sendonly
                ALARM not-recorded: calls were refused (1): no trunk takes calls from 203.0.113.9
                403 s1
            > session 2
            > invite sendonly
                403 s2
            > wait 10s
                ALARM not-recorded: calls were refused (1): no trunk takes calls from 203.0.113.9
            > session 3
            > from 127.0.0.1
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s3 20000/recvonly
                acme: tell call of 1
            > session 4
            > invite sendonly
                503 s4
            > from 127.0.0.2
            > session 5
            > invite sendonly
                open 1/1 1:mixed:active
            > session 6
            > invite sendonly
                open 1/1 1:mixed:active
            > session 7
            > invite sendonly
                503 s7
        "#]],
    );
}

//! What record servers are told of pauses and streams when something is in the way: while another segment takes over, when
//! streams cannot be had, and when orders are lost.

use call::{FrontConfig, Trunk, Trunks};
use expect_test::expect;
use model::{Dtmf, TenantId};

use crate::world::{self, World};
use crate::{check, check_guests};

const A: &str = "ab30317f1a784dc48ff824d0d3715d86";

#[test]
fn a_pause_while_another_segment_takes_over_reaches_the_one_that_records_until_then() {
    check(
        "invite sendonly
         opened
         ack
         failing
         order pause
         carried-out
         order resume
         info Record: off
         opened
         carried-out
         carried-out",
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
            > order pause
                paused, not yet
                pause by API (alice)
            > carried-out
            > order resume
                on, not yet
                resume by API (alice)
            > info Record: off
                pause by INFO (Record: off)
            > opened
                pause by INFO (Record: off)
                tell call of 2
            > carried-out
            > carried-out
        "#]],
    );
}

#[test]
fn a_pause_of_one_trunk_and_a_hang_up_while_another_segment_takes_over_reach_the_one_that_records() {
    let script = format!(
        "from 127.0.0.1
         says Session-ID: {A}
         invite sendonly
         opened
         session 2
         from 127.0.0.2
         says Session-ID: {A}
         invite sendonly
         opened
         failing
         info Record: off
         bye
         opened"
    );
    check_guests(
        &script,
        expect![[r#"
        > from 127.0.0.1
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            open 1/1 1:mixed:active
        > opened
            200 s1 20000/recvonly
            tell call of 1
        > session 2
        > from 127.0.0.2
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            change 1:mixed:active 1:mixed:active
            annotate 0 bodies
            tell call of 1
        > opened
            200 s2 20004/recvonly
        > failing
            ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
            open 2/2 1:mixed:active 1:mixed:active taking over
        > info Record: off
            change 1:mixed:active 1:mixed:paused
        > bye
            change 1:mixed:active
            tell call of 2
        > opened
            change 1:mixed:active
            annotate 0 bodies
            tell call of 2
    "#]],
    );
}

#[test]
fn a_resume_that_may_not_have_reached_a_segment_that_failed_reaches_the_next() {
    check(
        "invite sendonly
         opened
         order pause
         carried-out
         order resume
         failing
         opened
         carried-out
         carried-out
         wait 4s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > order pause
                paused, not yet
                pause by API (alice)
            > carried-out
            > order resume
                on, not yet
                resume by API (alice)
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 2/2 1:mixed:active taking over
            > opened
                resume by API (alice)
                tell call of 2
            > carried-out
            > carried-out
            > wait 4s
        "#]],
    );
}

#[test]
fn a_re_invite_whose_streams_cannot_be_had_leaves_everything_as_it_was() {
    let script = format!(
        "says Session-ID: {A}
         invite sendonly
         opened
         session 2
         says Session-ID: {A}
         invite sendonly
         opened
         metadata paused
         reinvite sendonly sendonly
         refused
         opened
         metadata active
         reinvite
         refused
         opened
         reinvite inactive
         opened
         reinvite sendonly
         opened
         bye
         opened"
    );
    check(
        &script,
        expect![[r#"
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            open 1/1 1:mixed:active
        > opened
            200 s1 20000/recvonly
            tell call of 1
        > session 2
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            change 1:mixed:active 1:mixed:active
            annotate 0 bodies
            tell call of 1
        > opened
            200 s2 20004/recvonly
        > metadata paused
            annotate 1 bodies
            tell call of 1
            pause by SIP (metadata: paused)
        > reinvite sendonly sendonly
            change 1:mixed:active 1:agent:active 2:external:active
        > refused
            ALARM not-recorded: a segment could not be given other streams: disk full
            503 s2
            change 1:mixed:active 1:mixed:active
        > opened
        > metadata active
            annotate 1 bodies
            tell call of 1
            resume by SIP (metadata: paused)
        > reinvite
            change 1:mixed:active 1:mixed:active
        > refused
            ALARM not-recorded: a segment could not be given other streams: disk full
            503 s2
            change 1:mixed:active 1:mixed:active
        > opened
        > reinvite inactive
            change 1:mixed:active 1:mixed:held
        > opened
            200 s2 20016/inactive
        > reinvite sendonly
            change 1:mixed:active 1:mixed:active
        > opened
            200 s2 20020/recvonly
        > bye
            change 1:mixed:active
            tell call of 1
        > opened
    "#]],
    );
}

#[test]
fn orders_that_are_lost_are_given_again() {
    check(
        "invite sendonly
         opened
         info Record: off
         wait 2s
         carried-out
         wait 2s
         reinvite sendonly
         opened
         session 2
         invite sendonly
         opened
         session 1
         reinvite sendonly sendonly
         refused
         refused
         wait 2s
         opened
         wait 9s",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > info Record: off
                pause by INFO (Record: off)
            > wait 2s
                pause by INFO (Record: off)
            > carried-out
            > wait 2s
            > reinvite sendonly
                change 1:mixed:active
            > opened
                200 s1 20002/recvonly
            > session 2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20004/recvonly
                tell call of 1
            > session 1
            > reinvite sendonly sendonly
                change 1:agent:active 2:external:active
            > refused
                ALARM not-recorded: a segment could not be given other streams: disk full
                503 s1
                change 1:mixed:active
            > refused
                ALARM not-recorded: a segment could not be given other streams: disk full
            > wait 2s
                change 1:mixed:active
            > opened
            > wait 9s
        "#]],
    );
}

/// The stream of a line that comes and goes is the same.
#[test]
fn a_line_that_comes_and_goes_has_one_stream() {
    let mut world = World::new(2);
    for step in ["invite sendonly sendonly", "opened"] {
        world.play(step);
    }
    let streams = |world: &World| {
        let all = world.wanted.values().flatten().map(|s| s.stream);
        all.collect::<Vec<_>>()
    };
    let before = streams(&world);
    for _ in 0..40 {
        for step in ["reinvite sendonly -", "opened", "reinvite sendonly sendonly", "opened"] {
            world.play(step);
        }
    }
    assert_eq!(streams(&world), before, "{}", world.out);
}

/// A gateway whose calls keep digits, and an SBC that wants them masked.
#[test]
fn what_is_to_be_masked_does_not_join_what_is_not() {
    let trunk = |name: &str, from: &str, dtmf| Trunk {
        from: vec![from.parse().unwrap()],
        name: name.into(),
        dtmf: Some(dtmf),
        ..Trunk::open(TenantId::default())
    };
    let trunks = vec![trunk("keeps", "127.0.0.1/32", Dtmf::Keep), trunk("masks", "127.0.0.2/32", Dtmf::Mask)];
    let trunks = Trunks::new(trunks, TenantId::default());
    let mut world = World::of(FrontConfig { trunks, ..world::config(100) });
    let script = format!(
        "from 127.0.0.1
         says Session-ID: {A}
         invite sendonly
         session 2
         from 127.0.0.2
         says Session-ID: {A}
         invite sendonly
         opened
         opened
         session 3
         from 127.0.0.2
         says Session-ID: {A}
         invite sendonly
         opened
         session 4
         from 127.0.0.1
         says Session-ID: {A}
         invite sendonly
         opened"
    );
    for line in script.lines().map(str::trim) {
        world.play(line);
    }
    expect![[r#"
        > from 127.0.0.1
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            open 1/1 1:mixed:active
        > session 2
        > from 127.0.0.2
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
        > opened
            200 s1 20000/recvonly
            tell call of 1
            open 2/2 1:mixed:active masked
        > opened
            200 s2 20002/recvonly
            tell call of 2
        > session 3
        > from 127.0.0.2
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            change 1:mixed:active 1:mixed:active
            annotate 0 bodies
            tell call of 2
        > opened
            200 s3 20006/recvonly
        > session 4
        > from 127.0.0.1
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            change 1:mixed:active 1:mixed:active 1:mixed:active
            annotate 0 bodies
            tell call of 2
        > opened
            200 s4 20012/recvonly
    "#]]
    .assert_eq(&world.out);
}

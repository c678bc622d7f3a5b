//! Who is let in: limits, the end of the process, trunks and tenants.

use expect_test::expect;

use crate::{check, check_trunks};

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
fn new_calls_are_sent_to_the_record_server_that_is_chosen_for_them() {
    check(
        "invite sendonly
         opened
         redirect sip:rec2.example.com
         session 2
         invite sendonly
         session 1
         reinvite sendonly
         opened
         redirect
         session 3
         invite sendonly
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > redirect sip:rec2.example.com
            > session 2
            > invite sendonly
                302 s2 <sip:rec2.example.com;callspool-placed>
            > session 1
            > reinvite sendonly
                change 1:mixed:active
            > opened
                200 s1 20002/recvonly
            > redirect
            > session 3
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s3 20004/recvonly
                tell call of 1
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

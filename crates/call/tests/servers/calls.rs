//! How calls come out that lie at one record server or at several.

use expect_test::expect;

use crate::check;

#[test]
fn a_call_at_one_record_server_has_a_state_and_a_copy_there() {
    check(
        2,
        "a up
         b up
         invite sendonly
         bye
         wait 4s
         session 2
         invite sendonly
         bye
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > bye
                tell call of 1, ended
                a: end S1 by hang-up
                S1 ended at node 1: partial by hang-up
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete
                a: conclude complete of 1
            > session 2
            > invite sendonly
                b: open S2 as 1/1
                S2 opened
                200 s2 20000/recvonly
                tell call of 1
            > bye
                tell call of 1, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial by hang-up
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 2: complete
                b: conclude complete of 1
        "#]],
    );
}

#[test]
fn a_call_at_several_is_concluded_at_each_without_a_state() {
    check(
        2,
        "a up
         b up
         invite sendonly
         reinvite inactive
         reinvite sendonly
         bye
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > reinvite inactive
                200 s1 9/inactive
                tell call of 2
                a: end S1 by hold
                S1 ended at node 1: partial by hold
            > reinvite sendonly
                b: open S2 as 2/2
                S2 opened
                200 s1 20000/recvonly
                tell call of 2
            > bye
                tell call of 2, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial by hang-up
            > wait 4s
                tell call of 2, ended
                a: conclude without a state of 2
                b: conclude without a state of 2
        "#]],
    );
}

#[test]
fn a_conclusion_waits_for_one_that_is_away_also_when_it_begins_anew() {
    check(
        2,
        "a up
         b up
         invite sendonly
         reinvite inactive
         reinvite sendonly
         a die
         bye
         wait 4s
         a start",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > reinvite inactive
                200 s1 9/inactive
                tell call of 2
                a: end S1 by hold
                S1 ended at node 1: partial by hold
            > reinvite sendonly
                b: open S2 as 2/2
                S2 opened
                200 s1 20000/recvonly
                tell call of 2
            > a die
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > bye
                tell call of 2, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial by hang-up
            > wait 4s
                tell call of 2, ended
                b: conclude without a state of 2
            > a start
                a: conclude without a state of 2
        "#]],
    );
}

#[test]
fn calls_at_two_record_servers_that_turn_out_to_be_one_are_joined_at_both() {
    check(
        2,
        "a up
         b up
         invite sendonly
         session 2
         invite sendonly
         join 1
         bye
         session 1
         bye
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > session 2
            > invite sendonly
                b: open S2 as 1/1
                S2 opened
                200 s2 20000/recvonly
                tell call of 1
            > join 1
                tell call of 2
                a: join of 2
                b: join of 2
            > bye
                tell call of 2
                b: end S2 by hang-up
                S2 ended at node 2: partial by hang-up
            > session 1
            > bye
                tell call of 2, ended
                a: end S1 by hang-up
                S1 ended at node 1: partial by hang-up
            > wait 4s
                tell call of 2, ended
                a: conclude without a state of 2
                b: conclude without a state of 2
        "#]],
    );
}

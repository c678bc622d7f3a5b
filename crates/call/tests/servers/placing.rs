//! Which record server gets a segment, and what happens where it does not take it.

use expect_test::expect;

use crate::check;

#[test]
fn calls_go_round_the_record_servers() {
    check(
        3,
        "a up
         b up
         c up
         invite sendonly
         session 2
         invite sendonly
         session 3
         invite sendonly
         session 4
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > c up
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
            > session 3
            > invite sendonly
                c: open S3 as 1/1
                S3 opened
                200 s3 30000/recvonly
                tell call of 1
            > session 4
            > invite sendonly
                a: open S4 as 1/1
                S4 opened
                200 s4 10002/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn who_has_more_room_gets_more_calls() {
    check(
        2,
        "a up
         b up
         a over 750
         wait 100ms
         invite sendonly
         session 2
         invite sendonly
         session 3
         invite sendonly
         session 4
         invite sendonly
         session 5
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > a over 750
            > wait 100ms
            > invite sendonly
                b: open S1 as 1/1
                S1 opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > invite sendonly
                b: open S2 as 1/1
                S2 opened
                200 s2 20002/recvonly
                tell call of 1
            > session 3
            > invite sendonly
                a: open S3 as 1/1
                S3 opened
                200 s3 10000/recvonly
                tell call of 1
            > session 4
            > invite sendonly
                b: open S4 as 1/1
                S4 opened
                200 s4 20004/recvonly
                tell call of 1
            > session 5
            > invite sendonly
                b: open S5 as 1/1
                S5 opened
                200 s5 20006/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn where_one_refuses_the_next_is_asked_within_the_same_request() {
    check(
        3,
        "a up
         b up
         c up
         a refuse
         b refuse
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > c up
            > a refuse
            > b refuse
            > invite sendonly
                a: open S1 as 1/1
                b: open S1 as 1/1
                c: open S1 as 1/1
                S1 opened
                200 s1 30000/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn where_all_refuse_the_call_is_refused_as_the_last_one_did() {
    check(
        2,
        "a up
         b up
         a refuse
         b refuse
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > a refuse
            > b refuse
            > invite sendonly
                a: open S1 as 1/1
                b: open S1 as 1/1
                S1 refused: disk full
                ALARM not-recorded: a segment could not be opened: disk full
                503 s1, retry after 10
        "#]],
    );
}

#[test]
fn one_that_says_nothing_is_asked_for_nothing_until_it_answers() {
    check(
        2,
        "a up
         b up
         a slow
         invite sendonly
         wait 1s
         session 2
         invite sendonly
         a well
         session 3
         invite sendonly
         session 4
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > a slow
            > invite sendonly
                a: open S1 as 1/1
            > wait 1s
                a: withdraw S1
                ALARM internal-failure: record server a does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S1
                b: open S2 as 1/1, by its id
                S2 opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > invite sendonly
                b: open S3 as 1/1
                S3 opened
                200 s2 20002/recvonly
                tell call of 1
            > a well
            > session 3
            > invite sendonly
                b: open S4 as 1/1
                S4 opened
                200 s3 20004/recvonly
                tell call of 1
            > session 4
            > invite sendonly
                a: open S5 as 1/1
                S5 opened
                200 s4 10000/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn what_is_opened_too_late_is_ended() {
    check(
        2,
        "a up
         b up
         a mute
         invite sendonly
         wait 1s
         a well
         bye
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > a mute
            > invite sendonly
                a: open S1 as 1/1
            > wait 1s
                a: withdraw S1
                ALARM internal-failure: record server a does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S1
                b: open S2 as 1/1, by its id
                S2 opened
                200 s1 20000/recvonly
                tell call of 1
            > a well
                a: end S1 by out of resources: nobody waited for it any more
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
fn where_nobody_answers_the_call_is_refused_in_time() {
    check(
        4,
        "a up
         b up
         c up
         d up
         a slow
         b slow
         c slow
         d slow
         invite sendonly
         wait 5s",
        expect![[r#"
            > a up
            > b up
            > c up
            > d up
            > a slow
            > b slow
            > c slow
            > d slow
            > invite sendonly
                a: open S1 as 1/1
            > wait 5s
                a: withdraw S1
                ALARM internal-failure: record server a does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S1
                b: open S2 as 1/1, by its id
                b: withdraw S2
                ALARM internal-failure: record server b does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S2
                c: open S3 as 1/1, by its id
                c: withdraw S3
                ALARM internal-failure: record server c does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S3
                ALARM not-recorded: a segment could not be opened: out of resources: no record server answered
                503 s1, retry after 10
        "#]],
    );
}

#[test]
fn a_client_that_hangs_up_while_nobody_answers_is_not_missed() {
    check(
        2,
        "a up
         b up
         a slow
         invite sendonly
         wait 500ms
         cancel
         wait 1s
         a well",
        expect![[r#"
            > a up
            > b up
            > a slow
            > invite sendonly
                a: open S1 as 1/1
            > wait 500ms
            > cancel
                a: end S1 by hang-up
                a: withdraw S1
            > wait 1s
                a: withdraw S1
                ALARM internal-failure: record server a does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S1
            > a well
        "#]],
    );
}

#[test]
fn one_that_drains_keeps_its_calls_and_gets_no_more() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a drain
         wait 100ms
         session 2
         invite sendonly
         session 3
         invite sendonly
         session 1
         reinvite inactive
         reinvite sendonly",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a drain
            > wait 100ms
            > session 2
            > invite sendonly
                b: open S2 as 1/1
                S2 opened
                200 s2 20000/recvonly
                tell call of 1
            > session 3
            > invite sendonly
                b: open S3 as 1/1
                S3 opened
                200 s3 20002/recvonly
                tell call of 1
            > session 1
            > reinvite inactive
                200 s1 9/inactive
                tell call of 2
                a: end S1 by hold
                S1 ended at node 1: partial by hold
            > reinvite sendonly
                b: open S4 as 2/2
                S4 opened
                200 s1 20004/recvonly
                tell call of 2
        "#]],
    );
}

#[test]
fn when_all_are_full_it_is_busy_everywhere() {
    check(
        2,
        "a up
         b up
         a over 1000
         b over 1000
         wait 100ms
         invite sendonly
         a take
         wait 100ms
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > a over 1000
            > b over 1000
            > wait 100ms
            > invite sendonly
                ALARM not-recorded: calls were refused (1): no record server has room for another call
                600 s1, retry after 10
            > a take
            > wait 100ms
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn when_one_is_not_reached_another_proxy_may_help() {
    check(
        2,
        "a up
         a over 1000
         wait 100ms
         invite sendonly
         b up
         invite sendonly",
        expect![[r#"
            > a up
            > a over 1000
            > wait 100ms
            > invite sendonly
                ALARM not-recorded: calls were refused (1): no record server that takes calls is reached
                503 s1, retry after 10
            > b up
            > invite sendonly
                b: open S1 as 1/1
                S1 opened
                200 s1 20000/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn a_proxy_that_stands_still_takes_nobody_to_be_gone() {
    check(
        2,
        "a up
         b up
         a slow
         invite sendonly
         stall 3s
         wait 2s",
        expect![[r#"
            > a up
            > b up
            > a slow
            > invite sendonly
                a: open S1 as 1/1
            > stall 3s
            > wait 2s
                a: withdraw S1
                ALARM internal-failure: record server a does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S1
                ALARM not-recorded: a segment could not be opened: out of resources: no record server answered
                503 s1, retry after 10
        "#]],
    );
}

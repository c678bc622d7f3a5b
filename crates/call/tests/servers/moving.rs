//! A record server that dies, hangs or loses its disk while it has segments: who takes over, and what is told.

use expect_test::expect;

use crate::check;

#[test]
fn a_call_whose_record_server_dies_goes_on_at_another() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a die
         accepted sendonly
         wait 1s
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
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
            > accepted sendonly
                b: change S2
                S2 opened
            > wait 1s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > bye
                tell call of 2, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial-internal-error-respondent by hang-up
            > wait 4s
                tell call of 2, ended
                b: conclude without a state of 2
        "#]],
    );
}

#[test]
fn one_that_hangs_is_probed_and_taken_to_be_gone() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a hang
         wait 290ms
         wait 20ms
         wait 300ms",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a hang
            > wait 290ms
            > wait 20ms
                probe a
            > wait 300ms
                drop a
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: it does not answer; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
        "#]],
    );
}

#[test]
fn one_that_answers_a_probe_is_there() {
    check(
        1,
        "a up
         invite sendonly
         a quiet
         wait 700ms",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a quiet
            > wait 700ms
                probe a
                probe a
        "#]],
    );
}

#[test]
fn one_that_dies_while_it_opens_a_segment_is_not_waited_for() {
    check(
        2,
        "a up
         b up
         a slow
         invite sendonly
         a die",
        expect![[r#"
            > a up
            > b up
            > a slow
            > invite sendonly
                a: open S1 as 1/1
            > a die
                unanswered S1
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 1/1, by its id
                S2 opened
                200 s1 20000/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn one_that_dies_while_it_ends_a_segment_may_return_for_a_while() {
    check(
        1,
        "a up
         invite sendonly
         a slow
         bye
         a die
         wait 9s
         wait 2s
         wait 4s",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a slow
            > bye
                tell call of 1, ended
                a: end S1 by hang-up
            > a die
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > wait 9s
            > wait 2s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete-internal-error
        "#]],
    );
}

#[test]
fn another_volume_of_the_same_record_server_takes_over_first() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a fail
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
            > a fail
                S1 failing: storage failure: EIO
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                a: open S2 as 2/2 for S1, respondent
                S2 opened
                tell call of 2
                S1 ended at node 1: partial-internal-error by storage failure: EIO
            > bye
                tell call of 2, ended
                a: end S2 by hang-up
                S2 ended at node 1: partial-internal-error-respondent by hang-up
            > wait 4s
                tell call of 2, ended
                tell copy of the call at node 1: complete-internal-error-respondent
                a: conclude complete-internal-error-respondent of 2
        "#]],
    );
}

#[test]
fn where_it_has_no_other_volume_another_record_server_takes_over() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a refuse
         a fail
         accepted sendonly
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
            > a refuse
            > a fail
                S1 failing: storage failure: EIO
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                a: open S2 as 2/2 for S1, respondent
                b: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
                a: end S1 by storage failure: EIO
                S1 ended at node 1: partial-internal-error by storage failure: EIO
            > accepted sendonly
                b: change S2
                S2 opened
            > bye
                tell call of 2, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial-internal-error-respondent by hang-up
            > wait 4s
                tell call of 2, ended
                a: conclude without a state of 2
                b: conclude without a state of 2
        "#]],
    );
}

#[test]
fn where_it_does_not_say_how_the_failed_one_ended_that_is_presumed() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a slow
         a fail
         wait 1s
         accepted sendonly
         wait 1s
         a well",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a slow
            > a fail
                S1 failing: storage failure: EIO
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                a: open S2 as 2/2 for S1, respondent
            > wait 1s
                a: withdraw S2
                ALARM internal-failure: record server a does not open a segment within 1 s: it gets no calls until it answers an order
                unanswered S2
                b: open S3 as 2/2, respondent, by its id
                S3 opened
                INVITE s1 20000/recvonly
                tell call of 2
                a: end S1 by storage failure: EIO
            > accepted sendonly
                b: change S3
                S3 opened
            > wait 1s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by storage failure: EIO
            > a well
        "#]],
    );
}

#[test]
fn where_nobody_takes_over_the_client_is_told() {
    check(
        1,
        "a up
         invite sendonly
         a refuse
         a fail
         wait 4s",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a refuse
            > a fail
                S1 failing: storage failure: EIO
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                a: open S2 as 2/2 for S1, respondent
                S2 refused: disk full
                ALARM not-recorded: a segment could not be opened: disk full
                BYE s1 SIP;cause=503;text="storage failure: EIO"
                tell call of 1, ended
                a: end S1 by storage failure: EIO
                S1 ended at node 1: partial-internal-error by storage failure: EIO
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete-internal-error
                a: conclude complete-internal-error of 1
        "#]],
    );
}

#[test]
fn where_nobody_is_left_the_client_is_told() {
    check(
        1,
        "a up
         invite sendonly
         a die
         wait 10s
         wait 4s",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
            > wait 10s
                S2 refused: out of resources: no record server is reached
                ALARM not-recorded: a segment could not be opened: out of resources: no record server is reached
                BYE s1 SIP;cause=503;text="process ended"
                tell call of 1, ended
            > wait 4s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
        "#]],
    );
}

#[test]
fn a_client_that_refuses_to_be_told_of_other_ports_is_told_of() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a die
         not-accepted
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
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
            > not-accepted
                ALARM not-recorded: a client refuses to be told of ports that have changed (488): what it sends is lost
            > bye
                tell call of 2, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial-internal-error-respondent by hang-up
            > wait 4s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
                tell call of 2, ended
                b: conclude without a state of 2
        "#]],
    );
}

#[test]
fn a_hang_up_while_another_takes_over_ends_both() {
    check(
        2,
        "a up
         b up
         invite sendonly
         b slow
         a die
         bye
         b well
         wait 10s
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > b slow
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
            > bye
                tell call of 2, ended
                b: end S2 by hang-up
            > b well
                S2 opened
                S2 ended at node 2: partial-internal-error-respondent by hang-up
            > wait 10s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > wait 4s
                tell call of 2, ended
                b: conclude without a state of 2
        "#]],
    );
}

#[test]
fn two_that_die_one_after_the_other_are_taken_over_from() {
    check(
        3,
        "a up
         b up
         c up
         invite sendonly
         b slow
         a die
         b die
         accepted sendonly
         wait 1s
         bye
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > c up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > b slow
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
            > b die
                unanswered S2
                ALARM internal-failure: record server b is gone: connection reset; segments that are to go on elsewhere: 1
                c: open S3 as 2/2, respondent, by its id
                S3 opened
                INVITE s1 30000/recvonly
                tell call of 2
            > accepted sendonly
                c: change S3
                S3 opened
            > wait 1s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > bye
                tell call of 2, ended
                c: end S3 by hang-up
                S3 ended at node 3: partial-internal-error-respondent by hang-up
            > wait 4s
                tell call of 2, ended
                c: conclude without a state of 2
        "#]],
    );
}

#[test]
fn a_link_that_is_lost_for_a_moment_costs_a_segment_and_no_call() {
    check(
        1,
        "a up
         invite sendonly
         a cut
         wait 500ms
         a up
         accepted sendonly
         bye
         wait 4s",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a cut
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
            > wait 500ms
            > a up
                a: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 10002/recvonly
                tell call of 2
                a: end S1 by process ended
                S1 ended at node 1: partial-internal-error by process ended
            > accepted sendonly
                a: change S2
                S2 opened
            > bye
                tell call of 2, ended
                a: end S2 by hang-up
                S2 ended at node 1: partial-internal-error-respondent by hang-up
            > wait 4s
                tell call of 2, ended
                tell copy of the call at node 1: complete-internal-error-respondent
                a: conclude complete-internal-error-respondent of 2
        "#]],
    );
}

#[test]
fn a_hang_up_while_nobody_is_reached_waits_for_nothing() {
    check(
        1,
        "a up
         invite sendonly
         a die
         bye
         wait 2s
         a start
         wait 4s",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
            > bye
                tell call of 2, ended
                S2 withdrawn
            > wait 2s
            > a start
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete-internal-error
                a: conclude complete-internal-error of 1
        "#]],
    );
}

#[test]
fn one_that_takes_over_and_ends_before_it_is_heard_of_leaves_nothing_behind() {
    check(
        2,
        "a up
         b up
         invite sendonly
         b mute
         a die
         b seal
         wait 1s
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > b mute
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
            > b seal
                S2 ended at node 2: partial-internal-error by disk full
                ALARM internal-failure: a segment ended: disk full
                BYE s1 SIP;cause=503;text="disk full"
                tell call of 2, ended
            > wait 1s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > wait 4s
                tell call of 2, ended
                b: conclude without a state of 2
        "#]],
    );
}

#[test]
fn a_call_that_goes_on_is_taken_where_no_new_call_is() {
    check(
        2,
        "a up
         b up
         invite sendonly
         b over 1000
         wait 200ms
         a die
         session 2
         invite sendonly",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > b over 1000
            > wait 200ms
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
            > session 2
            > invite sendonly
                ALARM not-recorded: calls were refused (1): no record server that takes calls is reached
                503 s2, retry after 10
        "#]],
    );
}

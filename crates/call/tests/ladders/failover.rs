//! A segment that fails in mid-call is taken over from in the same dialog.

use expect_test::expect;

use crate::check;

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
fn one_that_ends_while_nobody_takes_over_from_it_is_not_waited_for() {
    check(
        "invite sendonly
         opened
         ack
         failing
         disk-error
         refused
         wait 3s
         wait 31s",
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
            > disk-error
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                BYE s1 SIP;cause=503;text="storage failure: EIO"
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete-internal-error of 1
                tell copy complete-internal-error
            > wait 31s
        "#]],
    );
}

//! What fails, upstream and inside, and what then becomes of the segment and its call.

use expect_test::expect;

use crate::check;

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
         no-ack
         bye",
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
            > bye
                end by hang-up
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
                conclude complete-internal-error of 1
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
                withdraw
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
                withdraw
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
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
                withdraw
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

//! What the lines and words of each client ask for, and until when: of two dialogs of a call one asks, and what the other
//! brings tells whether it is heard.

use expect_test::expect;

use crate::{check, check_pausing};

const A: &str = "ab30317f1a784dc48ff824d0d3715d86";

/// Dialogs 1 and 2 of a call; what follows is said in the first.
fn two(rest: &str) -> String {
    format!(
        "says Session-ID: {A}
         invite sendonly
         opened
         session 2
         says Session-ID: {A}
         invite sendonly
         opened
         session 1
         {rest}"
    )
}

#[test]
fn a_client_that_asks_for_an_offer_goes_on_when_it_answers_and_not_before() {
    check_pausing(
        &two("reinvite inactive
             opened
             reinvite
             metadata active
             opened
             ack inactive
             opened
             reinvite
             opened
             ack
             no-ack
             reinvite
             opened
             ack sendonly"),
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
            > session 1
            > reinvite inactive
                pause by SDP (inactive)
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20006/inactive
            > reinvite
                change 1:mixed:active 1:mixed:active
            > metadata active
                annotate 1 bodies
                tell call of 1
            > opened
                200 s1 20010/recvonly
            > ack inactive
                change 1:mixed:paused 1:mixed:active
            > opened
            > reinvite
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20018/recvonly
            > ack
                ALARM not-recorded: a client that paused asked for an offer and did not answer it: the pause goes on until it offers media again
            > no-ack
                ALARM not-recorded: a client that paused asked for an offer and did not answer it: the pause goes on until it offers media again
            > reinvite
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20022/recvonly
            > ack sendonly
                resume by SDP (inactive)
                change 1:mixed:active 1:mixed:active
        "#]],
    );
}

#[test]
fn a_pause_of_metadata_lasts_until_the_offer_that_its_client_asked_for_is_answered() {
    check(
        &two("reinvite-says paused / inactive
             opened
             reinvite
             opened
             ack inactive
             opened
             reinvite
             opened
             ack sendonly"),
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
            > session 1
            > reinvite-says paused / inactive
                pause by SIP (metadata: paused)
                annotate 1 bodies
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20006/inactive
            > reinvite
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20010/recvonly
            > ack inactive
                change 1:mixed:paused 1:mixed:active
            > opened
            > reinvite
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20018/recvonly
            > ack sendonly
                resume by SIP (metadata: paused)
                change 1:mixed:active 1:mixed:active
        "#]],
    );
}

#[test]
fn where_inactive_means_a_pause_it_does_whatever_metadata_say_beside() {
    check_pausing(
        &two("reinvite inactive
             opened
             metadata paused
             order resume
             info Record: on
             metadata active
             reinvite sendonly
             opened"),
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
            > session 1
            > reinvite inactive
                pause by SDP (inactive)
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20006/inactive
            > metadata paused
                annotate 1 bodies
                tell call of 1
                pause by SIP (metadata: paused)
            > order resume
                paused, not yet
            > info Record: on
            > metadata active
                annotate 1 bodies
                tell call of 1
            > reinvite sendonly
                resume by SDP (inactive)
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20010/recvonly
        "#]],
    );
}

#[test]
fn a_client_whose_metadata_said_what_it_means_pauses_again_by_its_lines() {
    check(
        &two("reinvite-says paused / inactive
             opened
             order resume
             reinvite inactive
             opened
             reinvite sendonly
             opened
             reinvite inactive
             opened
             reinvite sendonly
             opened"),
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
            > session 1
            > reinvite-says paused / inactive
                pause by SIP (metadata: paused)
                annotate 1 bodies
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20006/inactive
            > order resume
                on, not yet
                resume by API (alice)
            > reinvite inactive
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20010/inactive
            > reinvite sendonly
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20014/recvonly
            > reinvite inactive
                pause by SDP (inactive)
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20018/inactive
            > reinvite sendonly
                resume by SDP (inactive)
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20022/recvonly
        "#]],
    );
}

#[test]
fn what_is_said_beside_sdp_that_cannot_be_read_is_heard() {
    check(
        &two("reinvite-says paused / junk
             reinvite-with X-AC-Action: pause-siprec / junk
             metadata active
             info Record: on"),
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
            > session 1
            > reinvite-says paused / junk
                488 s1
                pause by SIP (metadata: paused)
            > reinvite-with X-AC-Action: pause-siprec / junk
                488 s1
                pause by SIP (X-AC-Action: pause-siprec)
            > metadata active
                annotate 1 bodies
                tell call of 1
            > info Record: on
                resume by INFO (Record: on)
        "#]],
    );
}

#[test]
fn a_dialog_that_was_paused_for_too_long_leaves_its_pause_behind() {
    check_pausing(
        &two("reinvite inactive
             opened
             wait 7200s
             opened
             wait 10s
             session 2
             info Record: on"),
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
            > session 1
            > reinvite inactive
                pause by SDP (inactive)
                change 1:mixed:paused 1:mixed:active
            > opened
                200 s1 20006/inactive
            > wait 7200s
                pause by SDP (inactive)
                BYE s1 SIP;cause=200;text="on hold for too long"
                change 1:mixed:active
                tell call of 1
            > opened
            > wait 10s
                pause by SDP (inactive)
                ALARM not-recorded: a call stays paused because a dialog of it asked for that, which is over: resume it by the interface when it may be recorded
            > session 2
            > info Record: on
                resume by INFO (Record: on)
        "#]],
    );
}

#[test]
fn an_invite_that_is_cancelled_leaves_no_pause_behind() {
    check(
        &two("session 3
             says Session-ID: {A}
             invite-says paused / sendonly
             cancel
             opened
             wait 10s")
        .replace("{A}", A),
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
            > session 1
            > session 3
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite-says paused / sendonly
                pause by SIP (metadata: paused)
                change 1:mixed:active 1:mixed:active 1:mixed:active
                annotate 1 bodies
                tell call of 1
            > cancel
                change 1:mixed:active 1:mixed:active
                resume by SDP (inactive)
                tell call of 1
            > opened
            > wait 10s
                resume by SIP (metadata: paused)
        "#]],
    );
}

#[test]
fn a_call_that_goes_on_in_a_pause_that_a_person_ordered_before_its_end_is_told_of() {
    let script = format!(
        "says Session-ID: {A}
         invite sendonly
         opened
         order pause
         bye
         sealed
         wait 3s
         session 2
         says Session-ID: {A}
         invite sendonly
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
        > order pause
            paused, not yet
            pause by API (alice)
        > bye
            end by hang-up
            tell call of 1, ended
        > sealed
        > wait 3s
            tell call of 1, ended
            conclude complete of 1
            tell copy complete
        > session 2
        > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
        > invite sendonly
            ALARM not-recorded: a call goes on that API (alice) paused before it ended: nothing of it is kept until it is resumed
            conclude partial of 1 after complete
            tell copy partial
            open 2/2 1:mixed:active paused
        > opened
            200 s2 20002/recvonly
            tell call of 2
    "#]],
    );
}

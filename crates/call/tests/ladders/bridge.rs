//! The built-in bridge of Cisco phones: two dialogs without offer for each call, near end and far end.

use expect_test::expect;

use crate::check;

#[test]
fn near_and_far_end_are_two_sides_of_one_segment() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         session 2
         is far refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         opened
         session 1
         ack sendonly
         opened
         session 2
         ack sendonly
         opened
         bye
         opened
         session 1
         bye
         sealed
         wait 3s",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                open 1/1 -:agent:active
            > session 2
            > is far refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
            > opened
                change -:agent:active -:external:active
                200 s1 20000/recvonly
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > session 1
            > ack sendonly
                change 1:agent:active -:external:active
            > opened
            > session 2
            > ack sendonly
                change 1:agent:active 1:external:active
            > opened
            > bye
                change 1:agent:active
                tell call of 1
            > opened
            > session 1
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
fn the_other_end_may_come_minutes_later_and_somebody_hears_of_it() {
    check(
        "is far refci=11 cluster=C1 device=SEP1 dn=1001
         invite
         opened
         ack sendonly
         opened
         wait 10s
         wait 300s
         session 2
         is near refci=11 cluster=C1 device=SEP1 dn=1001
         invite
         opened
         ack sendonly
         opened
         wait 10s",
        expect![[r#"
            > is far refci=11 cluster=C1 device=SEP1 dn=1001
            > invite
                open 1/1 -:external:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > ack sendonly
                change 1:external:active
            > opened
            > wait 10s
                ALARM not-recorded: only the far end of a call is recorded: no dialog of the other came within 10 s
            > wait 300s
            > session 2
            > is near refci=11 cluster=C1 device=SEP1 dn=1001
            > invite
                change 1:external:active -:agent:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20006/recvonly
            > ack sendonly
                change 1:external:active 1:agent:active
            > opened
            > wait 10s
        "#]],
    );
}

#[test]
fn the_older_form_has_neither_cluster_nor_addresses() {
    check(
        "is near refci=11 device=SEP1 far=12
         invite
         opened
         session 2
         is far refci=11 device=SEP1 far=12
         invite
         opened
         session 3
         is far refci=11 device=SEP2 far=13
         invite",
        expect![[r#"
            > is near refci=11 device=SEP1 far=12
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > is far refci=11 device=SEP1 far=12
            > invite
                change -:agent:active -:external:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > session 3
            > is far refci=11 device=SEP2 far=13
            > invite
                open 1/1 -:external:active
        "#]],
    );
}

#[test]
fn a_hold_ends_both_and_the_resumed_call_is_the_same_with_another_segment() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         session 2
         is far refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         bye
         opened
         session 1
         bye
         sealed
         wait 3s
         wait 600s
         session 3
         is near refci=21 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         session 4
         is far refci=21 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         bye cause 16
         opened
         session 3
         bye cause 16
         sealed
         wait 3s",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > is far refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                change -:agent:active -:external:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > bye
                change -:agent:active
                tell call of 1
            > opened
            > session 1
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > wait 600s
            > session 3
            > is near refci=21 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                conclude partial of 1 after complete
                tell copy partial
                open 2/2 -:agent:active
            > opened
                200 s3 20008/recvonly
                tell call of 2
            > session 4
            > is far refci=21 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                change -:agent:active -:external:active
                annotate 0 bodies
                tell call of 2
            > opened
                200 s4 20012/recvonly
            > bye cause 16
                change -:agent:active
                tell call of 2
            > opened
            > session 3
            > bye cause 16
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2 after partial
                tell copy complete
        "#]],
    );
}

#[test]
fn by_its_line_a_call_goes_on_after_what_may_be_a_hold_and_not_after_a_hang_up() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 other=0301234
         invite
         opened
         bye
         sealed
         wait 60s
         session 2
         is near refci=21 cluster=C1 device=SEP1 dn=1001 other=0301234
         invite
         opened
         bye cause 16
         sealed
         wait 3s
         session 3
         is near refci=31 cluster=C1 device=SEP1 dn=1001 other=0301234
         invite",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 other=0301234
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 60s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 2
            > is near refci=21 cluster=C1 device=SEP1 dn=1001 other=0301234
            > invite
                conclude partial of 1 after complete
                tell copy partial
                open 2/2 -:agent:active
            > opened
                200 s2 20002/recvonly
                tell call of 2
            > bye cause 16
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2 after partial
                tell copy complete
            > session 3
            > is near refci=31 cluster=C1 device=SEP1 dn=1001 other=0301234
            > invite
                open 1/1 -:agent:active
        "#]],
    );
}

#[test]
fn another_agent_who_resumes_is_in_the_same_call_and_another_call_on_a_shared_line_is_not() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 other=0301234 guid=12F15A80-0001-0000-0000-000BF38F00AA
         invite
         opened
         bye
         sealed
         session 2
         is near refci=21 cluster=C1 device=SEP2 dn=1001 other=0301234 guid=12F15A80-0001-0000-0000-000BF38F00AA
         invite
         opened
         session 3
         is near refci=31 cluster=C1 device=SEP1 dn=1001 other=0305678 guid=12F15A80-0001-0000-0000-000BF38F00AB
         invite",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 other=0301234 guid=12F15A80-0001-0000-0000-000BF38F00AA
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > session 2
            > is near refci=21 cluster=C1 device=SEP2 dn=1001 other=0301234 guid=12F15A80-0001-0000-0000-000BF38F00AA
            > invite
                open 2/2 -:agent:active
            > opened
                200 s2 20002/recvonly
                tell call of 2
            > session 3
            > is near refci=31 cluster=C1 device=SEP1 dn=1001 other=0305678 guid=12F15A80-0001-0000-0000-000BF38F00AB
            > invite
                open 1/1 -:agent:active
        "#]],
    );
}

#[test]
fn a_gateway_that_forks_is_known_by_its_cisco_guid() {
    check(
        "says Cisco-Guid: 0317807232-0000065536-0000000011-4086235306
         invite sendonly sendonly
         opened
         session 2
         is near refci=11 cluster=C1 device=SEP1 dn=1001 guid=12F15A80-0001-0000-0000-000BF38F00AA
         invite
         opened",
        expect![[r#"
            > says Cisco-Guid: 0317807232-0000065536-0000000011-4086235306
            > invite sendonly sendonly
                open 1/1 1:agent:active 2:external:active
            > opened
                200 s1 20000/recvonly 20002/recvonly
                tell call of 1
            > session 2
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 guid=12F15A80-0001-0000-0000-000BF38F00AA
            > invite
                change 1:agent:active 2:external:active -:agent:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20008/recvonly
        "#]],
    );
}

#[test]
fn one_end_that_is_held_is_a_span_and_both_end_the_segment() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001
         invite sendonly
         opened
         session 2
         is far refci=11 cluster=C1 device=SEP1 dn=1001
         invite sendonly
         opened
         reinvite inactive
         opened
         session 1
         reinvite inactive
         sealed
         reinvite sendonly
         opened
         session 2
         reinvite sendonly
         opened
         bye
         opened
         session 1
         reinvite inactive
         sealed
         bye
         wait 3s",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001
            > invite sendonly
                open 1/1 1:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > is far refci=11 cluster=C1 device=SEP1 dn=1001
            > invite sendonly
                change 1:agent:active 1:external:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > reinvite inactive
                change 1:agent:active 1:external:held
            > opened
                200 s2 20008/inactive
            > session 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
            > reinvite sendonly
                open 2/2 1:agent:active
            > opened
                200 s1 20010/recvonly
                tell call of 2
            > session 2
            > reinvite sendonly
                change 1:agent:active 1:external:active
                annotate 0 bodies
                tell call of 2
            > opened
                200 s2 20014/recvonly
            > bye
                change 1:agent:active
                tell call of 2
            > opened
            > session 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 3
            > sealed
            > bye
                tell call of 2, ended
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn what_has_no_room_in_a_segment_gets_one_of_its_own_and_a_failure_takes_all_along() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001
         invite sendonly
         opened
         session 2
         is far refci=11 cluster=C1 device=SEP1 dn=1001
         invite sendonly
         refused
         opened
         failing
         opened
         session 1
         order pause
         carried-out
         carried-out
         order resume
         order stop",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001
            > invite sendonly
                open 1/1 1:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > is far refci=11 cluster=C1 device=SEP1 dn=1001
            > invite sendonly
                change 1:agent:active 1:external:active
                annotate 0 bodies
                tell call of 1
            > refused
                ALARM not-recorded: a segment could not be given other streams: disk full
                open 2/2 1:external:active
            > opened
                200 s2 20002/recvonly
                tell call of 2
            > failing
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                open 3/3 1:external:active taking over
            > opened
                tell call of 3
            > session 1
            > order pause
                paused, not yet
                pause by API (alice)
                pause by API (alice)
            > carried-out
            > carried-out
            > order resume
                on, not yet
                resume by API (alice)
                resume by API (alice)
            > order stop
                off
                end by stop of alice
                INVITE s1 9/inactive
                end by stop of alice
                INVITE s2 9/inactive
                tell call of 3
        "#]],
    );
}

#[test]
fn a_segment_that_was_never_opened_leaves_no_hole_before_the_one_of_the_other_end() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001
         invite
         bye
         session 2
         is far refci=11 cluster=C1 device=SEP1 dn=1001
         invite
         refused
         opened
         session 3
         is near refci=11 cluster=C1 device=SEP1 dn=1001
         invite
         opened",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001
            > invite
                open 1/1 -:agent:active
            > bye
                end by hang-up
                withdraw
            > session 2
            > is far refci=11 cluster=C1 device=SEP1 dn=1001
            > invite
            > refused
                ALARM not-recorded: a segment could not be opened: disk full
                open 1/1 -:external:active
            > opened
                200 s2 20000/recvonly
                tell call of 1
            > session 3
            > is near refci=11 cluster=C1 device=SEP1 dn=1001
            > invite
                change -:external:active -:agent:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s3 20004/recvonly
        "#]],
    );
}

#[test]
fn who_is_transferred_to_goes_on_with_the_call_and_who_joins_it_too() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         session 2
         is far refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
         invite
         opened
         session 3
         is near refci=21 cluster=C1 device=SEP2 dn=1002 far=12 other=0301234
         invite
         opened
         session 1
         bye
         opened
         session 2
         bye
         opened
         session 4
         is far refci=21 cluster=C1 device=SEP2 dn=1002 far=12 other=0301234
         invite
         opened
         bye
         opened
         session 3
         bye
         sealed
         wait 3s",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > is far refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=0301234
            > invite
                change -:agent:active -:external:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > session 3
            > is near refci=21 cluster=C1 device=SEP2 dn=1002 far=12 other=0301234
            > invite
                change -:agent:active -:external:active -:agent:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s3 20010/recvonly
            > session 1
            > bye
                change -:external:active -:agent:active
                tell call of 1
            > opened
            > session 2
            > bye
                change -:agent:active
                tell call of 1
            > opened
            > session 4
            > is far refci=21 cluster=C1 device=SEP2 dn=1002 far=12 other=0301234
            > invite
                change -:agent:active -:external:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s4 20020/recvonly
            > bye
                change -:agent:active
                tell call of 1
            > opened
            > session 3
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
fn two_recorded_phones_that_call_each_other_are_two_calls() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=1002
         invite
         opened
         session 2
         is near refci=12 cluster=C1 device=SEP2 dn=1002 far=11 other=1001
         invite",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12 other=1002
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > is near refci=12 cluster=C1 device=SEP2 dn=1002 far=11 other=1001
            > invite
                open 1/1 -:agent:active
        "#]],
    );
}

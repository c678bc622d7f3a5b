//! Which call a dialog is of, calls that become one, and calls that go on after their end.

use expect_test::expect;

use crate::{check, check_trunks};

const A: &str = "ab30317f1a784dc48ff824d0d3715d86";
const B: &str = "47755a9de7794ba387653f2099600ef2";

#[test]
fn a_session_id_is_known_by_either_end() {
    check(
        &format!(
            "says Session-ID: {A};remote={B}
             invite sendonly
             opened
             session 2
             says Session-ID: {B};remote={A}
             invite sendonly
             opened
             session 3
             says Session-ID: {nil};remote={nil}
             invite sendonly",
            nil = "0".repeat(32)
        ),
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                change 1:mixed:active 1:mixed:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > session 3
            > says Session-ID: 00000000000000000000000000000000;remote=00000000000000000000000000000000
            > invite sendonly
                open 1/1 1:mixed:active
        "#]],
    );
}

#[test]
fn two_live_calls_become_one_when_a_later_request_shows_it() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             session 2
             says Session-ID: {B}
             invite sendonly
             opened
             order pause
             carried-out
             says Session-ID: {B};remote={A}
             info X-Other: 1
             carried-out
             order resume
             carried-out
             carried-out
             bye
             session 1
             bye
             sealed
             sealed
             wait 3s"
        ),
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > order pause
                paused, not yet
                pause by API (alice)
            > carried-out
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                pause by API (alice)
                tell call of 2
            > carried-out
            > order resume
                on, not yet
                resume by API (alice)
                resume by API (alice)
            > carried-out
            > carried-out
            > bye
                end by hang-up
                tell call of 2
            > session 1
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2
                tell copy complete
        "#]],
    );
}

#[test]
fn calls_become_one_when_no_segment_of_theirs_is_being_opened() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             session 2
             says Session-ID: {B}
             invite sendonly
             says Session-ID: {B};remote={A}
             info X-Other: 1
             opened
             opened
             session 1
             reinvite inactive
             sealed"
        ),
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > opened
                200 s2 20002/recvonly
                tell call of 1
                join as [2] of 2 by Session-ID
                tell call of 2
            > session 1
            > reinvite inactive
                end by hold
                200 s1 9/inactive
                tell call of 2
            > sealed
        "#]],
    );
}

#[test]
fn a_concluded_call_takes_in_one_that_turns_out_to_be_its_continuation() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             bye
             sealed
             wait 3s
             session 2
             says Session-ID: {B}
             invite sendonly
             opened
             says Session-ID: {B};remote={A}
             update sendonly
             opened
             bye
             sealed
             wait 3s"
        ),
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
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
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > update sendonly
                join as [2] of 2 by Session-ID
                conclude partial of 2 after complete
                tell copy partial
                tell call of 2
                change 1:mixed:active
            > opened
                200 s2 20004/recvonly
            > bye
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
fn a_dialog_that_replaces_another_is_of_its_call() {
    check(
        "invite sendonly
         opened
         session 2
         says Replaces: s1@b;to-tag=1;from-tag=2
         invite sendonly
         opened
         session 1
         bye
         opened
         session 2
         bye
         sealed
         wait 3s
         wait 20s
         session 3
         says Replaces: s2@b;to-tag=1;from-tag=2
         invite sendonly",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > session 2
            > says Replaces: s1@b;to-tag=1;from-tag=2
            > invite sendonly
                change 1:mixed:active 1:mixed:active
                annotate 0 bodies
                tell call of 1
            > opened
                200 s2 20004/recvonly
            > session 1
            > bye
                change 1:mixed:active
                tell call of 1
            > opened
            > session 2
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > wait 20s
            > session 3
            > says Replaces: s2@b;to-tag=1;from-tag=2
            > invite sendonly
                open 1/1 1:mixed:active
        "#]],
    );
}

#[test]
fn an_id_that_every_call_has_is_no_id() {
    let mut script = String::new();
    for session in 1..=17 {
        script += &format!("session {session}\nsays X-UCID: 1234567812345678\ninvite sendonly\nopened\n");
    }
    script += "session 18\nsays X-UCID: 1234567812345678\ninvite sendonly\nopened\n";
    let mut world = crate::world::World::new(8);
    script.lines().for_each(|line| world.play(line));
    let alarms: Vec<_> = world.out.lines().filter(|l| l.contains("ALARM")).collect();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains("a value of ucid is on more dialogs than a call has"), "{alarms:?}");
    assert_eq!(world.front.stats().calls, 3, "sixteen in one, and each of the others alone:\n{}", world.out);
}

#[test]
fn trunks_of_two_tenants_never_share_a_call() {
    check_trunks(
        &format!(
            "from 127.0.0.1
             says Session-ID: {A}
             invite sendonly
             opened
             session 2
             from 127.0.0.2
             says Session-ID: {A}
             invite sendonly
             opened
             session 3
             says Replaces: s1@b;to-tag=1;from-tag=2
             invite sendonly"
        ),
        expect![[r#"
            > from 127.0.0.1
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                acme: tell call of 1
            > session 2
            > from 127.0.0.2
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                bonn: tell call of 1
            > session 3
            > says Replaces: s1@b;to-tag=1;from-tag=2
            > invite sendonly
                open 1/1 1:mixed:active
        "#]],
    );
}

#[test]
fn an_id_that_one_call_after_another_has_is_no_id() {
    let mut world = crate::world::World::new(8);
    for session in 1..=66 {
        for step in [
            format!("session {session}"),
            "says X-UCID: 1234567812345678".to_owned(),
            "invite sendonly".to_owned(),
            "opened".to_owned(),
            "bye cause 16".to_owned(),
            "sealed".to_owned(),
            "wait 60s".to_owned(),
        ] {
            world.play(&step);
        }
    }
    let alarms = world.out.lines().filter(|l| l.contains("ALARM")).count();
    assert_eq!(alarms, 1, "it is told once");
    let calls: Vec<usize> = world.numbers.values().map(std::collections::BTreeSet::len).collect();
    assert_eq!(calls, [64, 1, 1], "what came before is one call, and what comes then is not");
}

#[test]
fn a_stop_holds_for_who_waits_for_a_number_and_for_what_goes_on_after_the_end() {
    check(
        "says X-UCID: 1234567812345678
         invite sendonly
         order stop
         order start
         order stop
         opened
         sealed
         bye cause 16
         wait 3s
         session 2
         says X-UCID: 1234567812345678
         invite sendonly",
        expect![[r#"
            > says X-UCID: 1234567812345678
            > invite sendonly
                open 1/1 1:mixed:active
            > order stop
                off
                end by stop of alice
                200 s1 9/inactive
            > order start
                on
            > order stop
                off
                INVITE s1 9/inactive
            > opened
            > sealed
            > bye cause 16
                tell call of 1, ended
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 2
            > says X-UCID: 1234567812345678
            > invite sendonly
                ALARM not-recorded: a call goes on that alice stopped before it ended: it is not recorded until it is started
                conclude partial of 1 after complete
                tell copy partial
                200 s2 9/inactive
                tell call of 1
        "#]],
    );
}

#[test]
fn a_pause_that_a_person_ordered_outlives_a_hold_that_hangs_up_and_has_its_time_out() {
    check(
        "is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12
         invite
         opened
         order pause 60s
         carried-out
         bye
         sealed
         wait 3s
         session 2
         is near refci=21 cluster=C1 device=SEP1 dn=1001 far=12
         invite
         opened
         wait 57s
         carried-out
         bye
         sealed
         wait 3s
         wait 60s
         session 3
         is near refci=31 cluster=C1 device=SEP1 dn=1001 far=12
         invite",
        expect![[r#"
            > is near refci=11 cluster=C1 device=SEP1 dn=1001 far=12
            > invite
                open 1/1 -:agent:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > order pause 60s
                paused for 60 s, not yet
                pause by API (alice)
            > carried-out
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 2
            > is near refci=21 cluster=C1 device=SEP1 dn=1001 far=12
            > invite
                ALARM not-recorded: a call goes on that API (alice) paused before it ended: nothing of it is kept until it is resumed
                conclude partial of 1 after complete
                tell copy partial
                open 2/2 -:agent:active paused
            > opened
                200 s2 20002/recvonly
                tell call of 2
            > wait 57s
                ALARM not-recorded: only the near end of a call is recorded: no dialog of the other came within 10 s
                resume by time-out
                ALARM pause-timed-out: a pause lasted as long as it may: recording goes on. What is said now is kept; whoever paused should pause again if that is not wanted
            > carried-out
            > bye
                end by hang-up
                tell call of 2, ended
            > sealed
            > wait 3s
                tell call of 2, ended
                conclude complete of 2 after partial
                tell copy complete
            > wait 60s
            > session 3
            > is near refci=31 cluster=C1 device=SEP1 dn=1001 far=12
            > invite
                conclude partial of 2 after complete
                tell copy partial
                open 3/3 -:agent:active
        "#]],
    );
}

#[test]
fn a_pause_without_a_time_out_has_none_after_a_join_either() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             order pause
             carried-out
             session 2
             says Session-ID: {B}
             invite sendonly
             opened
             order pause 30s
             carried-out
             says Session-ID: {B};remote={A}
             info X-Other: 1
             wait 60s
             order pause"
        ),
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
            > carried-out
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > order pause 30s
                paused for 30 s, not yet
                pause by API (alice)
            > carried-out
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                tell call of 2
            > wait 60s
            > order pause
                paused already
        "#]],
    );
}

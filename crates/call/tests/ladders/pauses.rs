//! Pauses and stops of calls that have several dialogs: whose they are, how far they reach, and what a join makes of them.

use expect_test::expect;

use crate::{check, check_guests};

const A: &str = "ab30317f1a784dc48ff824d0d3715d86";
const B: &str = "47755a9de7794ba387653f2099600ef2";

#[test]
fn only_the_dialog_that_paused_ends_its_pause() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             session 2
             says Session-ID: {A}
             invite sendonly
             opened
             info Record: off
             session 1
             info Record: on
             metadata active
             reinvite sendonly
             opened
             metadata paused
             session 2
             metadata active
             info Record: on
             session 1
             metadata active"
        ),
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
            > info Record: off
                pause by INFO (Record: off)
            > session 1
            > info Record: on
            > metadata active
                annotate 1 bodies
                tell call of 1
            > reinvite sendonly
                change 1:mixed:active 1:mixed:active
            > opened
                200 s1 20006/recvonly
            > metadata paused
                annotate 1 bodies
                tell call of 1
                pause by SIP (metadata: paused)
            > session 2
            > metadata active
                annotate 1 bodies
                tell call of 1
            > info Record: on
            > session 1
            > metadata active
                annotate 1 bodies
                tell call of 1
                resume by SIP (metadata: paused)
        "#]],
    );
}

#[test]
fn a_pause_outlives_the_dialog_that_asked_for_it_and_somebody_hears_of_that() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             session 2
             says Session-ID: {A}
             invite sendonly
             opened
             session 1
             info Record: off
             bye
             opened
             wait 10s
             session 2
             reinvite sendonly
             opened
             metadata active
             wait 20s
             info Record: on
             info Record: off
             bye
             sealed
             wait 3s
             session 3
             says Session-ID: {A}
             invite sendonly"
        ),
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
            > info Record: off
                pause by INFO (Record: off)
            > bye
                change 1:mixed:active
                tell call of 1
            > opened
            > wait 10s
                pause by INFO (Record: off)
                ALARM not-recorded: a call stays paused because a dialog of it asked for that, which is over: resume it by the interface when it may be recorded
            > session 2
            > reinvite sendonly
                change 1:mixed:active
            > opened
                200 s2 20008/recvonly
            > metadata active
                annotate 1 bodies
                tell call of 1
            > wait 20s
                pause by INFO (Record: off)
            > info Record: on
                resume by INFO (Record: on)
            > info Record: off
                pause by INFO (Record: off)
            > bye
                end by hang-up
                tell call of 1, ended
            > sealed
            > wait 3s
                tell call of 1, ended
                conclude complete of 1
                tell copy complete
            > session 3
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                conclude partial of 1 after complete
                tell copy partial
                open 2/2 1:mixed:active
        "#]],
    );
}

#[test]
fn a_dialog_of_another_trunk_pauses_and_stops_what_came_by_its_own() {
    check_guests(
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
             info Record: off
             opened
             session 3
             says Session-ID: {A}
             invite sendonly
             opened
             order pause
             session 2
             info Record: on
             opened
             order resume
             info X-AC-Action: stop-siprec
             opened
             session 3
             reinvite sendonly
             session 1
             info X-AC-Action: start-siprec
             session 2
             info X-AC-Action: start-siprec
             opened
             opened
             session 1
             info Record: off
             info X-AC-Action: stop-siprec
             sealed
             session 2
             info X-AC-Action: start-siprec"
        ),
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
            > info Record: off
                change 1:mixed:active 1:mixed:paused
            > opened
            > session 3
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                change 1:mixed:active 1:mixed:paused 1:mixed:paused
                annotate 0 bodies
                tell call of 1
            > opened
                200 s3 20014/recvonly
            > order pause
                paused, not yet
                pause by API (alice)
            > session 2
            > info Record: on
                change 1:mixed:active 1:mixed:active 1:mixed:active
            > opened
            > order resume
                on, not yet
                resume by API (alice)
            > info X-AC-Action: stop-siprec
                change 1:mixed:active
                INVITE s2 9/inactive
                INVITE s3 9/inactive
                tell call of 1
            > opened
            > session 3
            > reinvite sendonly
                200 s3 9/inactive
                tell call of 1
            > session 1
            > info X-AC-Action: start-siprec
            > session 2
            > info X-AC-Action: start-siprec
                change 1:mixed:active 1:mixed:active
                annotate 0 bodies
                tell call of 1
                change 1:mixed:active 1:mixed:active 1:mixed:active
                annotate 0 bodies
                tell call of 1
            > opened
                INVITE s2 20026/recvonly
            > opened
                INVITE s3 20032/recvonly
            > session 1
            > info Record: off
                pause by INFO (Record: off)
            > info X-AC-Action: stop-siprec
                end by stop of INFO (X-AC-Action: stop-siprec)
                INVITE s1 9/inactive
                INVITE s2 9/inactive
                INVITE s3 9/inactive
                tell call of 1
            > sealed
            > session 2
            > info X-AC-Action: start-siprec
        "#]],
    );
}

#[test]
fn a_join_with_a_call_of_another_trunk_ends_no_pause_and_spreads_none() {
    check_guests(
        &format!(
            "from 127.0.0.1
             says Session-ID: {A}
             invite sendonly
             opened
             session 2
             from 127.0.0.2
             says Session-ID: {B}
             invite sendonly
             opened
             metadata paused
             says Session-ID: {B};remote={A}
             info X-Other: 1
             opened
             session 1
             metadata paused
             session 2
             metadata active
             opened
             session 1
             metadata active"
        ),
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
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > metadata paused
                annotate 1 bodies
                tell call of 1
                pause by SIP (metadata: paused)
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                change 1:mixed:paused
                resume by SIP (metadata: paused)
                tell call of 2
            > opened
            > session 1
            > metadata paused
                annotate 1 bodies
                tell call of 2
                change 1:mixed:paused
            > session 2
            > metadata active
                annotate 1 bodies
                tell call of 2
                change 1:mixed:active
            > opened
            > session 1
            > metadata active
                annotate 1 bodies
                tell call of 2
                change 1:mixed:active
        "#]],
    );
}

#[test]
fn pauses_that_metadata_tell_are_each_its_dialogs_over_a_join() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             metadata paused
             session 2
             says Session-ID: {B}
             invite sendonly
             opened
             metadata paused
             says Session-ID: {B};remote={A}
             info X-Other: 1
             metadata active
             session 1
             reinvite inactive
             opened
             reinvite sendonly
             opened"
        ),
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > metadata paused
                annotate 1 bodies
                tell call of 1
                pause by SIP (metadata: paused)
            > session 2
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > metadata paused
                annotate 1 bodies
                tell call of 1
                pause by SIP (metadata: paused)
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                tell call of 2
            > metadata active
                annotate 1 bodies
                tell call of 2
            > session 1
            > reinvite inactive
                change 1:mixed:paused
            > opened
                200 s1 20004/inactive
            > reinvite sendonly
                resume by SIP (metadata: paused)
                resume by SIP (metadata: paused)
                change 1:mixed:active
            > opened
                200 s1 20006/recvonly
        "#]],
    );
}

/// It does not matter whether the stop or the join comes first.
#[test]
fn a_stop_before_a_join_holds_for_all_of_it() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             session 2
             says Session-ID: {B}
             invite sendonly
             opened
             order stop
             says Session-ID: {B};remote={A}
             info X-Other: 1
             session 1
             reinvite sendonly
             session 3
             says Session-ID: {A}
             invite sendonly
             order start
             opened"
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
            > order stop
                off
                end by stop of alice
                INVITE s2 9/inactive
                tell call of 1
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                end by stop of alice
                INVITE s1 9/inactive
                tell call of 2
                ALARM not-recorded: a call turned out to be one that alice stopped: it is not recorded until it is started
                tell call of 2
            > session 1
            > reinvite sendonly
                200 s1 9/inactive
                tell call of 2
            > session 3
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                200 s3 9/inactive
                tell call of 2
            > order start
                on
                open 3/3 1:mixed:active 1:mixed:active 1:mixed:active
            > opened
                INVITE s1 20004/recvonly
                INVITE s2 20006/recvonly
                INVITE s3 20008/recvonly
                tell call of 3
        "#]],
    );
}

#[test]
fn a_client_does_not_start_what_a_person_stopped() {
    check(
        "invite sendonly
         opened
         info X-AC-Action: stop-siprec
         sealed
         order stop
         info X-AC-Action: start-siprec
         reinvite sendonly
         order start
         opened",
        expect![[r#"
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > info X-AC-Action: stop-siprec
                end by stop of INFO (X-AC-Action: stop-siprec)
                INVITE s1 9/inactive
                tell call of 1
            > sealed
            > order stop
                off already
            > info X-AC-Action: start-siprec
                ALARM not-recorded: the client ordered to start, which cannot be done: it was stopped by the interface, and is started there
            > reinvite sendonly
                200 s1 9/inactive
                tell call of 1
            > order start
                on
                open 2/2 1:mixed:active
            > opened
                INVITE s1 20002/recvonly
                tell call of 2
        "#]],
    );
}

#[test]
fn a_pause_ordered_before_the_end_holds_when_a_join_shows_that_it_goes_on() {
    check(
        &format!(
            "says Session-ID: {A}
             invite sendonly
             opened
             order pause 60s
             bye
             sealed
             wait 3s
             session 2
             says Session-ID: {B}
             invite sendonly
             opened
             says Session-ID: {B};remote={A}
             info X-Other: 1
             wait 57s"
        ),
        expect![[r#"
            > says Session-ID: ab30317f1a784dc48ff824d0d3715d86
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s1 20000/recvonly
                tell call of 1
            > order pause 60s
                paused for 60 s, not yet
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
            > says Session-ID: 47755a9de7794ba387653f2099600ef2
            > invite sendonly
                open 1/1 1:mixed:active
            > opened
                200 s2 20002/recvonly
                tell call of 1
            > says Session-ID: 47755a9de7794ba387653f2099600ef2;remote=ab30317f1a784dc48ff824d0d3715d86
            > info X-Other: 1
                join as [2] of 2 by Session-ID
                conclude partial of 2 after complete
                tell copy partial
                pause by API (alice)
                ALARM not-recorded: a call turned out to be one that API (alice) paused before it ended: nothing of it is kept until it is resumed
                tell call of 2
            > wait 57s
                pause by API (alice)
                resume by time-out
                ALARM pause-timed-out: a pause lasted as long as it may: recording goes on. What is said now is kept; whoever paused should pause again if that is not wanted
        "#]],
    );
}

/// Each has a pause of its own, and the last that goes on ends the pause of all.
#[test]
fn a_call_of_sixteen_dialogs() {
    let mut world = crate::world::World::new(8);
    for session in 1..=16 {
        for step in [
            format!("session {session}"),
            format!("says Session-ID: {A}"),
            "invite sendonly".to_owned(),
            "opened".to_owned(),
            "info Record: off".to_owned(),
        ] {
            world.play(&step);
        }
    }
    assert_eq!((world.front.stats().calls, world.open.len()), (1, 1), "{}", world.out);
    for session in 1..=16 {
        assert_eq!(world.paused.values().copied().collect::<Vec<_>>(), [true], "{session}: {}", world.out);
        world.play(&format!("session {session}"));
        // None of them wears the id out.
        world.play("reinvite sendonly");
        world.play("opened");
        world.play("info Record: on");
    }
    assert_eq!(world.paused.values().copied().collect::<Vec<_>>(), [false], "{}", world.out);
    for step in ["session 17", &format!("says Session-ID: {A}"), "invite sendonly"] {
        world.play(step);
    }
    assert_eq!(world.front.stats().calls, 2, "the seventeenth is a call of its own: {}", world.out);
    for session in 1..=15 {
        world.play(&format!("session {session}"));
        world.play("info Record: off");
        world.play("bye");
    }
    assert_eq!(world.open.len(), 2);
    assert!(world.paused.values().any(|paused| *paused), "what fifteen asked for: {}", world.out);
    for step in ["session 16", "info Record: on"] {
        world.play(step);
    }
    assert!(world.paused.values().all(|paused| !paused), "one speaks for all that are over: {}", world.out);
}

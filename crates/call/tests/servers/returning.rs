//! A record server that returns: as it was, or begun anew.

use std::time::Duration;

use call::{PeerEvent, RecordServers, ServersConfig, Step};
use expect_test::expect;
use model::{
    EndReason, Failure, Hello, Mono, NodeNumber, Now, Order, PeerName, Report, SegmentId, TenantId, WallTime,
};

use crate::check;

/// A proxy that began anew has lost its dialogs, and their clients do not know it.
#[test]
fn what_was_ordered_before_the_proxy_began_is_recorded_until_its_media_end() {
    let now = Now { mono: Mono(1), wall: WallTime(1) };
    let (name, segment) = ("a".parse::<PeerName>().unwrap(), SegmentId::from_u64(7));
    let config = ServersConfig {
        tenant: TenantId::default(),
        beat: Duration::from_millis(100),
        remembered: Duration::from_secs(60),
    };
    let mut servers = RecordServers::new(config, [name.clone()]);
    let hello = Hello { name: name.clone(), node: NodeNumber::SINGLE, run: 1, segments: vec![segment] };
    servers.handle_event(now, &name, PeerEvent::Up(hello));
    let Some(Step::Alarm(told)) = servers.poll_step() else { panic!("somebody is told") };
    assert!(told.text.contains("before this proxy began (1)"), "{}", told.text);
    assert_eq!(servers.poll_step(), None, "it is not ended");
    for (report, reason) in [
        (Report::MediaTimedOut { segment }, EndReason::Upstream(Failure::MediaTimeout)),
        (Report::Failing { segment, why: Failure::DiskFull }, EndReason::Internal(Failure::DiskFull)),
    ] {
        servers.handle_event(now, &name, PeerEvent::Report(report));
        let end = Order::End { segment, at: now.wall, reason, by: None };
        assert_eq!(servers.poll_step(), Some(Step::Send { to: name.clone(), order: end }));
        assert_eq!(servers.poll_step(), None);
    }
}

#[test]
fn one_that_returns_as_it_was_ends_what_has_gone_on_elsewhere() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a cut
         accepted sendonly
         wait 2s
         a up
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
            > a cut
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
            > wait 2s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > a up
                a: end S1 by process ended
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
fn one_that_returns_at_once_says_itself_how_the_failed_one_ended() {
    check(
        2,
        "a up
         b up
         invite sendonly
         b slow
         a cut
         wait 500ms
         a up
         b well
         accepted sendonly",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > b slow
            > a cut
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
            > wait 500ms
            > a up
            > b well
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
                a: end S1 by process ended
                S1 ended at node 1: partial-internal-error by process ended
            > accepted sendonly
                b: change S2
                S2 opened
        "#]],
    );
}

#[test]
fn one_that_begins_anew_has_nothing_of_before() {
    check(
        2,
        "a up
         b up
         invite sendonly
         a die
         a start
         accepted sendonly
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
            > a die
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
                S2 opened
                INVITE s1 20000/recvonly
                tell call of 2
            > a start
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > accepted sendonly
                b: change S2
                S2 opened
            > session 2
            > invite sendonly
                b: open S3 as 1/1
                S3 opened
                200 s2 20002/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn what_ended_while_it_was_away_it_is_told_when_it_returns() {
    check(
        1,
        "a up
         invite sendonly
         a slow
         bye
         a cut
         a well
         wait 5s
         a up
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
            > a cut
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > a well
            > wait 5s
            > a up
                a: end S1 by hang-up
                S1 ended at node 1: partial by hang-up
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete
                a: conclude complete of 1
        "#]],
    );
}

#[test]
fn what_had_ended_there_before_it_returned_came_to_the_end_that_it_was_told() {
    check(
        1,
        "a up
         invite sendonly
         a mute
         bye
         a cut
         a well
         wait 5s
         a up
         wait 4s",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > a mute
            > bye
                tell call of 1, ended
                a: end S1 by hang-up
            > a cut
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > a well
            > wait 5s
            > a up
                tell copy of S1 at node 1: partial
                S1 ended at node 1: partial by hang-up
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete
                a: conclude complete of 1
        "#]],
    );
}

#[test]
fn one_that_returns_late_is_heard_by_nobody_of_what_was_presumed() {
    check(
        1,
        "a up
         invite sendonly
         a slow
         bye
         a cut
         a well
         wait 11s
         a up
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
            > a cut
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > a well
            > wait 11s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > a up
                a: end S1 by hang-up
            > wait 4s
                tell call of 1, ended
                tell copy of the call at node 1: complete-internal-error
                a: conclude complete-internal-error of 1
        "#]],
    );
}

#[test]
fn one_that_begins_anew_is_not_waited_for() {
    check(
        1,
        "a up
         invite sendonly
         a slow
         bye
         a die
         wait 1s
         a start
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
            > wait 1s
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
fn a_conclusion_that_may_be_lost_with_the_link_is_sent_again() {
    check(
        1,
        "a up
         invite sendonly
         bye
         wait 3s
         a cut
         a up
         wait 11s
         a cut
         a up",
        expect![[r#"
            > a up
            > invite sendonly
                a: open S1 as 1/1
                S1 opened
                200 s1 10000/recvonly
                tell call of 1
            > bye
                tell call of 1, ended
                a: end S1 by hang-up
                S1 ended at node 1: partial by hang-up
            > wait 3s
                tell call of 1, ended
                tell copy of the call at node 1: complete
                a: conclude complete of 1
            > a cut
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > a up
                a: conclude complete of 1
            > wait 11s
            > a cut
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0
            > a up
        "#]],
    );
}

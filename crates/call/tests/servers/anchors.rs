//! Calls whose media go through the proxy: clients keep their ports whatever becomes of record servers.

use call::Anchoring;
use expect_test::expect;
use model::{Codec, OpenStream, Order, PauseSource, Side};

use crate::check_anchored;
use crate::cluster::Cluster;

#[test]
fn a_call_goes_on_at_another_record_server_and_its_client_notices_nothing() {
    check_anchored(
        2,
        Anchoring::Always,
        "a up
         b up
         invite sendonly
         a die
         wait 2s
         bye
         wait 4s",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S1 as 1/1
                relay 50000: copies to 10000
                S1 opened
                200 s1 50000/recvonly
                tell call of 1
            > a die
                relay 50000: hold
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                b: open S2 as 2/2, respondent
                relay 50000: copies to 20000
                relay 50000: release
                S2 opened
                tell call of 2
            > wait 2s
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > bye
                relay 50000: close
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
fn another_volume_of_the_same_record_server_has_the_same_ports_and_nothing_is_replayed() {
    check_anchored(
        1,
        Anchoring::Always,
        "a up
         invite sendonly
         a fail
         bye",
        expect![[r#"
            > a up
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S1 as 1/1
                relay 50000: copies to 10000
                S1 opened
                200 s1 50000/recvonly
                tell call of 1
            > a fail
                relay 50000: hold
                S1 failing: storage failure: EIO
                ALARM internal-failure: a segment ended early: storage failure: EIO; another takes over
                a: open S2 as 2/2 for S1, respondent
                relay 50000: release
                S2 opened
                tell call of 2
                S1 ended at node 1: partial-internal-error by storage failure: EIO
            > bye
                relay 50000: close
                tell call of 2, ended
                a: end S2 by hang-up
                S2 ended at node 1: partial-internal-error-respondent by hang-up
        "#]],
    );
}

#[test]
fn what_comes_on_hold_is_not_remembered_and_ports_are_closed_with_the_last_line() {
    check_anchored(
        1,
        Anchoring::Always,
        "a up
         invite sendonly sendonly
         reinvite sendonly inactive
         reinvite inactive inactive
         reinvite sendonly -
         bye",
        expect![[r#"
            > a up
            > invite sendonly sendonly
                relay 50000: open, peer at 5000
                relay 50002: open, peer at 5002
                a: open S1 as 1/1
                relay 50000: copies to 10000
                relay 50002: copies to 10002
                S1 opened
                200 s1 50000/recvonly 50002/recvonly
                tell call of 1
            > reinvite sendonly inactive
                relay 50002: peer at 5002
                relay 50002: pass
                a: change S1
                S1 opened
                200 s1 50000/recvonly 50002/inactive
            > reinvite inactive inactive
                relay 50000: close
                relay 50002: close
                200 s1 9/inactive 9/inactive
                tell call of 2
                a: end S1 by hold
                S1 ended at node 1: partial by hold
            > reinvite sendonly -
                relay 50004: open, peer at 5000
                a: open S2 as 2/2
                relay 50004: copies to 10004
                S2 opened
                200 s1 50004/recvonly 0/sendrecv
                tell call of 2
            > bye
                relay 50004: close
                tell call of 2, ended
                a: end S2 by hang-up
                S2 ended at node 1: partial by hang-up
        "#]],
    );
}

/// `Front` orders, and all that follows.
fn order(cluster: &mut Cluster, order: Order) {
    cluster.anchors.order(cluster.now, order);
    cluster.drain();
}

#[test]
fn what_comes_in_a_pause_is_not_remembered_whichever_segment_it_is_of() {
    let mut cluster = Cluster::anchored(2, Anchoring::Always);
    ["a up", "b up", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    let remembers = |cluster: &mut Cluster| cluster.anchors.relay().lines.values().all(|line| line.remembers);
    let newest = |cluster: &Cluster| *cluster.ledger.live().last().unwrap();
    let (segment, by) = (newest(&cluster), PauseSource::Api("alice".to_owned()));
    assert!(remembers(&mut cluster));
    order(&mut cluster, Order::Pause { segment, order: 1, by: by.clone() });
    assert!(!remembers(&mut cluster));
    // The one that takes over has no pause of its own, and the other is not over yet.
    cluster.play("a die");
    assert_ne!(newest(&cluster), segment);
    assert!(!remembers(&mut cluster));
    cluster.play("wait 2s");
    assert!(remembers(&mut cluster), "the paused segment is over");
    let segment = newest(&cluster);
    order(&mut cluster, Order::Pause { segment, order: 2, by: by.clone() });
    assert!(!remembers(&mut cluster));
    order(&mut cluster, Order::Resume { segment, order: 3, by });
    assert!(remembers(&mut cluster));
}

/// What the relay did not forget when it was told to is replayed to nobody.
#[test]
fn where_a_pause_does_not_reach_the_relay_nothing_is_replayed() {
    let mut cluster = Cluster::anchored(2, Anchoring::Always);
    ["a up", "b up", "invite sendonly", "relay deaf"].iter().for_each(|line| cluster.play(line));
    let (segment, by) = (*cluster.ledger.live().first().unwrap(), PauseSource::Api("alice".to_owned()));
    order(&mut cluster, Order::Pause { segment, order: 1, by });
    cluster.play("relay well");
    cluster.play("a die");
    assert!(cluster.out.contains("relay 50000: copies to 20000, nothing before"), "{}", cluster.out);
}

/// It has ports, and copies go from them, until it is closed.
#[test]
fn a_stream_that_the_relay_does_not_close_when_it_is_told_to_is_closed_later() {
    let mut cluster = Cluster::anchored(1, Anchoring::Always);
    ["a up", "invite sendonly", "relay busy", "bye"].iter().for_each(|line| cluster.play(line));
    assert_eq!((cluster.anchors.relay().lines.len(), cluster.anchors.remembered()), (1, (1, 0)));
    cluster.anchors.close_again();
    assert_eq!(cluster.anchors.remembered(), (1, 0), "it takes no orders still");
    ["relay well", "session 2", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    assert!(cluster.out.contains("relay 50000: close"), "by the next order:\n{}", cluster.out);
    ["relay busy", "bye", "relay well"].iter().for_each(|line| cluster.play(line));
    cluster.anchors.close_again();
    assert_eq!((cluster.anchors.relay().lines.len(), cluster.anchors.remembered()), (0, (0, 0)));
}

#[test]
fn without_ports_of_the_relay_a_call_is_refused() {
    check_anchored(
        1,
        Anchoring::Always,
        "a up
         relay full
         invite sendonly
         relay well
         session 2
         invite sendonly",
        expect![[r#"
            > a up
            > relay full
            > invite sendonly
                S1 refused: out of resources: no port of the relay is free
                ALARM not-recorded: a segment could not be opened: out of resources: no port of the relay is free
                503 s1, retry after 10
            > relay well
            > session 2
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S2 as 1/1
                relay 50000: copies to 10000
                S2 opened
                200 s2 50000/recvonly
                tell call of 1
        "#]],
    );
}

#[test]
fn a_relay_that_takes_no_orders_is_no_silent_loss() {
    check_anchored(
        1,
        Anchoring::Always,
        "a up
         relay deaf
         invite sendonly
         wait 4s",
        expect![[r#"
            > a up
            > relay deaf
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S1 as 1/1
                S1 opened
                200 s1 50000/recvonly
                tell call of 1
                S1 failing: out of resources: the relay takes no orders: it is deaf
                ALARM internal-failure: a segment ended early: out of resources: the relay takes no orders: it is deaf; another takes over
                a: open S2 as 2/2, respondent
                S2 opened
                tell call of 2
                S2 failing: out of resources: the relay takes no orders: it is deaf
                ALARM internal-failure: a segment ended early: out of resources: the relay takes no orders: it is deaf
                BYE s1 SIP;cause=503;text="out of resources: the relay takes no orders: it is deaf"
                tell call of 2, ended
                a: end S1 by out of resources: the relay takes no orders: it is deaf
                a: end S2 by out of resources: the relay takes no orders: it is deaf
                relay 50000: close
                S1 ended at node 1: partial-internal-error by out of resources: the relay takes no orders: it is deaf
                S2 ended at node 1: partial-internal-error by out of resources: the relay takes no orders: it is deaf
            > wait 4s
                tell call of 2, ended
                tell copy of the call at node 1: complete-internal-error
                a: conclude complete-internal-error of 2
        "#]],
    );
}

#[test]
fn who_refuses_to_be_told_of_other_ports_is_anchored_from_his_next_call_on() {
    check_anchored(
        2,
        Anchoring::OnceRefused,
        "a up
         b up
         invite sendonly
         a die
         not-accepted
         bye
         session 2
         invite sendonly
         a start
         b die",
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
            > session 2
            > invite sendonly
                relay 50000: open, peer at 5000
                b: open S3 as 1/1
                relay 50000: copies to 20002
                S3 opened
                200 s2 50000/recvonly
                tell call of 1
            > a start
                tell copy of S1 at node 1: partial-internal-error
                S1 ended at node 1: partial-internal-error by process ended
            > b die
                relay 50000: hold
                S3 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server b is gone: connection reset; segments that are to go on elsewhere: 1
                a: open S4 as 2/2, respondent
                relay 50000: copies to 10002
                relay 50000: release
                S4 opened
                tell call of 2
        "#]],
    );
}

fn check_doubled(servers: usize, script: &str, expected: expect_test::Expect) {
    let mut cluster = Cluster::doubled(servers);
    for line in script.lines() {
        cluster.play(line.trim());
    }
    expected.assert_eq(&cluster.out);
}

#[test]
fn either_of_two_copies_may_be_lost_and_the_segment_goes_on() {
    check_doubled(
        3,
        "a up
         b up
         c up
         invite sendonly
         a die
         wait 1s
         bye
         wait 4s
         session 2
         invite sendonly
         c die
         bye",
        expect![[r#"
            > a up
            > b up
            > c up
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S1 as 1/1
                relay 50000: copies to 10000
                S1 opened
                200 s1 50000/recvonly
                tell call of 1
                b: open S1 as 1/1
                relay 50000: copies to 20000 too
            > a die
                relay 50000: copies to 20000, nothing before
                relay 50000: no second copies
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 0; segments that have another copy: 1
            > wait 1s
            > bye
                relay 50000: close
                tell call of 1, ended
                b: end S1 by hang-up
                S1 ended at node 2: partial by hang-up
            > wait 4s
                tell call of 1, ended
                b: conclude without a state of 1
            > session 2
            > invite sendonly
                relay 50002: open, peer at 5000
                c: open S2 as 1/1
                relay 50002: copies to 30000
                S2 opened
                200 s2 50002/recvonly
                tell call of 1
                b: open S2 as 1/1
                relay 50002: copies to 20002 too
            > c die
                relay 50002: copies to 20002, nothing before
                relay 50002: no second copies
                ALARM internal-failure: record server c is gone: connection reset; segments that are to go on elsewhere: 0; segments that have another copy: 1
            > bye
                relay 50002: close
                tell call of 1, ended
                b: end S2 by hang-up
                S2 ended at node 2: partial by hang-up
        "#]],
    );
}

#[test]
fn where_both_copies_are_lost_the_call_goes_on_as_another_segment() {
    check_doubled(
        3,
        "a up
         b up
         invite sendonly
         b die
         c up
         a die
         bye",
        expect![[r#"
            > a up
            > b up
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S1 as 1/1
                relay 50000: copies to 10000
                S1 opened
                200 s1 50000/recvonly
                tell call of 1
                b: open S1 as 1/1
                relay 50000: copies to 20000 too
            > b die
                relay 50000: no second copies
                ALARM internal-failure: segment 0cmfxxv000003 has one copy only: process ended
                ALARM internal-failure: record server b is gone: connection reset; segments that are to go on elsewhere: 0
            > c up
            > a die
                relay 50000: hold
                S1 failing: process ended
                ALARM internal-failure: a segment ended early: process ended; another takes over
                ALARM internal-failure: record server a is gone: connection reset; segments that are to go on elsewhere: 1
                c: open S2 as 2/2, respondent
                relay 50000: copies to 30000
                relay 50000: release
                S2 opened
                tell call of 2
                ALARM internal-failure: segment 0cmfxxv000004 has one copy only: no other record server takes calls
            > bye
                tell call of 2, ended
                c: end S2 by hang-up
                S2 ended at node 3: partial-internal-error-respondent by hang-up
        "#]],
    );
}

#[test]
fn a_copy_that_fails_or_is_refused_costs_the_segment_nothing() {
    check_doubled(
        3,
        "a up
         b up
         c up
         b refuse
         invite sendonly
         a fail
         reinvite sendonly sendonly
         bye",
        expect![[r#"
            > a up
            > b up
            > c up
            > b refuse
            > invite sendonly
                relay 50000: open, peer at 5000
                a: open S1 as 1/1
                relay 50000: copies to 10000
                S1 opened
                200 s1 50000/recvonly
                tell call of 1
                b: open S1 as 1/1
                c: open S1 as 1/1
                relay 50000: copies to 30000 too
            > a fail
                a: end S1 by storage failure: EIO
                relay 50000: copies to 30000, nothing before
                relay 50000: no second copies
                ALARM internal-failure: record server a lost its copy of segment 0cmfxxv000003: storage failure: EIO
            > reinvite sendonly sendonly
                relay 50000: peer at 5000
                relay 50002: open, peer at 5002
                c: change S1
                relay 50002: copies to 30002
                S1 opened
                200 s1 50000/recvonly 50002/recvonly
            > bye
                relay 50000: close
                relay 50002: close
                tell call of 1, ended
                c: end S1 by hang-up
                S1 ended at node 3: partial by hang-up
        "#]],
    );
}

/// The copy would lack it, and nobody would know when it is the segment one day.
#[test]
fn a_line_that_does_not_go_through_the_proxy_ends_the_second_copy() {
    let mut cluster = Cluster::doubled(2);
    ["a up", "b up", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    let (segment, codec) = (*cluster.ledger.live().first().unwrap(), Codec::new("PCMU", 8_000, 1));
    let direct = OpenStream::audio(99, Side::Agent, &[(0, codec)]);
    order(&mut cluster, Order::Change { segment, streams: vec![direct] });
    assert!(cluster.out.contains("b: end S1 by out of resources: a line of it"), "{}", cluster.out);
    assert!(cluster.out.contains("relay 50000: no second copies"), "{}", cluster.out);
}

#[test]
fn a_pause_is_carried_out_when_both_copies_have_carried_it_out_or_one_is_left() {
    let mut cluster = Cluster::doubled(2);
    ["a up", "b up", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    let (segment, by) = (*cluster.ledger.live().first().unwrap(), PauseSource::Api("alice".to_owned()));
    let carried_out = |cluster: &Cluster| cluster.out.matches("S1 carried out").count();
    cluster.play("b mute");
    order(&mut cluster, Order::Pause { segment, order: 1, by: by.clone() });
    assert_eq!(carried_out(&cluster), 0, "the second has not said so:\n{}", cluster.out);
    cluster.play("b well");
    assert_eq!(carried_out(&cluster), 1);
    cluster.play("a mute");
    order(&mut cluster, Order::Resume { segment, order: 2, by: by.clone() });
    assert_eq!(carried_out(&cluster), 1, "the first has not said so");
    cluster.play("a well");
    assert_eq!(carried_out(&cluster), 2);
    cluster.play("b mute");
    order(&mut cluster, Order::Pause { segment, order: 3, by: by.clone() });
    cluster.play("b die");
    assert_eq!(carried_out(&cluster), 3, "there is one left:\n{}", cluster.out);
}

/// It is asked for when the segment is open, and asked for again where it is refused.
#[test]
fn a_copy_that_is_opened_late_is_paused_as_the_segment_is() {
    let mut cluster = Cluster::doubled(3);
    ["a up", "b up", "c up", "b slow", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    let (segment, by) = (*cluster.ledger.live().first().unwrap(), PauseSource::Api("alice".to_owned()));
    cluster.play("b refuse");
    order(&mut cluster, Order::Pause { segment, order: 1, by });
    let paused = cluster.nodes.values().filter(|node| node.begins_paused(segment) == Some(true)).count();
    let open = cluster.nodes.values().filter(|node| node.begins_paused(segment).is_some()).count();
    assert_eq!((open, paused), (2, 1), "the first was paused by order:\n{}", cluster.out);
}

#[test]
fn what_another_proxy_has_is_copied_on_until_it_is_over_and_remembered_by_nobody() {
    let mut cluster = Cluster::anchored(1, Anchoring::Always);
    ["a up", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    let (now, segment) = (cluster.now, *cluster.ledger.live().last().unwrap());
    let stream = *cluster.anchors.relay().lines.keys().next().expect("a line");
    cluster.anchors.hand_on(now, segment);
    assert_eq!(cluster.anchors.handed_on(), 1);
    let line = &cluster.anchors.relay().lines[&stream];
    assert!(line.to.is_some() && !line.remembers, "it may be paused there");
    cluster.anchors.is_over(segment);
    assert_eq!((cluster.anchors.handed_on(), cluster.anchors.remembered()), (0, (0, 0)));
    assert!(cluster.anchors.relay().lines.is_empty());
}

#[test]
fn what_is_never_said_to_be_over_is_copied_for_a_minute_and_a_half() {
    let mut cluster = Cluster::anchored(1, Anchoring::Always);
    ["a up", "invite sendonly"].iter().for_each(|line| cluster.play(line));
    let (now, segment) = (cluster.now, *cluster.ledger.live().last().unwrap());
    cluster.anchors.hand_on(now, segment);
    let until = cluster.anchors.next_timeout().expect("a limit");
    assert_eq!(until.since(now.mono).as_secs(), 90);
    cluster.anchors.handle_timeout(now);
    assert_eq!(cluster.anchors.handed_on(), 1);
    cluster.anchors.handle_timeout(now + until.since(now.mono));
    assert_eq!((cluster.anchors.handed_on(), cluster.anchors.remembered()), (0, (0, 0)));
}

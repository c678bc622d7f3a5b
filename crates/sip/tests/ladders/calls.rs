//! How calls begin: with an offer, without one, over a connection; and what begins none.

use expect_test::expect;
use sip::Transport;

use crate::pair::Pair;
use crate::{check, check_tcp, run};

/// What we send to our own address comes back to us: client and server of one call in one agent.
#[test]
fn a_call_to_ourselves() {
    let mut pair = Pair::new(Transport::Udp);
    pair.loops = true;
    run(
        &mut pair,
        "
client invite offer
wait 20ms
client accept answer
wait 1s
client bye
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ──► 100/INVITE
            0.010          client Invited [offer]
            0.020    ──► 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          client Confirmed
            1.020    ──► BYE
            1.030    ──► 200/BYE
            1.030          client Ended Bye
            1.040          client Ended Local
        "#]],
    );
}

#[test]
fn a_call_with_an_offer() {
    check(
        "
client invite offer
wait 100ms
server ring
wait 1s
server accept answer
wait 1s
client bye
wait 6s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.100    ◄── 180/INVITE
            0.110          client Ringing 180
            1.100    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            1.110    ──► ACK
            1.110          client Accepted 200 INVITE [answer]
            1.120          server Confirmed
            2.100    ──► BYE
            2.110    ◄── 200/BYE
            2.110          server Ended Bye
            2.120          client Ended Local
        "#]],
    );
}

#[test]
fn a_recording_client_calls() {
    check(
        "
client invite offer metadata
wait 20ms
server accept answer
wait 1s
client bye Q.850;cause=16
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer] [metadata]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer] +metadata siprec
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ──► BYE Reason=Q.850;cause=16
            1.030    ◄── 200/BYE
            1.030          server Ended Bye Q.850 Some(16)
            1.040          client Ended Local
        "#]],
    );
}

#[test]
fn a_delayed_offer() {
    check(
        "
client invite
wait 20ms
server accept ours
wait 700ms
client ack theirs
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800
            0.010    ◄── 100/INVITE
            0.010          server Invited
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            0.030          client Accepted 200 INVITE [ours]
            0.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            0.720    ──► ACK [theirs]
            0.730          server Confirmed [theirs]
        "#]],
    );
}

#[test]
fn a_delayed_offer_that_is_never_answered_is_told() {
    check(
        "
client invite
wait 20ms
server accept ours
wait 33s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800
            0.010    ◄── 100/INVITE
            0.010          server Invited
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            0.030          client Accepted 200 INVITE [ours]
            0.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            1.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            3.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            7.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            11.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            15.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            19.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            23.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            27.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            31.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            32.020         server Unacknowledged
            32.030   ──► ACK
            32.030   ──► BYE
            32.030         client Ended AckTimeout
            32.040   ◄── 200/BYE
            32.040         server Ended Bye
        "#]],
    );
}

#[test]
fn a_call_over_a_connection() {
    check_tcp(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
server bye
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ◄── BYE
            1.030    ──► 200/BYE
            1.030          client Ended Bye
            1.040          server Ended Local
        "#]],
    );
}

#[test]
fn what_is_required_and_unknown_is_refused_by_name() {
    check(
        "
tamper client INVITE |Allow:|Require: timer, foo, bar\\r\\nAllow:|
client invite offer
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 Require=timer,foo,bar [offer]  (tampered)
            0.010    ◄── 420/INVITE Unsupported=foo,bar
            0.020    ──► ACK
            0.020          client Refused 420 Bad Extension
        "#]],
    );
}

#[test]
fn reliable_provisionals_are_required_and_the_answer_waits_for_none() {
    check(
        "
tamper client INVITE |Allow:|Require: 100rel\\r\\nAllow:|
client invite offer
wait 20ms
server ring
server accept answer
wait 20ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 Require=100rel [offer]  (tampered)
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 180/INVITE Require=100rel
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030          client Ringing 180
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
        "#]],
    );
}

#[test]
fn nobody_answers_at_the_server() {
    check(
        "
client invite offer
wait 20ms
server ring
wait 200s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 180/INVITE
            0.030          client Ringing 180
            60.020   ◄── 180/INVITE
            60.030         client Ringing 180
            120.020  ◄── 180/INVITE
            120.030        client Ringing 180
            180.010  ◄── 480/INVITE
            180.010        server Ended RequestTimeout
            180.020  ──► ACK
            180.020        client Refused 480 Temporarily Unavailable
        "#]],
    );
}

#[test]
fn it_rings_for_too_long() {
    check(
        "
client invite offer
wait 20ms
lose server 480/INVITE 99
wait 340s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            1.010    ◄── 180/INVITE
            1.020          client Ringing 180
            61.010   ◄── 180/INVITE
            61.020         client Ringing 180
            121.010  ◄── 180/INVITE
            121.020        client Ringing 180
            180.010  ◄── 480/INVITE  (lost)
            180.010        server Ended RequestTimeout
            180.510  ◄── 480/INVITE  (lost)
            181.510  ◄── 480/INVITE  (lost)
            183.510  ◄── 480/INVITE  (lost)
            187.510  ◄── 480/INVITE  (lost)
            191.510  ◄── 480/INVITE  (lost)
            195.510  ◄── 480/INVITE  (lost)
            199.510  ◄── 480/INVITE  (lost)
            203.510  ◄── 480/INVITE  (lost)
            207.510  ◄── 480/INVITE  (lost)
            211.510  ◄── 480/INVITE  (lost)
            300.000  ──► CANCEL
            300.010  ◄── 481/CANCEL
            332.000        client Ended RequestTimeout
        "#]],
    );
}

#[test]
fn orders_that_fit_nothing() {
    check(
        "
server accept answer
client invite offer
client reinvite x
client ack x
wait 20ms
server cancel
server accept answer
server accept again
wait 1s
server cancel
server ring
client bye
wait 1s
client bye
server bye
",
        expect![[r#"
            0.000          server accept: session 0 is gone, or has nothing to answer
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.000          client ack: session 1 is gone, or has nothing to answer
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020          server cancel: session 1 is gone, or has nothing to answer
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.020          server accept: session 1 is gone, or has nothing to answer
            0.030    ──► ACK
            0.030    ──► INVITE Session-Expires=1800;refresher=uac [x]
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            0.040    ◄── 100/INVITE
            0.040          server Reoffered INVITE [x]
            1.020          server cancel: session 1 is gone, or has nothing to answer
            1.020          server ring: session 1 is gone, or has nothing to answer
            1.020    ──► BYE
            1.030    ◄── 200/BYE
            1.030    ◄── 487/INVITE
            1.030          server Ended Bye
            1.040          client Ended Local
            1.040    ──► ACK
            2.020          client bye: session 1 is gone, or has nothing to answer
            2.020          server bye: session 1 is gone, or has nothing to answer
        "#]],
    );
}

#[test]
fn it_loops_back_to_us() {
    check(
        "
client invite offer
wait 20ms
replay client INVITE |z9hG4bK|z9hG4bKx|
wait 20ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ──► INVITE Session-Expires=1800 [offer]
            0.030    ◄── 482/INVITE
        "#]],
    );
}

#[test]
fn a_sip_message_with_nothing_of_use_changes_nothing() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
replay client ACK |ACK|FOO|CSeq: 1|CSeq: 7|z9hG4bK|z9hG4bKx|
replay client ACK |ACK|PRACK|CSeq: 1|CSeq: 8|z9hG4bK|z9hG4bKy|
replay client ACK |ACK|OPTIONS|CSeq: 1|CSeq: 9|z9hG4bK|z9hG4bKz|
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ──► FOO
            1.020    ──► PRACK
            1.020    ──► OPTIONS
            1.030    ◄── 405/FOO
            1.030    ◄── 481/PRACK
            1.030    ◄── 200/OPTIONS
        "#]],
    );
}

//! Sessions as ladders: what is ordered and what the network does, and every message and event that follows.

mod pair;

use expect_test::{Expect, expect};
use pair::Pair;
use sip::Transport;

fn check(ladder: &str, expect: Expect) {
    let mut pair = Pair::new(Transport::Udp);
    run(&mut pair, ladder, expect);
}

fn check_tcp(ladder: &str, expect: Expect) {
    let mut pair = Pair::new(Transport::Tcp);
    run(&mut pair, ladder, expect);
}

fn run(pair: &mut Pair, ladder: &str, expect: Expect) {
    pair.run(ladder);
    expect.assert_eq(&pair.trace);
}

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
fn a_delayed_offer_that_is_never_answered_ends_the_call() {
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
            32.020   ◄── BYE
            32.020         server Ended AckTimeout
            32.030   ──► 200/BYE
            32.030         client Ended Bye
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
fn a_refusal_is_repeated_until_its_ack() {
    check(
        "
client invite offer
lose client ACK 2
wait 20ms
server refuse 486
wait 5s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 486/INVITE
            0.030    ──► ACK  (lost)
            0.030          client Refused 486 Refused
            0.520    ◄── 486/INVITE
            0.530    ──► ACK  (lost)
            1.520    ◄── 486/INVITE
            1.530    ──► ACK
        "#]],
    );
}

#[test]
fn the_invite_is_lost_twice() {
    check(
        "
lose client INVITE 2
client invite offer
wait 2s
",
        expect![[r#"
            0.000    ──► INVITE  (lost)
            0.500    ──► INVITE  (lost)
            1.500    ──► INVITE Session-Expires=1800 [offer]
            1.510    ◄── 100/INVITE
            1.510          server Invited [offer]
        "#]],
    );
}

#[test]
fn nobody_is_there() {
    check(
        "
lose client INVITE 99
client invite offer
wait 40s
",
        expect![[r#"
            0.000    ──► INVITE  (lost)
            0.500    ──► INVITE  (lost)
            1.500    ──► INVITE  (lost)
            3.500    ──► INVITE  (lost)
            7.500    ──► INVITE  (lost)
            15.500   ──► INVITE  (lost)
            31.500   ──► INVITE  (lost)
            32.000         client Ended RequestTimeout
        "#]],
    );
}

#[test]
fn the_2xx_is_repeated_until_its_ack() {
    check(
        "
client invite offer
wait 20ms
lose server 200/INVITE 1
lose client ACK 2
server accept answer
wait 10s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE  (lost)
            0.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.530    ──► ACK  (lost)
            0.530          client Accepted 200 INVITE [answer]
            1.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            1.530    ──► ACK  (lost)
            3.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            3.530    ──► ACK
            3.540          server Confirmed
        "#]],
    );
}

#[test]
fn without_an_ack_the_call_ends() {
    check(
        "
client invite offer
wait 20ms
lose client ACK 99
server accept answer
wait 34s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK  (lost)
            0.030          client Accepted 200 INVITE [answer]
            0.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.530    ──► ACK  (lost)
            1.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            1.530    ──► ACK  (lost)
            3.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            3.530    ──► ACK  (lost)
            7.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            7.530    ──► ACK  (lost)
            11.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            11.530   ──► ACK  (lost)
            15.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            15.530   ──► ACK  (lost)
            19.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            19.530   ──► ACK  (lost)
            23.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            23.530   ──► ACK  (lost)
            27.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            27.530   ──► ACK  (lost)
            31.520   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            31.530   ──► ACK  (lost)
            32.020   ◄── BYE
            32.020         server Ended AckTimeout
            32.030   ──► 200/BYE
            32.030         client Ended Bye
        "#]],
    );
}

#[test]
fn everything_comes_twice() {
    check(
        "
dup client INVITE
dup server 200/INVITE
dup client ACK
dup client BYE
dup server 200/BYE
client invite offer
wait 20ms
server accept answer
wait 100ms
client bye
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]  (twice)
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.010    ◄── 100/INVITE
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]  (twice)
            0.030    ──► ACK  (twice)
            0.030          client Accepted 200 INVITE [answer]
            0.030    ──► ACK
            0.040          server Confirmed
            0.120    ──► BYE  (twice)
            0.130    ◄── 200/BYE  (twice)
            0.130          server Ended Bye
            0.130    ◄── 200/BYE
            0.140          client Ended Local
        "#]],
    );
}

#[test]
fn a_re_invite_by_the_client() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client reinvite hold
wait 20ms
server accept held
wait 1s
client reinvite resume
wait 20ms
server refuse 488
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
            1.020    ──► INVITE Session-Expires=1800;refresher=uac [hold]
            1.030    ◄── 100/INVITE
            1.030          server Reoffered INVITE [hold]
            1.040    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [held]
            1.050    ──► ACK
            1.050          client Accepted 200 INVITE [held]
            1.060          server Confirmed
            2.040    ──► INVITE Session-Expires=1800;refresher=uac [resume]
            2.050    ◄── 100/INVITE
            2.050          server Reoffered INVITE [resume]
            2.060    ◄── 488/INVITE
            2.070    ──► ACK
            2.070          client Refused 488 Refused
        "#]],
    );
}

#[test]
fn a_re_invite_by_the_server_without_offer() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
server reinvite
wait 20ms
client accept theirs
wait 50ms
server ack ours
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
            1.020    ◄── INVITE Session-Expires=1800;refresher=uas
            1.030    ──► 100/INVITE
            1.030          client Reoffered INVITE
            1.040    ──► 200/INVITE Session-Expires=1800;refresher=uas [theirs]
            1.050          server Accepted 200 INVITE [theirs]
            1.090    ◄── ACK [ours]
            1.100          client Confirmed [ours]
        "#]],
    );
}

#[test]
fn a_re_invite_waits_for_the_ack() {
    check(
        "
client invite offer
wait 20ms
lose client ACK 1
server accept answer
server reinvite more
wait 2s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK  (lost)
            0.030          client Accepted 200 INVITE [answer]
            0.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.530    ──► ACK
            0.540    ◄── INVITE Session-Expires=1800;refresher=uas [more]
            0.540          server Confirmed
            0.550    ──► 100/INVITE
            0.550          client Reoffered INVITE [more]
        "#]],
    );
}

#[test]
fn two_re_invites_within_milliseconds() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client reinvite hold
wait 10ms
# A second one from the same dialog, as OpenSIPS sends it; the 2xx of the first is not acknowledged.
lose client ACK 1
replay client INVITE |s=hold|s=again|CSeq: 2|CSeq: 3|z9hG4bK|z9hG4bKx|
wait 10ms
replay client INVITE |s=again|s=resume|CSeq: 3|CSeq: 4|z9hG4bKx|z9hG4bKy|
wait 10ms
server accept held
wait 10ms
server accept resumed
wait 20ms
replay client ACK |CSeq: 2|CSeq: 3|z9hG4bK|z9hG4bKz|
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
            1.020    ──► INVITE Session-Expires=1800;refresher=uac [hold]
            1.030    ◄── 100/INVITE
            1.030          server Reoffered INVITE [hold]
            1.030    ──► INVITE Session-Expires=1800;refresher=uac [again]
            1.040    ◄── 100/INVITE
            1.040    ──► INVITE Session-Expires=1800;refresher=uac [resume]
            1.050    ◄── 500/INVITE Retry-After=1
            1.050    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [held]
            1.050          server Confirmed
            1.050          server Reoffered INVITE [again]
            1.060    ──► ACK  (lost)
            1.060          client Accepted 200 INVITE [held]
            1.060    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [resumed]
            1.080    ──► ACK
            1.090          server Confirmed
            1.550    ◄── 500/INVITE Retry-After=1
        "#]],
    );
}

#[test]
fn update_and_info() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client update
wait 100ms
server info
wait 100ms
client info
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
            1.020    ──► UPDATE Session-Expires=1800;refresher=uac
            1.030    ◄── 200/UPDATE Session-Expires=1800;refresher=uac Require=timer
            1.030          server Informed UPDATE
            1.120    ◄── INFO X-AC-Action=pause-siprec
            1.130    ──► 200/INFO
            1.130          client Informed INFO
            1.220    ──► INFO X-AC-Action=pause-siprec
            1.230    ◄── 200/INFO
            1.230          server Informed INFO
        "#]],
    );
}

#[test]
fn cancel() {
    check(
        "
client invite offer
wait 20ms
server ring
wait 1s
client cancel
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 180/INVITE
            0.030          client Ringing 180
            1.020    ──► CANCEL
            1.030    ◄── 200/CANCEL
            1.030    ◄── 487/INVITE
            1.030          server Ended Cancelled
            1.040    ──► ACK
            1.040          client Ended Cancelled
        "#]],
    );
}

#[test]
fn cancel_before_anything_came() {
    check(
        "
lose server 100/INVITE 1
client invite offer
client cancel
wait 300ms
wait 2s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE  (lost)
            0.010          server Invited [offer]
            0.500    ──► INVITE Session-Expires=1800 [offer]
            0.510    ◄── 100/INVITE
            0.520    ──► CANCEL
            0.530    ◄── 200/CANCEL
            0.530    ◄── 487/INVITE
            0.530          server Ended Cancelled
            0.540    ──► ACK
            0.540          client Ended Cancelled
        "#]],
    );
}

#[test]
fn cancel_crosses_the_answer() {
    check(
        "
client invite offer
wait 100ms
client cancel
server accept answer
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.100    ──► CANCEL
            0.100    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.110    ◄── 200/CANCEL
            0.110    ──► ACK
            0.110    ──► BYE
            0.110          client Ended Cancelled
            0.120          server Confirmed
            0.120    ◄── 200/BYE
            0.120          server Ended Bye
        "#]],
    );
}

#[test]
fn cancel_of_nothing_and_bye_of_nothing() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client bye
wait 40s
replay client BYE |z9hG4bK|z9hG4bKx|
wait 1s
replay client ACK |z9hG4bK|z9hG4bKx|
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
            1.020    ──► BYE
            1.030    ◄── 200/BYE
            1.030          server Ended Bye
            1.040          client Ended Local
            41.020   ──► BYE
            41.030   ◄── 481/BYE
            42.020   ──► ACK
        "#]],
    );
}

#[test]
fn glare() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client reinvite theirs
server reinvite ours
wait 20ms
wait 5s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ──► INVITE Session-Expires=1800;refresher=uac [theirs]
            1.020    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            1.030    ◄── 491/INVITE
            1.030    ──► 491/INVITE
            1.040    ──► ACK
            1.040    ◄── ACK
            2.210    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            2.220    ──► 100/INVITE
            2.220          client Reoffered INVITE [ours]
        "#]],
    );
}

#[test]
fn a_late_request_is_refused() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client info
wait 1s
client info
wait 1s
replay client INFO |z9hG4bK|z9hG4bKx|
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
            1.020    ──► INFO X-AC-Action=pause-siprec
            1.030    ◄── 200/INFO
            1.030          server Informed INFO
            2.020    ──► INFO X-AC-Action=pause-siprec
            2.030    ◄── 200/INFO
            2.030          server Informed INFO
            3.020    ──► INFO X-AC-Action=pause-siprec
            3.030    ◄── 500/INFO
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
fn bye_while_the_invite_is_open() {
    check(
        "
client invite offer
wait 20ms
server ring
wait 20ms
server bye
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 180/INVITE
            0.030          client Ringing 180
            0.040    ◄── 480/INVITE
            0.050    ──► ACK
            0.050          client Refused 480 Temporarily Unavailable
        "#]],
    );
}

#[test]
fn both_hang_up() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client bye
server bye SIP;cause=200
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
            1.020    ──► BYE
            1.020    ◄── BYE Reason=SIP;cause=200
            1.030    ◄── 200/BYE
            1.030          server Ended Bye
            1.030    ──► 200/BYE
            1.030          client Ended Bye SIP Some(200)
        "#]],
    );
}

#[test]
fn hanging_up_waits_for_the_ack() {
    check(
        "
client invite offer
wait 20ms
lose client ACK 1
server accept answer
server bye
wait 2s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK  (lost)
            0.030          client Accepted 200 INVITE [answer]
            0.520    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.530    ──► ACK
            0.540    ◄── BYE
            0.540          server Confirmed
            0.550    ──► 200/BYE
            0.550          client Ended Bye
            0.560          server Ended Local
        "#]],
    );
}

#[test]
fn a_bye_that_nobody_answers() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
lose client BYE 99
client bye
wait 33s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ──► BYE  (lost)
            1.520    ──► BYE  (lost)
            2.520    ──► BYE  (lost)
            4.520    ──► BYE  (lost)
            8.520    ──► BYE  (lost)
            12.520   ──► BYE  (lost)
            16.520   ──► BYE  (lost)
            20.520   ──► BYE  (lost)
            24.520   ──► BYE  (lost)
            28.520   ──► BYE  (lost)
            32.520   ──► BYE  (lost)
            33.020         client Ended Local
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
fn the_client_refreshes() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1801s
client bye
wait 100ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            900.030  ──► UPDATE Session-Expires=1800;refresher=uac
            900.040  ◄── 200/UPDATE Session-Expires=1800;refresher=uac Require=timer
            900.040        server Informed UPDATE
            1800.050 ──► UPDATE Session-Expires=1800;refresher=uac
            1800.060 ◄── 200/UPDATE Session-Expires=1800;refresher=uac Require=timer
            1800.060       server Informed UPDATE
            1801.020 ──► BYE
            1801.030 ◄── 200/BYE
            1801.030       server Ended Bye
            1801.040       client Ended Local
        "#]],
    );
}

#[test]
fn the_server_refreshes() {
    check(
        "
tamper client INVITE |Session-Expires: 1800|Session-Expires: 600;refresher=uas|
client invite offer
wait 20ms
server accept answer
wait 601s
client bye
wait 100ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=600;refresher=uas [offer]  (tampered)
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=600;refresher=uas [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            300.020  ◄── UPDATE Session-Expires=600;refresher=uac
            300.030  ──► 200/UPDATE Session-Expires=600;refresher=uac Require=timer
            300.030        client Informed UPDATE
            600.040  ◄── UPDATE Session-Expires=600;refresher=uac
            600.050  ──► 200/UPDATE Session-Expires=600;refresher=uac Require=timer
            600.050        client Informed UPDATE
            601.020  ──► BYE
            601.030  ◄── 200/BYE
            601.030        server Ended Bye
            601.040        client Ended Local
        "#]],
    );
}

#[test]
fn the_server_refreshes_a_client_without_update() {
    check(
        "
tamper client INVITE |Session-Expires: 1800|Session-Expires: 600;refresher=uas|, UPDATE||
client invite offer
wait 20ms
server accept answer
wait 301s
client accept again
wait 100ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=600;refresher=uas [offer]  (tampered)
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=600;refresher=uas [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            300.020  ◄── INVITE Session-Expires=600;refresher=uac [answer]
            300.030  ──► 100/INVITE
            300.030        client Reoffered INVITE [answer]
            301.020  ──► 200/INVITE Session-Expires=600;refresher=uac Require=timer [again]
            301.030  ◄── ACK
            301.040        client Confirmed
        "#]],
    );
}

#[test]
fn a_session_that_nobody_refreshes_expires() {
    check(
        "
tamper client INVITE |Session-Expires: 1800|Session-Expires: 300;refresher=uac|
client invite offer
wait 20ms
tamper server 200/INVITE |Session-Expires: 300;refresher=uac\\r\\n||
server accept answer
wait 400s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=300;refresher=uac [offer]  (tampered)
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Require=timer [answer]  (tampered)
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            268.020  ◄── BYE Reason=SIP;cause=408;text="Sessionexpired"
            268.020        server Ended SessionExpired
            268.030  ──► 200/BYE
            268.030        client Ended Bye SIP Some(408)
        "#]],
    );
}

#[test]
fn a_session_interval_that_is_too_small() {
    check(
        "
tamper client INVITE |Session-Expires: 1800|Session-Expires: 60|
client invite offer
wait 50ms
server accept answer
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=60 [offer]  (tampered)
            0.010    ◄── 422/INVITE Min-SE=90
            0.020    ──► ACK
            0.020    ──► INVITE Session-Expires=90 [offer]
            0.030    ◄── 100/INVITE
            0.030          server Invited [offer]
            0.050    ◄── 200/INVITE Session-Expires=90;refresher=uac Require=timer [answer]
            0.060    ──► ACK
            0.060          client Accepted 200 INVITE [answer]
            0.070          server Confirmed
        "#]],
    );
}

/// Each proxy on the way may ask for a longer interval; over a connection the refused INVITE is gone when it is
/// to be sent again.
#[test]
fn a_session_interval_that_is_too_small_again() {
    check_tcp(
        "
tamper client INVITE |Session-Expires: 1800|Session-Expires: 60|
tamper client INVITE |Session-Expires: 90|Session-Expires: 70|
client invite offer
wait 80ms
server accept answer
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=60 [offer]  (tampered)
            0.010    ◄── 422/INVITE Min-SE=90
            0.020    ──► ACK
            0.020    ──► INVITE Session-Expires=70 [offer]  (tampered)
            0.030    ◄── 422/INVITE Min-SE=90
            0.040    ──► ACK
            0.040    ──► INVITE Session-Expires=90 [offer]
            0.050    ◄── 100/INVITE
            0.050          server Invited [offer]
            0.080    ◄── 200/INVITE Session-Expires=90;refresher=uac Require=timer [answer]
            0.090    ──► ACK
            0.090          client Accepted 200 INVITE [answer]
            0.100          server Confirmed
        "#]],
    );
}

/// RFC 4028 section 7.4: at once, with the interval that is asked for.
#[test]
fn a_refresh_that_is_to_be_longer_is_followed_up() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 100ms
tamper server 200/UPDATE |SIP/2.0 200 OK|SIP/2.0 422 Session Interval Too Small\\r\\nMin-SE: 2000|
tamper server 200/UPDATE |SIP/2.0 200 OK|SIP/2.0 422 Session Interval Too Small\\r\\nMin-SE: 2400|
wait 901s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            900.030  ──► UPDATE Session-Expires=1800;refresher=uac
            900.040  ◄── 422/UPDATE Session-Expires=1800;refresher=uac Min-SE=2000 Require=timer  (tampered)
            900.040        server Informed UPDATE
            900.050  ──► UPDATE Session-Expires=2000;refresher=uac Min-SE=2000
            900.060  ◄── 422/UPDATE Session-Expires=2000;refresher=uac Min-SE=2400 Require=timer  (tampered)
            900.060        server Informed UPDATE
            900.070  ──► UPDATE Session-Expires=2400;refresher=uac Min-SE=2400
            900.080  ◄── 200/UPDATE Session-Expires=2400;refresher=uac Require=timer
            900.080        server Informed UPDATE
        "#]],
    );
}

/// RFC 3261 section 14.1: after 2.1 to 4 s, for the Call-ID is the client's.
#[test]
fn a_refresh_that_crosses_is_repeated_after_a_moment() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 100ms
tamper server 200/UPDATE |SIP/2.0 200 OK|SIP/2.0 491 Request Pending|
wait 910s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            900.030  ──► UPDATE Session-Expires=1800;refresher=uac
            900.040  ◄── 491/UPDATE Session-Expires=1800;refresher=uac Require=timer  (tampered)
            900.040        server Informed UPDATE
            903.770  ──► UPDATE Session-Expires=1800;refresher=uac
            903.780  ◄── 200/UPDATE Session-Expires=1800;refresher=uac Require=timer
            903.780        server Informed UPDATE
        "#]],
    );
    check(
        "
tamper server 200/INVITE |UPDATE, ||
client invite offer
wait 20ms
server accept answer
wait 901s
server refuse 491
wait 5s
server accept answer
wait 1s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]  (tampered)
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            900.030  ──► INVITE Session-Expires=1800;refresher=uac [offer]
            900.040  ◄── 100/INVITE
            900.040        server Reoffered INVITE [offer]
            901.020  ◄── 491/INVITE
            901.030  ──► ACK
            904.750  ──► INVITE Session-Expires=1800;refresher=uac [offer]
            904.760  ◄── 100/INVITE
            904.760        server Reoffered INVITE [offer]
            906.020  ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            906.030  ──► ACK
            906.040        server Confirmed
        "#]],
    );
}

#[test]
fn the_connection_breaks_and_the_dialog_survives() {
    check_tcp(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
break
client info
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
            1.020    ── the connection breaks
            1.020    ──► INFO X-AC-Action=pause-siprec
            1.030    ◄── 200/INFO
            1.030          server Informed INFO
            2.020    ◄── BYE
            2.030    ──► 200/BYE
            2.030          client Ended Bye
            2.040          server Ended Local
        "#]],
    );
}

#[test]
fn the_connection_breaks_while_a_request_is_out() {
    check_tcp(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
server reinvite more
break
wait 1s
client bye
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
            1.020    ◄── INVITE Session-Expires=1800;refresher=uas [more]
            1.020    ── the connection breaks
            1.020          server Refused 503 Service Unavailable
            2.020    ──► BYE
            2.030    ◄── 200/BYE
            2.030          server Ended Bye
            2.040          client Ended Local
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
fn a_refresh_that_nobody_answers_ends_the_call() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
lose client UPDATE 99
wait 940s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            900.030  ──► UPDATE  (lost)
            900.530  ──► UPDATE  (lost)
            901.530  ──► UPDATE  (lost)
            903.530  ──► UPDATE  (lost)
            907.530  ──► UPDATE  (lost)
            911.530  ──► UPDATE  (lost)
            915.530  ──► UPDATE  (lost)
            919.530  ──► UPDATE  (lost)
            923.530  ──► UPDATE  (lost)
            927.530  ──► UPDATE  (lost)
            931.530  ──► UPDATE  (lost)
            932.030  ──► BYE
            932.030        client Ended RequestTimeout
            932.040  ◄── 200/BYE
            932.040        server Ended Bye
        "#]],
    );
}

#[test]
fn an_update_with_an_offer() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client reinvite first
wait 20ms
server accept one
wait 1s
replay client INVITE |INVITE|UPDATE|CSeq: 2|CSeq: 3|z9hG4bK|z9hG4bKx|s=first|s=second|
wait 20ms
server accept two
wait 10s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ──► INVITE Session-Expires=1800;refresher=uac [first]
            1.030    ◄── 100/INVITE
            1.030          server Reoffered INVITE [first]
            1.040    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [one]
            1.050    ──► ACK
            1.050          client Accepted 200 INVITE [one]
            1.060          server Confirmed
            2.040    ──► UPDATE Session-Expires=1800;refresher=uac [second]
            2.050          server Reoffered UPDATE [second]
            2.060    ◄── 200/UPDATE Session-Expires=1800;refresher=uac Require=timer [two]
        "#]],
    );
}

#[test]
fn a_fork_is_acknowledged_and_ended() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
replay server 200/INVITE |5060>;tag=|5060>;tag=f|
wait 20ms
client bye
wait 20ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            1.030    ──► ACK
            1.030    ──► BYE
            1.040    ◄── 481/BYE
            1.040    ──► BYE
            1.050    ◄── 200/BYE
            1.050          server Ended Bye
            1.060          client Ended Local
        "#]],
    );
}

#[test]
fn a_2xx_that_comes_long_after_gets_its_ack() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 40s
replay server 200/INVITE
wait 20ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            40.020   ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            40.030   ──► ACK
        "#]],
    );
}

#[test]
fn an_offer_while_ours_is_unanswered() {
    check(
        "
client invite
wait 20ms
server accept ours
wait 50ms
client ack theirs
wait 50ms
server reinvite
wait 20ms
client accept offer
wait 50ms
replay client ACK |ACK|INVITE|CSeq: 1|CSeq: 9|z9hG4bK|z9hG4bKx|
wait 50ms
server ack answer
wait 50ms
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800
            0.010    ◄── 100/INVITE
            0.010          server Invited
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [ours]
            0.030          client Accepted 200 INVITE [ours]
            0.070    ──► ACK [theirs]
            0.080          server Confirmed [theirs]
            0.120    ◄── INVITE Session-Expires=1800;refresher=uas
            0.130    ──► 100/INVITE
            0.130          client Reoffered INVITE
            0.140    ──► 200/INVITE Session-Expires=1800;refresher=uas [offer]
            0.150          server Accepted 200 INVITE [offer]
            0.190    ──► INVITE [theirs]
            0.200    ◄── 491/INVITE
            0.240    ◄── ACK [answer]
            0.250          client Confirmed [answer]
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

#[test]
fn glare_again_and_again_is_given_up() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
server reinvite ours
wait 20ms
client refuse 491
wait 5s
client refuse 491
wait 5s
client refuse 491
wait 5s
client refuse 491
wait 5s
client refuse 491
wait 5s
client refuse 491
wait 5s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            1.030    ──► 100/INVITE
            1.030          client Reoffered INVITE [ours]
            1.040    ──► 491/INVITE
            1.050    ◄── ACK
            2.220    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            2.230    ──► 100/INVITE
            2.230          client Reoffered INVITE [ours]
            6.040    ──► 491/INVITE
            6.050    ◄── ACK
            8.000    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            8.010    ──► 100/INVITE
            8.010          client Reoffered INVITE [ours]
            11.040   ──► 491/INVITE
            11.050   ◄── ACK
            12.570   ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            12.580   ──► 100/INVITE
            12.580         client Reoffered INVITE [ours]
            16.040   ──► 491/INVITE
            16.050   ◄── ACK
            17.450   ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            17.460   ──► 100/INVITE
            17.460         client Reoffered INVITE [ours]
            21.040   ──► 491/INVITE
            21.050   ◄── ACK
            22.470   ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            22.480   ──► 100/INVITE
            22.480         client Reoffered INVITE [ours]
            26.040   ──► 491/INVITE
            26.050   ◄── ACK
            26.050         server Refused 491 Refused
        "#]],
    );
}

#[test]
fn a_refusal_within_a_dialog_is_the_same_when_it_is_lost() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
lose server 491/INVITE 1
client reinvite theirs
server reinvite ours
wait 2s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK
            0.030          client Accepted 200 INVITE [answer]
            0.040          server Confirmed
            1.020    ──► INVITE Session-Expires=1800;refresher=uac [theirs]
            1.020    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            1.030    ◄── 491/INVITE  (lost)
            1.030    ──► 491/INVITE
            1.040    ◄── ACK
            1.520    ──► INVITE Session-Expires=1800;refresher=uac [theirs]
            1.530    ◄── 491/INVITE
            1.530    ◄── 491/INVITE
            1.540    ──► ACK
            1.540    ──► ACK
            2.210    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            2.220    ──► 100/INVITE
            2.220          client Reoffered INVITE [ours]
        "#]],
    );
}

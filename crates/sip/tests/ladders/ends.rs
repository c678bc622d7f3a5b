//! How calls end: CANCEL and BYE, alone, crossing each other and what is under way.

use expect_test::expect;

use crate::check;

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

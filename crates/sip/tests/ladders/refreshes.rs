//! The session timer of RFC 4028, from either side.

use expect_test::expect;

use crate::{check, check_tcp};

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

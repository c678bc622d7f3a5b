//! Connections that break in mid-call.

use expect_test::expect;

use crate::check_tcp;

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

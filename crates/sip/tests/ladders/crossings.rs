//! Requests of both sides that cross on the way.

use expect_test::expect;

use crate::check;

/// The client hangs up while our offer is on its way to it.
#[test]
fn a_bye_crosses_our_re_invite() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
server reinvite ours
client bye
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
            1.020    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            1.020    ──► BYE
            1.030    ──► 481/INVITE
            1.030    ◄── 200/BYE
            1.030          server Ended Bye
            1.040    ◄── ACK
            1.040          client Ended Local
        "#]],
    );
}

/// The client updates while our offer is on its way to it: that is glare, and ours comes again.
#[test]
fn an_update_with_an_offer_crosses_our_re_invite() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client info
wait 20ms
server reinvite ours
replay client INFO |INFO sip|UPDATE sip|INFO\\r\\n|UPDATE\\r\\nContent-Type: application/sdp\\r\\n|CSeq: 2|CSeq: 3|z9hG4bK|z9hG4bKu|Content-Length: 0\\r\\n\\r\\n|Content-Length: 5\\r\\n\\r\\nv=0\\r\\n|
wait 10ms
client accept theirs
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
            1.020    ──► INFO X-AC-Action=pause-siprec
            1.030    ◄── 200/INFO
            1.030          server Informed INFO
            1.040    ◄── INVITE Session-Expires=1800;refresher=uas [ours]
            1.040    ──► UPDATE X-AC-Action=pause-siprec
            1.050    ──► 100/INVITE
            1.050          client Reoffered INVITE [ours]
            1.050    ◄── 491/UPDATE
            1.050    ──► 200/INVITE Session-Expires=1800;refresher=uas [theirs]
            1.060    ◄── ACK
            1.060          server Accepted 200 INVITE [theirs]
            1.070          client Confirmed
        "#]],
    );
}

/// The client hangs up while its own re-INVITE is being answered: both are answered, the INVITE with 487.
#[test]
fn a_bye_overtakes_a_re_invite() {
    check(
        "
client invite offer
wait 20ms
server accept answer
wait 1s
client reinvite more
wait 20ms
client bye
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
            1.020    ──► INVITE Session-Expires=1800;refresher=uac [more]
            1.030    ◄── 100/INVITE
            1.030          server Reoffered INVITE [more]
            1.040    ──► BYE
            1.050    ◄── 200/BYE
            1.050    ◄── 487/INVITE
            1.050          server Ended Bye
            1.060          client Ended Local
            1.060    ──► ACK
        "#]],
    );
}

/// The ACK of the first 200 is lost, and the client holds: its re-INVITE is answered at once.
#[test]
fn a_re_invite_stands_for_a_lost_ack() {
    check(
        "
client invite offer
wait 20ms
lose client ACK
server accept answer
wait 100ms
client reinvite hold
wait 20ms
server accept held
wait 2s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 100/INVITE
            0.010          server Invited [offer]
            0.020    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.030    ──► ACK  (lost)
            0.030          client Accepted 200 INVITE [answer]
            0.120    ──► INVITE Session-Expires=1800;refresher=uac [hold]
            0.130    ◄── 100/INVITE
            0.130          server Confirmed
            0.130          server Reoffered INVITE [hold]
            0.140    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [held]
            0.150    ──► ACK
            0.150          client Accepted 200 INVITE [held]
            0.160          server Confirmed
        "#]],
    );
}

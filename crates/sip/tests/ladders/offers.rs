//! Offers within a call: re-INVITE and UPDATE, one after the other and both at once.

use expect_test::expect;

use crate::check;

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

//! What is lost on the way, comes twice, comes late, or gets no answer.

use expect_test::expect;
use sip::Transport;

use crate::check;
use crate::pair::Pair;

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
fn without_an_ack_the_call_goes_on_and_our_user_is_told() {
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
            32.020         server Unacknowledged
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

/// Once a provisional response has come, RFC 3261 gives an INVITE no timer any more: a peer that says nothing else
/// must keep neither the session waiting nor the transaction for ever.
#[test]
fn an_invite_that_is_only_ever_answered_100_is_given_up() {
    for end in ["wait 1s", "server bye"] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut pair = Pair::new(transport);
            pair.run(&format!(
                "
client invite offer
wait 20ms
server accept answer
wait 1s
lose server 500/INVITE 99
lose server 487/INVITE 99
client reinvite offer2
wait 1s
{end}
wait 600s
"
            ));
            let stats = pair.client.stats();
            assert_eq!(
                (stats.sessions, stats.transactions, stats.timers),
                (0, 0, 0),
                "{end}: {}",
                pair.trace
            );
        }
    }
}

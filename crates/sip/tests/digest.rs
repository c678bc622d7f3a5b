//! Digest authentication between two agents: ladders in, ladders out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of this is test code")]

mod pair;

use expect_test::{Expect, expect};
use pair::Pair;
use sip::Transport;
use sip::auth::{Algorithm, Ha1, Login, Users};

fn users(algorithms: &[Algorithm]) -> Users {
    let line = |a: &Algorithm| Users::line("sbc", "here", *a, &Ha1::of(*a, "sbc", "here", "sesame"));
    Users::read(&algorithms.iter().map(line).collect::<Vec<_>>().join("\n"), "here").unwrap()
}

/// Over this transport, with this password, credentials asked for of calls only or of everything.
fn pair(transport: Transport, password: &str, within: bool) -> Pair {
    let mut pair = Pair::new(transport);
    pair.server.gate_mut().users = Some(users(&Algorithm::ALL));
    pair.server.gate_mut().within = within;
    pair.login = Some(Login { user: "sbc".into(), password: password.into() });
    pair
}

fn check(mut pair: Pair, ladder: &str, expect: Expect) {
    pair.run(ladder);
    expect.assert_eq(&pair.trace);
}

/// A call up to where both talk.
const ANSWERED: &str = "
client invite offer
wait 100ms
server accept answer
wait 100ms
";

/// Over UDP, and over a connection, where the transaction is gone when it is answered.
#[test]
fn a_call_is_asked_for_credentials_once() {
    for transport in [Transport::Udp, Transport::Tcp] {
        check(
            pair(transport, "sesame", false),
            &format!("{ANSWERED}client info\nclient bye\nwait 33s\n"),
            expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 401/INVITE (SHA-256) (MD5)
            0.020    ──► ACK
            0.020    ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
            0.030    ◄── 100/INVITE
            0.030          server Invited [offer]
            0.100    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.110    ──► ACK (SHA-256 00000001)
            0.110          client Accepted 200 INVITE [answer]
            0.120          server Confirmed
            0.200    ──► INFO X-AC-Action=pause-siprec (SHA-256 00000002)
            0.200    ──► BYE (SHA-256 00000003)
            0.210    ◄── 200/INFO
            0.210          server Informed INFO
            0.210    ◄── 200/BYE
            0.210          server Ended Bye
            0.220          client Ended Local
            "#]],
        );
    }
}

#[test]
fn a_wrong_password_is_tried_once() {
    check(
        pair(Transport::Udp, "open", false),
        &format!("{ANSWERED}client info\nclient bye\nwait 33s\n"),
        expect![[r#"
        0.000    ──► INVITE Session-Expires=1800 [offer]
        0.010    ◄── 401/INVITE (SHA-256) (MD5)
        0.020    ──► ACK
        0.020    ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
        0.030    ◄── 401/INVITE (SHA-256) (MD5)
        0.040    ──► ACK
        0.040          client Refused 401 Unauthorized
        0.100          server accept: session 0 is gone, or has nothing to answer
        0.200          client info: session 1 is gone, or has nothing to answer
        0.200          client bye: session 1 is gone, or has nothing to answer
    "#]],
    );
}

#[test]
fn without_a_password_the_call_is_refused_and_leaves_nothing() {
    let mut pair = pair(Transport::Udp, "", false);
    pair.login = None;
    pair.run("client invite offer\nwait 33s\n");
    expect![[r#"
        0.000    ──► INVITE Session-Expires=1800 [offer]
        0.010    ◄── 401/INVITE (SHA-256) (MD5)
        0.020    ──► ACK
        0.020          client Refused 401 Unauthorized
    "#]]
    .assert_eq(&pair.trace);
    let stats = pair.server.stats();
    assert_eq!((stats.sessions, stats.transactions, stats.timers), (0, 0, 0));
}

/// A nonce lives five minutes: the BYE after ten is asked again, and goes out again by itself.
#[test]
fn within_a_dialog_a_stale_nonce_is_replaced() {
    check(
        pair(Transport::Udp, "sesame", true),
        &format!(
            "{ANSWERED}client reinvite offer2\nwait 100ms\nserver accept answer2\nwait 600100ms\nclient bye\nwait 33s\n"
        ),
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 401/INVITE (SHA-256) (MD5)
            0.020    ──► ACK
            0.020    ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
            0.030    ◄── 100/INVITE
            0.030          server Invited [offer]
            0.100    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            0.110    ──► ACK (SHA-256 00000001)
            0.110          client Accepted 200 INVITE [answer]
            0.120          server Confirmed
            0.200    ──► INVITE Session-Expires=1800;refresher=uac (SHA-256 00000002) [offer2]
            0.210    ◄── 100/INVITE
            0.210          server Reoffered INVITE [offer2]
            0.300    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer2]
            0.310    ──► ACK (SHA-256 00000002)
            0.310          client Accepted 200 INVITE [answer2]
            0.320          server Confirmed
            600.400  ──► BYE (SHA-256 00000003)
            600.410  ◄── 401/BYE (SHA-256 stale) (MD5 stale)
            600.420  ──► BYE (SHA-256 00000001)
            600.430  ◄── 200/BYE
            600.430        server Ended Bye
            600.440        client Ended Local
        "#]],
    );
}

/// What was heard on the way is worth nothing: neither again nor in another request.
#[test]
fn a_replayed_request_is_challenged() {
    check(
        pair(Transport::Udp, "sesame", false),
        "
client invite offer
wait 100ms
server refuse 486
wait 33s
replay client INVITE |branch=z9hG4bK|branch=z9hG4bKother|
wait 100ms
replay client INVITE |branch=z9hG4bKother|branch=z9hG4bKthird|nc=00000001|nc=00000002|
wait 33s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 401/INVITE (SHA-256) (MD5)
            0.020    ──► ACK
            0.020    ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
            0.030    ◄── 100/INVITE
            0.030          server Invited [offer]
            0.100    ◄── 486/INVITE
            0.110    ──► ACK
            0.110          client Refused 486 Refused
            33.100   ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
            33.110   ◄── 401/INVITE (SHA-256 stale) (MD5 stale)
            33.200   ──► INVITE Session-Expires=1800 (SHA-256 00000002) [offer]
            33.210   ◄── 401/INVITE (SHA-256) (MD5)
        "#]],
    );
}

/// The first answer was lost, the INVITE comes again; each challenge has a nonce of its own, and one is enough.
#[test]
fn lost_challenges_and_lost_answers() {
    check(
        pair(Transport::Udp, "sesame", false),
        "
lose server 401/INVITE 1
lose client ACK 1
client invite offer
wait 2s
server accept answer
wait 1s
client bye
wait 33s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 401/INVITE  (lost)
            0.500    ──► INVITE Session-Expires=1800 [offer]
            0.510    ◄── 401/INVITE (SHA-256) (MD5)
            0.520    ──► ACK  (lost)
            0.520    ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
            0.530    ◄── 100/INVITE
            0.530          server Invited [offer]
            1.530    ◄── 180/INVITE
            1.540          client Ringing 180
            2.000    ◄── 200/INVITE Session-Expires=1800;refresher=uac Require=timer [answer]
            2.010    ──► ACK (SHA-256 00000001)
            2.010          client Accepted 200 INVITE [answer]
            2.020          server Confirmed
            3.000    ──► BYE (SHA-256 00000002)
            3.010    ◄── 200/BYE
            3.010          server Ended Bye
            3.020          client Ended Local
        "#]],
    );
}

/// CANCEL and ACK cannot be answered with credentials, so they are not asked for any.
#[test]
fn a_call_is_cancelled_without_credentials() {
    check(
        pair(Transport::Udp, "sesame", true),
        "
client invite offer
wait 100ms
server ring
wait 100ms
client cancel
wait 33s
",
        expect![[r#"
            0.000    ──► INVITE Session-Expires=1800 [offer]
            0.010    ◄── 401/INVITE (SHA-256) (MD5)
            0.020    ──► ACK
            0.020    ──► INVITE Session-Expires=1800 (SHA-256 00000001) [offer]
            0.030    ◄── 100/INVITE
            0.030          server Invited [offer]
            0.100    ◄── 180/INVITE
            0.110          client Ringing 180
            0.200    ──► CANCEL
            0.210    ◄── 200/CANCEL
            0.210    ◄── 487/INVITE
            0.210          server Ended Cancelled
            0.220    ──► ACK
            0.220          client Ended Cancelled
        "#]],
    );
}

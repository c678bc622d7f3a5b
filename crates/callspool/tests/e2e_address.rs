//! A service address, kept by two nodes with the roles proxy and link-protector on a network of the test's own: a client
//! finds whichever of them holds it, by IPv4 and IPv6, whatever becomes of the other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use support::holders::{Client, Node, V4};
use support::lan::Lan;
use support::program::run;
use support::server::Server;
use support::{PATIENCE, wait_until};

#[test]
fn when_the_link_of_the_holder_goes_down_the_other_node_answers_and_later_the_first_one_again() {
    let Some(lan) = Lan::of(&["a", "b", "c"]) else { return };
    let mut client = Client::of(&lan);
    let a = Node::start(&lan, "a", "200", "1s");
    let b = Node::start(&lan, "b", "100", "1s");
    client.expect("a");
    assert_eq!(client.remembers(), [a.mac(), a.mac()]);
    assert!(a.status().contains("service address v4 (192.0.2.10): held here"), "{}", a.status());
    assert!(b.status().contains("service address v4 (192.0.2.10): held by 192.0.2.1"), "{}", b.status());
    assert!(b.status().contains("service address v6 (2001:db8::10): held by fe80::"), "{}", b.status());
    assert_eq!(b.holds(), [false; 2]);

    lan.cable("a", "down");
    println!("link down: the other one answered after {:?}", client.expect("b"));
    assert_eq!(client.remembers(), [b.mac(), b.mac()]);
    a.expect_holds(false);
    assert!(a.status().contains("the link of eth0 is down"), "{}", a.status());

    lan.cable("a", "up");
    client.expect("a");
    assert_eq!(client.remembers(), [a.mac(), a.mac()]);
    b.expect_holds(false);
}

#[test]
fn when_the_holder_is_killed_or_hangs_the_other_node_answers_and_its_kernel_lets_go() {
    let Some(lan) = Lan::of(&["a", "b", "c"]) else { return };
    let mut client = Client::of(&lan);
    let mut a = Node::start(&lan, "a", "200", "never");
    let mut b = Node::start(&lan, "b", "100", "never");
    client.expect("a");

    a.program().kill();
    println!("killed: the other one answered after {:?}", client.expect("b"));
    a.expect_holds(false);
    assert_eq!(client.remembers(), [b.mac(), b.mac()]);

    // It comes back, and leaves the address where it is.
    a.restart();
    client.expect("b");
    assert_eq!(a.holds(), [false; 2]);

    b.signal(Signal::SIGSTOP);
    println!("stopped: the other one answered after {:?}", client.expect("a"));
    b.expect_holds(false);
    b.signal(Signal::SIGCONT);
    // It looks around first.
    wait_until("one that was stopped to let go", PATIENCE, || {
        let log = b.program().output();
        if log.contains("service address v6 is not held here any more") { Ok(()) } else { Err(log) }
    });
    client.expect("a");
    assert_eq!((a.holds(), b.holds()), ([true; 2], [false; 2]));
}

#[test]
fn one_that_is_drained_or_stops_hands_over_at_once() {
    let Some(lan) = Lan::of(&["a", "b", "c"]) else { return };
    let mut client = Client::of(&lan);
    let mut a = Node::start(&lan, "a", "200", "never");
    let mut b = Node::start(&lan, "b", "100", "never");
    client.expect("a");

    a.remote.server.callspool(&["drain"]).expect_ok("drain");
    println!("drained: the other one answered after {:?}", client.expect("b"));
    assert_eq!(a.holds(), [false; 2]);

    // Nobody is well then, and one is there.
    b.remote.server.callspool(&["drain"]).expect_ok("drain");
    client.expect("b");
    a.remote.server.callspool(&["drain", "--off"]).expect_ok("drain --off");
    client.expect("a");

    b.remote.server.callspool(&["drain", "--off"]).expect_ok("drain --off");
    a.program().terminate();
    println!("stopped: the other one answered after {:?}", client.expect("b"));
    assert!(a.program().wait(PATIENCE).success());
    assert_eq!(a.holds(), [false; 2]);
    b.program().terminate();
    assert!(b.program().wait(PATIENCE).success());
    assert_eq!(b.holds(), [false; 2]);
}

#[test]
fn what_somebody_else_gave_to_the_kernel_stays_and_what_an_earlier_run_left_goes() {
    let Some(lan) = Lan::of(&["a", "c"]) else { return };
    lan.ip_of("a", &["address", "add", &format!("{V4}/24"), "dev", "eth0"]);
    let mut a = Node::start(&lan, "a", "200", "never");
    wait_until("a word about the address", PATIENCE, || {
        let status = a.status();
        let is_said = status.contains("192.0.2.10 is an address of this node already");
        if is_said && status.contains("v6 (2001:db8::10): held here") { Ok(()) } else { Err(status) }
    });
    a.program().terminate();
    assert!(a.program().wait(PATIENCE).success());
    assert_eq!(a.holds(), [true, false]);

    lan.ip_of("a", &["address", "delete", &format!("{V4}/24"), "dev", "eth0"]);
    a.restart();
    a.expect_holds(true);
    a.program().kill();
    a.restart();
    a.expect_holds(true);
}

/// Bits of `CAP_NET_BIND_SERVICE`, `CAP_NET_ADMIN` and `CAP_NET_RAW` (linux/capability.h).
const BIND: u64 = 1 << 10;
const ADMIN: u64 = 1 << 12;
const RAW: u64 = 1 << 13;

#[test]
fn when_root_becomes_somebody_else_one_thread_alone_keeps_the_powers() {
    let Some(lan) = Lan::of(&["a", "b", "c"]) else { return };
    let mut client = Client::of(&lan);
    let mut a = Node::prepare(&lan, "a", "200", "never");
    a.remote.server.set("NODE__USER", "nobody");
    // Its directory is root's, and closed.
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(a.remote.server.directory(), 0o711);
    open(&a.remote.server.directory().join("callspool.toml"), 0o644);
    a.restart();
    client.expect("a");
    let mut hands = 0;
    for task in std::fs::read_dir(format!("/proc/{}/task", a.program().id())).unwrap().flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap();
        let (name, status) = (read("comm"), read("status"));
        let is_hands = name.trim() == "address-hands";
        hands += usize::from(is_hands);
        for set in ["CapEff:", "CapPrm:"] {
            let line = status.lines().find(|line| line.starts_with(set)).unwrap();
            let has = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
            assert_eq!(has, if is_hands { ADMIN | RAW } else { BIND }, "{name}{line}");
        }
    }
    assert_eq!(hands, 1);
}

#[test]
fn without_the_powers_it_takes_it_does_not_start_and_says_why() {
    let server = Server::prepare(&[
        ("NODE__ROLES", "proxy,recorder,link-protector"),
        ("SIP__UDP", "192.0.2.10:5060"),
        ("ADDRESS__V4__ADDRESS", "192.0.2.10/24"),
        ("ADDRESS__V4__INTERFACE", "lo"),
        ("ADDRESS__V4__ROUTER_ID", "51"),
    ]);
    let mut command = server.command_by("setpriv", &["--bounding-set", "-net_admin,-net_raw"]);
    command.arg("serve");
    let done = run(command, PATIENCE);
    assert_eq!(done.code, Some(1), "{}", done.err);
    let line = done.err.lines().find(|line| line.starts_with("callspool: ")).expect("a line of ours");
    for said in
        ["cannot hold service addresses", "CAP_NET_ADMIN and CAP_NET_RAW are missing", "AmbientCapabilities"]
    {
        assert!(line.contains(said), "{line}");
    }
}

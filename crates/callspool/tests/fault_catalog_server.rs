//! The catalog on a server with PostgreSQL that several nodes share: each lists the calls of all, calls go on while it is
//! away, and no two nodes have one number.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod fault_support;
#[path = "../../store/tests/fixture/postgres.rs"]
#[allow(dead_code, reason = "tests of the store want more of it")]
mod postgres;
mod support;

use std::collections::BTreeSet;

use fault_support::caller::place;
use fault_support::cluster::Cluster;
use support::receiver::{Posted, Receiver};
use support::server::Server as Node;
use support::{PATIENCE, wait_until};

use self::postgres::Server as Database;

/// As a setting says it.
fn url(database: &Database) -> String {
    format!("postgres://callspool@/postgres?host={}", database.directory().display())
}

fn node(database: &Database, number: &str) -> Node {
    let mut node = Node::prepare(&[("NODE__NUMBER", number)]);
    node.set("NODE__NAME", &format!("node{number}"));
    node.set("CATALOG__URL", &url(database));
    node
}

/// Calls that have ended, by their ids.
fn listed(node: &Node) -> BTreeSet<String> {
    node.calls().into_iter().filter(|call| !call.live).map(|call| call.id).collect()
}

fn until_listed(nodes: &[&Node], count: usize) -> BTreeSet<String> {
    wait_until("all calls to be listed by each", PATIENCE, || {
        let seen: Vec<_> = nodes.iter().map(|node| listed(node)).collect();
        let all = seen.iter().all(|calls| calls.len() == count && *calls == seen[0]);
        if all { Ok(seen[0].clone()) } else { Err(format!("{seen:?}")) }
    })
}

#[test]
fn two_nodes_list_the_calls_of_both_and_record_while_it_is_away() {
    let mut database = Database::start();
    let (mut one, mut two) = (node(&database, "1"), node(&database, "2"));
    one.restart();
    two.restart();
    place(&one, "before", &["--calls", "2", "--duration", "300ms"]);
    place(&two, "before", &["--calls", "2", "--duration", "300ms"]);
    let before = until_listed(&[&one, &two], 4);

    database.crash();
    place(&one, "away", &["--calls", "2", "--duration", "300ms"]);
    let done = one.callspool(&["ls"]);
    assert!(done.code != Some(0) && done.err.contains("see whether the server runs"), "{}", done.err);
    // It starts without its catalog.
    two.kill();
    two.restart();
    place(&two, "away", &["--calls", "2", "--duration", "300ms"]);
    database.run();
    let after = until_listed(&[&one, &two], 8);
    assert!(after.is_superset(&before));

    // What one node makes anew is its own.
    assert_eq!(one.stop().code(), Some(0), "{}", one.log());
    let done = one.callspool(&["reindex"]);
    assert!(done.code == Some(0) && done.text().starts_with("4 calls"), "{}{}", done.text(), done.err);
    until_listed(&[&two], 8);
    let done = one.callspool(&["doctor"]);
    assert!(done.text().contains("the server answers"), "{}", done.text());
}

#[test]
fn no_two_nodes_have_one_number_and_a_node_has_its_own_again_at_once() {
    let database = Database::start();
    let mut first = node(&database, "7");
    first.restart();
    first.kill();
    // Killed, it gave nothing back.
    first.restart();
    let mut second = node(&database, "7");
    let done = second.callspool(&["serve"]);
    assert!(done.code != Some(0) && done.err.contains("node.number 7 is that of node7:"), "{}", done.err);
    assert_eq!(first.stop().code(), Some(0), "{}", first.log());
    second.restart();
    place(&second, "mine", &["--duration", "300ms"]);
    until_listed(&[&second], 1);
}

#[test]
fn each_node_tells_its_webhooks_of_its_own() {
    let database = Database::start();
    let receivers = [Receiver::start(0), Receiver::start(0)];
    let nodes: Vec<Node> = receivers
        .iter()
        .zip(["1", "2"])
        .map(|(receiver, number)| {
            let mut node = node(&database, number);
            node.set("WEBHOOK__OPS__EVENTS", "segment");
            node.set("WEBHOOK__OPS__URL", &format!("http://127.0.0.1:{}/", receiver.port()));
            node.restart();
            node
        })
        .collect();
    for n in 0..4 {
        place(&nodes[n % 2], &format!("call{n}"), &["--duration", "200ms"]);
    }
    let segments = |posted: &[Posted]| -> BTreeSet<String> {
        posted.iter().map(|told| told.json()["segment"].to_string()).collect()
    };
    let told: Vec<BTreeSet<String>> = receivers
        .iter()
        .map(|receiver| {
            // The begin and the end of each.
            let posted = receiver.wait_for("its two", |posted| posted.len() >= 4);
            let ids: BTreeSet<String> = posted.iter().map(Posted::id).collect();
            assert_eq!(ids.len(), posted.len(), "something was told twice");
            segments(&posted)
        })
        .collect();
    assert!(told[0].len() == 2 && told[1].len() == 2 && told[0].is_disjoint(&told[1]), "{told:?}");
}

#[test]
fn a_cluster_lists_its_calls_everywhere() {
    let database = Database::start();
    let cluster = Cluster::with(2, &[("CATALOG__URL", &url(&database))]);
    place(&cluster.proxy, "spread", &["--calls", "4", "--rate", "20/s", "--duration", "500ms"]);
    let nodes: Vec<&Node> = cluster.recorders.iter().chain([&cluster.proxy]).collect();
    until_listed(&nodes, 4);
    assert!((0..2).all(|n| cluster.at(n).len() == 2), "they lie at two");
}

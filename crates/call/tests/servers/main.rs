//! `Front` and `RecordServers` together, with record servers that refuse, say nothing, die and return, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

mod anchors;
mod calls;
#[path = "../world/client.rs"]
#[allow(dead_code, reason = "each uses a part of this")]
mod client;
mod cluster;
mod forgetting;
mod ledger;
mod limits;
mod moving;
mod node;
mod placing;
mod properties;
mod relay;
mod returning;

use call::Anchoring;
use cluster::Cluster;
use expect_test::Expect;

/// The same, where media go through the proxy.
fn check_anchored(servers: usize, relay: Anchoring, script: &str, expected: Expect) {
    let mut cluster = Cluster::anchored(servers, relay);
    for line in script.lines() {
        cluster.play(line.trim());
    }
    expected.assert_eq(&cluster.out);
}

/// Plays a script on record servers `a`, `b`, … of so many, and compares what follows.
fn check(servers: usize, script: &str, expected: Expect) {
    let mut cluster = Cluster::new(servers);
    for line in script.lines() {
        cluster.play(line.trim());
    }
    expected.assert_eq(&cluster.out);
}

//! The front as ladders: what a client and a record server do goes in, what is answered, ordered and told comes
//! out. Only `check` knows the API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tells what is wrong by panicking"
)]

mod asking;
mod bridge;
mod by_person;
mod correlation;
mod dialects;
mod failover;
mod failures;
#[allow(dead_code, unreachable_pub, reason = "the tests of the whole program use it too")]
#[path = "../world/flow.rs"]
mod flow;
mod guests;
mod intake;
mod keys;
mod overload;
mod pauses;
mod segments;
mod shapes;
mod told;
#[path = "../world/mod.rs"]
mod world;

use call::{FrontConfig, Trunk, Trunks};
use expect_test::Expect;
use model::TenantId;
use model::peer::Flowing;
use world::World;

fn check(script: &str, expected: Expect) {
    let mut world = World::new(2);
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
}

/// Clients that mean a pause by `a=inactive`.
fn check_pausing(script: &str, expected: Expect) {
    let mut world = World::meaning(2, Flowing::Paused);
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
}

/// Two trunks of one tenant: that of an SBC at 127.0.0.1, and that of a gateway at 127.0.0.2.
fn check_guests(script: &str, expected: Expect) {
    let trunk = |name: &str, from: &str| Trunk {
        from: vec![from.parse().unwrap()],
        name: name.into(),
        ..Trunk::open(TenantId::default())
    };
    let trunks = vec![trunk("sbc", "127.0.0.1/32"), trunk("gateway", "127.0.0.2/32")];
    let trunks = Trunks::new(trunks, TenantId::default());
    let mut world = World::of(FrontConfig { trunks, ..world::config(100) });
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
}

/// Two trunks of two tenants; the second takes `inactive` for a pause and two calls at a time.
fn check_trunks(script: &str, expected: Expect) -> World {
    let trunk = |name: &str, from: &str, tenant: &str| Trunk {
        from: vec![from.parse().unwrap()],
        name: name.into(),
        ..Trunk::open(tenant.parse().unwrap())
    };
    let pausing = Trunk {
        inactive: Some(Flowing::Paused),
        calls_max: Some(2),
        tags: vec![("site".into(), "Bonn".into())],
        ..trunk("pausing", "127.0.0.2/32", "bonn")
    };
    let limits = [("acme".parse().unwrap(), 1)].into();
    let written = vec![pausing, trunk("holding", "127.0.0.1/32", "acme")];
    let trunks = Trunks::new(written, TenantId::default());
    let mut world = World::of(FrontConfig { trunks, tenant_calls_max: limits, ..world::config(100) });
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        world.play(line);
    }
    expected.assert_eq(&world.out);
    world
}

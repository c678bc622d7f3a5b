//! Sessions as ladders: what is ordered and what the network does, and every message and event that follows.

mod calls;
mod connections;
mod crossings;
mod ends;
mod lost;
mod offers;
#[path = "../pair/mod.rs"]
mod pair;
mod refreshes;

use expect_test::Expect;
use pair::Pair;
use sip::Transport;

fn check(ladder: &str, expect: Expect) {
    let mut pair = Pair::new(Transport::Udp);
    run(&mut pair, ladder, expect);
}

fn check_tcp(ladder: &str, expect: Expect) {
    let mut pair = Pair::new(Transport::Tcp);
    run(&mut pair, ladder, expect);
}

fn run(pair: &mut Pair, ladder: &str, expect: Expect) {
    pair.run(ladder);
    expect.assert_eq(&pair.trace);
}

//! How long nobody answers at a service address when its holder fails: a client on the same link asks by OPTIONS over IPv4
//! and IPv6, each time for 10 ms, until the other node answers at both. Two nodes on a network of the test's own.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::Options;
use crate::figures::{Figures, Spread};
use crate::support::PATIENCE;
use crate::support::holders::{Client, Node};
use crate::support::lan::Lan;

const ROUNDS: usize = 10;
/// What is measured: with 20 ms between two looks.
const EACH: Duration = Duration::from_millis(10);

type Fail = fn(&mut Node<'_>, &Lan);

/// How the holder fails, and what makes it well again.
const FATES: [(&str, Fail, Fail); 5] = [
    ("its link goes down", |_, lan| lan.cable("a", "down"), |_, lan| lan.cable("a", "up")),
    ("it is killed", |holder, _| holder.program().kill(), |holder, _| holder.restart()),
    ("it hangs", |holder, _| holder.signal(Signal::SIGSTOP), |holder, _| holder.signal(Signal::SIGCONT)),
    (
        "it is drained",
        |holder, _| drop(holder.remote.server.callspool(&["drain"]).expect_ok("drain")),
        |holder, _| drop(holder.remote.server.callspool(&["drain", "--off"]).expect_ok("drain --off")),
    ),
    (
        "it is stopped",
        |holder, _| holder.program().terminate(),
        |holder, _| {
            assert!(holder.program().wait(PATIENCE).success());
            holder.restart();
        },
    ),
];

pub(crate) fn measure(options: &Options, figures: &Figures) {
    let Some(lan) = Lan::of(&["a", "b", "c"]) else { return };
    let mut client = Client::of(&lan);
    client.wait_for_each(EACH);
    let mut holder = Node::start(&lan, "a", "200", "1s");
    let _other = Node::start(&lan, "b", "100", "1s");
    for (fate, fail, mend) in FATES {
        let away = (0..options.rounds.unwrap_or(ROUNDS)).map(|_| {
            client.expect("a");
            fail(&mut holder, &lan);
            let away = client.expect("b");
            mend(&mut holder, &lan);
            away.as_secs_f64() * 1e3
        });
        let away = Spread::of(away.collect::<Vec<_>>());
        figures.tell(
            "service address",
            &format!(
                "{fate:<20} {:>3} times: another node answers after {:.0} ms (worst {:.0})",
                away.count, away.median, away.worst
            ),
            json!({ "fate": fate, "times": away.count, "away_ms": away.median, "away_worst_ms": away.worst }),
        );
    }
}

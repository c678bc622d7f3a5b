//! How long a client waits whose proxy was killed: from the BYE that it sends to another proxy, which has never heard of the
//! dialog, to the 200 OK. Two proxies, two record servers; no media.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Options;
use crate::fault_support::cluster::Cluster;
use crate::figures::{Figures, Spread};
use crate::support::uac::Dialog;

const ROUNDS: usize = 5;
const CALLS: usize = 50;
/// What a proxy has answered its record servers have heard by then.
const BEFORE: Duration = Duration::from_millis(500);

pub(crate) fn measure(options: &Options, figures: &Figures) {
    let mut cluster = Cluster::with(2, &options.settings(&[]));
    let other = cluster.another_proxy(101, &options.settings(&[]));
    let (rounds, calls) = (options.rounds.unwrap_or(ROUNDS), options.calls.unwrap_or(CALLS));
    let mut waits = Vec::new();
    for round in 0..rounds {
        // Where media come from is said and nothing is sent: it is not measured here.
        let begin = |n| Dialog::begin(&cluster.proxy, &format!("dialog-{round}-{n}"), 40_000).0;
        let mut dialogs: Vec<Dialog> = (0..calls).map(begin).collect();
        std::thread::sleep(BEFORE);
        cluster.proxy.kill();
        for dialog in &mut dialogs {
            dialog.turn_to(&other);
            let asked = Instant::now();
            dialog.bye();
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        cluster.proxy.restart();
        cluster.wait_until_ready();
    }
    let waits = Spread::of(waits);
    figures.tell(
        "dialogs",
        &format!(
            "another proxy ends the call of one that was killed, {} times: after {:.1} ms (worst {:.1})",
            waits.count, waits.median, waits.worst
        ),
        json!({ "calls": waits.count, "bye_ms": waits.median, "bye_worst_ms": waits.worst }),
    );
}

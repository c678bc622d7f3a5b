//! How long nobody records when a record server fails in the middle of calls.
//!
//! ```text
//!  caller ──SIP──► proxy ──► three record servers, of which the first is killed, hangs, or loses its link
//!     └────RTP────────────────────────┘        (or by the proxy, where it relays)
//! ```
//!
//! Of each call that was there is taken: from the failure until the first packet at the next record server, and how much of
//! what the caller sent is in neither segment, when the first one is closed. Both in milliseconds; the caller sends a packet
//! each 20 ms. One that hangs, or whose link comes back, writes on what lay in its sockets: it is closed when all is over.

use std::time::Duration;

use model::WallTime;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::Options;
use crate::fault_support::caller::{CallReport, Caller, Report};
use crate::fault_support::cluster::Cluster;
use crate::fault_support::listing::Segment;
use crate::fault_support::network::Network;
use crate::figures::{Figures, Spread};
use crate::support::{PATIENCE, wait_until};

/// Between two packets of the caller.
const PACKET_MS: f64 = 20.0;
/// Calls go on for so long before a record server fails: it has flushed and synced some times.
const BEFORE: Duration = Duration::from_millis(1_500);
/// Of fifteen calls a third is at the one that fails: fifty of each kind.
const ROUNDS: usize = 10;
const CALLS: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Killed,
    Hangs,
    LinkDown,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "is killed (SIGKILL)",
            Self::Hangs => "hangs (SIGSTOP)",
            Self::LinkDown => "loses its link",
        }
    }
}

/// What became of one call.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// From the failure to the first packet at the next one.
    until_next: f64,
    /// Sent, and in no segment.
    missing: f64,
}

pub(crate) fn measure(options: &Options, figures: &Figures) {
    let (rounds, calls) = (options.rounds.unwrap_or(ROUNDS), options.calls.unwrap_or(CALLS));
    for relay in ["no", "yes"] {
        let settings = options.settings(&[("MEDIA__RELAY", relay)]);
        for fate in [Fate::Killed, Fate::Hangs] {
            let mut cluster = Cluster::with(3, &settings);
            let gaps = (0..rounds).flat_map(|round| fails_once(&mut cluster, fate, round, calls)).collect();
            tell(figures, fate, relay, gaps);
        }
        let Some(network) = Network::start(&settings) else { continue };
        let gaps = (0..rounds).flat_map(|round| loses_link_once(&network, round, calls)).collect();
        tell(figures, Fate::LinkDown, relay, gaps);
    }
}

fn fails_once(cluster: &mut Cluster, fate: Fate, round: usize, calls: usize) -> Vec<Gap> {
    let had: usize = (0..3).map(|n| cluster.at(n).len()).sum();
    let calls = calls.to_string();
    let arguments = ["--calls", &calls, "--rate", "100/s", "--siprec", "--duration", "6s"];
    let caller = Caller::start(&cluster.proxy, &format!("{fate:?}{round}"), &arguments);
    wait_until("calls to be up", PATIENCE, || {
        let up = (0..3).map(|n| cluster.at(n).len()).sum::<usize>() - had;
        if up.to_string() == calls { Ok(()) } else { Err(format!("{up} of {calls}")) }
    });
    std::thread::sleep(BEFORE);
    let failed_at = now();
    let first = &mut cluster.recorders[0];
    if fate == Fate::Killed {
        first.kill()
    } else {
        first.signal(Signal::SIGSTOP)
    }
    let report = caller.finish();
    report.expect_all_ok(fate.name());
    let first = &mut cluster.recorders[0];
    if fate == Fate::Killed {
        first.restart()
    } else {
        first.signal(Signal::SIGCONT)
    }
    let segments = |call: &CallReport| {
        let count = cluster.of(&call.sip_call_id).len();
        cluster.sealed(&call.sip_call_id, count).into_iter().map(|(_, segment)| segment).collect()
    };
    let gaps = gaps(&report, failed_at, segments);
    cluster.wait_until_ready();
    gaps
}

fn loses_link_once(network: &Network, round: usize, calls: usize) -> Vec<Gap> {
    let name = format!("link{round}");
    let caller = network.call(&name, calls, "6s");
    network.wait_until_up(&name, calls);
    std::thread::sleep(BEFORE);
    let failed_at = now();
    network.lan.cable("a", "down");
    let report = caller.finish();
    report.expect_all_ok(Fate::LinkDown.name());
    network.lan.cable("a", "up");
    network.wait_until_ready();
    let mut all = network.calls(&report).into_iter();
    gaps(&report, failed_at, |_| all.next().unwrap().into_iter().map(|(_, segment)| segment).collect())
}

/// Of the calls that were at the one that failed.
fn gaps(
    report: &Report,
    failed_at: WallTime,
    mut segments: impl FnMut(&CallReport) -> Vec<Segment>,
) -> Vec<Gap> {
    report.calls.iter().filter_map(|call| gap(call, &segments(call), failed_at)).collect()
}

/// None where it was at another record server.
fn gap(call: &CallReport, segments: &[Segment], failed_at: WallTime) -> Option<Gap> {
    let next = segments.get(1)?;
    let first = next.record.streams.iter().filter_map(|s| s.anchors.first()).map(|a| a.at).min()?;
    let missing = call.streams.iter().enumerate().map(|(n, sent)| {
        let kept = segments.iter().filter_map(|s| s.record.streams.get(n)).map(|s| s.accounting.received);
        sent.packets.saturating_sub(kept.sum::<u64>())
    });
    let until_next = (first.0 - failed_at.0) as f64 / 1e6;
    Some(Gap { until_next, missing: missing.max().unwrap_or_default() as f64 * PACKET_MS })
}

fn now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    WallTime(i64::try_from(since.as_nanos()).unwrap())
}

fn tell(figures: &Figures, fate: Fate, relay: &str, gaps: Vec<Gap>) {
    let next = Spread::of(gaps.iter().map(|gap| gap.until_next));
    let missing = Spread::of(gaps.iter().map(|gap| gap.missing));
    let way = if relay == "yes" { "through the proxy" } else { "direct" };
    figures.tell(
        "failover",
        &format!(
            "a record server {:<19} {way:<17} {:>3} calls: next one records after {:.0} ms (worst {:.0}); missing {:.0} ms \
             (worst {:.0})",
            fate.name(),
            next.count,
            next.median,
            next.worst,
            missing.median,
            missing.worst
        ),
        json!({
            "fate": fate.name(), "relay": relay, "calls": next.count,
            "next_ms": next.median, "next_worst_ms": next.worst,
            "missing_ms": missing.median, "missing_worst_ms": missing.worst,
        }),
    );
}

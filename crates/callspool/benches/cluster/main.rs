//! How long nobody records when a record server fails in the middle of calls.
//!
//! ```text
//!  cargo bench -p callspool --bench failover -- [--rounds 10] [--calls 15] [--set KEY=VALUE] [--out FILE]
//!
//!  caller ──SIP──► proxy ──► three record servers, of which the first is killed, or hangs
//!     └────RTP────────────────────────┘
//! ```
//!
//! Of each call that was there is taken: from the failure until the first packet at the next record server, and how much of
//! what the caller sent is in neither segment, when the first one is closed. Both in milliseconds; the caller sends a packet
//! each 20 ms. All programs are on this machine and share its cores.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/fault_support/mod.rs"]
mod fault_support;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use fault_support::caller::{CallReport, Caller};
use fault_support::cluster::Cluster;
use fault_support::listing::Segment;
use model::WallTime;
use nix::sys::signal::Signal;
use serde_json::json;
use support::{PATIENCE, wait_until};

/// Between two packets of the caller.
const PACKET_MS: f64 = 20.0;
/// Calls go on for so long before a record server fails: it has flushed and synced some times.
const BEFORE: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Killed,
    Hangs,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Killed => "is killed (SIGKILL)",
            Self::Hangs => "hangs (SIGSTOP)",
        }
    }
}

struct Options {
    rounds: usize,
    calls: usize,
    set: Vec<(String, String)>,
    out: Option<String>,
}

impl Options {
    fn read() -> Self {
        let mut options = Self { rounds: 10, calls: 15, set: Vec::new(), out: None };
        // `cargo bench` gives an argument of its own.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{word} wants a value"));
            match word.as_str() {
                "--rounds" => options.rounds = value.parse().expect("a number of rounds"),
                "--calls" => options.calls = value.parse().expect("a number of calls"),
                "--out" => options.out = Some(value),
                "--set" => {
                    let (key, value) = value.split_once('=').expect("KEY=VALUE, such as MEDIA__RELAY=yes");
                    options.set.push((key.to_owned(), value.to_owned()));
                }
                other => panic!("{other} is not known: --rounds, --calls, --set, --out"),
            }
        }
        options
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

fn main() {
    let options = Options::read();
    let settings: Vec<(&str, &str)> = options.set.iter().map(|(k, v)| (&**k, &**v)).collect();
    for fate in [Fate::Killed, Fate::Hangs] {
        let mut cluster = Cluster::with(3, &settings);
        let gaps: Vec<Gap> = (0..options.rounds)
            .flat_map(|round| failed_once(&mut cluster, fate, round, options.calls))
            .collect();
        tell(fate, &gaps, &options);
    }
}

fn failed_once(cluster: &mut Cluster, fate: Fate, round: usize, calls: usize) -> Vec<Gap> {
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
    match fate {
        Fate::Killed => cluster.recorders[0].kill(),
        Fate::Hangs => cluster.recorders[0].signal(Signal::SIGSTOP),
    }
    let report = caller.finish();
    report.expect_all_ok(fate.name());
    match fate {
        Fate::Killed => cluster.recorders[0].restart(),
        Fate::Hangs => cluster.recorders[0].signal(Signal::SIGCONT),
    }
    let gaps = report.calls.iter().filter_map(|call| gap(cluster, call, failed_at)).collect();
    cluster.wait_until_ready();
    gaps
}

/// None where it was at another record server.
fn gap(cluster: &Cluster, call: &CallReport, failed_at: WallTime) -> Option<Gap> {
    let count = cluster.of(&call.sip_call_id).len();
    let segments: Vec<Segment> =
        cluster.sealed(&call.sip_call_id, count).into_iter().map(|(_, segment)| segment).collect();
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

fn tell(fate: Fate, gaps: &[Gap], options: &Options) {
    let figures = |of: fn(&Gap) -> f64| {
        let mut all: Vec<f64> = gaps.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        (all.get(all.len() / 2).copied().unwrap_or(f64::NAN), all.last().copied().unwrap_or(f64::NAN))
    };
    let (next, next_worst) = figures(|gap| gap.until_next);
    let (missing, missing_worst) = figures(|gap| gap.missing);
    println!(
        "a record server {:<19} {:>3} calls: next one records after {next:.0} ms (worst {next_worst:.0}); \
         missing {missing:.0} ms (worst {missing_worst:.0})",
        fate.name(),
        gaps.len(),
    );
    if let Some(path) = &options.out {
        use std::io::Write as _;
        let line = json!({
            "bench": "failover", "fate": fate.name(), "set": options.set, "calls": gaps.len(),
            "next_ms": next, "next_worst_ms": next_worst,
            "missing_ms": missing, "missing_worst_ms": missing_worst,
        });
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

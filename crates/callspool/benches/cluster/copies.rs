//! What two copies cost: processor time of the proxy and of three record servers together, for the same calls straight to a
//! record server, through the proxy, and through it to two record servers at once.

use std::time::Duration;

use serde_json::json;

use crate::Options;
use crate::fault_support::caller::Caller;
use crate::fault_support::cluster::Cluster;
use crate::figures::Figures;
use crate::support::{PATIENCE, wait_until};

const CALLS: usize = 60;
/// Second copies are ordered when the first are there.
const SETTLED: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(15);
const WAYS: [(&str, &str, &str); 3] = [
    ("straight", "no", "1"),
    ("through the proxy", "yes", "1"),
    ("through the proxy, two copies", "yes", "2"),
];

pub(crate) fn measure(options: &Options, figures: &Figures) {
    let calls = options.calls.unwrap_or(CALLS);
    for (way, relay, copies) in WAYS {
        // More than a test has: of the proxy too.
        let ports = [("MEDIA__PORT_MIN", "33000"), ("MEDIA__PORT_MAX", "59999")];
        let ways = [("MEDIA__RELAY", relay), ("MEDIA__COPIES", copies)];
        let settings = options.settings(&[ports, ways].concat());
        let cluster = Cluster::with(3, &settings);
        let count = calls.to_string();
        let caller = Caller::start(
            &cluster.proxy,
            "copied",
            &["--calls", &count, "--rate", "100/s", "--siprec", "--duration", "20s"],
        );
        wait_until("calls to be up", PATIENCE, || {
            let status = cluster.proxy.callspool(&["status"]).text().to_owned();
            if status.contains(&format!("recording: {calls} calls")) { Ok(()) } else { Err(status) }
        });
        std::thread::sleep(SETTLED);
        let nodes = || std::iter::once(&cluster.proxy).chain(&cluster.recorders);
        let before: Vec<f64> = nodes().map(|node| processor_ms(node.id())).collect();
        std::thread::sleep(MEASURED);
        let spent: Vec<f64> =
            nodes().zip(before).map(|(node, before)| processor_ms(node.id()) - before).collect();
        caller.finish().expect_all_ok(way);
        // Two streams each, of fifty packets a second.
        let packets = calls as f64 * 2.0 * 50.0 * MEASURED.as_secs_f64();
        let (proxy, recorders) = (spent[0] * 1e3 / packets, spent[1..].iter().sum::<f64>() * 1e3 / packets);
        figures.tell(
            "copies",
            &format!(
                "{way:<30} {calls} calls: {:.1} µs of processor for each packet (proxy {proxy:.1}, record servers {recorders:.1})",
                proxy + recorders
            ),
            json!({ "way": way, "calls": calls, "proxy_us": proxy, "recorders_us": recorders }),
        );
    }
}

/// User and system time of a process, in steps of 10 ms (fields 14 and 15 of proc(5)).
fn processor_ms(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap() * 10.0).sum()
}

//! How fast segments come together: calls whose record server was killed in their middle, so that each has a segment at two;
//! then all are gathered at once (`callspool gather --all`), without the limit of `gathering.rate`. Once with many short
//! calls, once with few long ones. Copies are read, digested, made durable and noted in the log of each call, then given up
//! at the other record server; all of that is on one disk here.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::Options;
use crate::fault_support::caller::Caller;
use crate::fault_support::cluster::Cluster;
use crate::figures::Figures;
use crate::support::{PATIENCE, wait_until};

/// Nothing is gathered before it is asked for; what is fetched is as fast as it can be.
const SETTINGS: [(&str, &str); 5] = [
    ("GATHERING__RATE", "4GiB"),
    ("GATHERING__IN_FLIGHT", "64MiB"),
    ("MEDIA__PORT_MIN", "33000"),
    ("MEDIA__PORT_MAX", "59999"),
    ("GATHERING__WINDOW", ""),
];

pub(crate) fn measure(options: &Options, figures: &Figures) {
    for (what, calls, duration) in
        [("short calls", options.calls.unwrap_or(300), "10s"), ("long calls", 60, "60s")]
    {
        let window = never_now();
        let mut settings = SETTINGS;
        settings[4].1 = &window;
        let mut cluster = Cluster::gathering(2, &options.settings(&settings));
        let count = calls.to_string();
        let arguments = ["--calls", &count, "--rate", "100/s", "--siprec", "--duration", duration];
        let caller = Caller::start(&cluster.proxy, "scattered", &arguments);
        wait_until("calls to be up", PATIENCE, || {
            let up = cluster.at(0).len() + cluster.at(1).len();
            if up == calls { Ok(()) } else { Err(format!("{up} of {calls}")) }
        });
        wait_until("something to be moved", PATIENCE * 2, || {
            // What is fetched is what the one that is killed has: most of the call is to lie there.
            let lies = octets(&cluster.repository(0));
            let enough = if duration == "60s" { 20_000_000 } else { 4_000_000 };
            if lies > enough { Ok(()) } else { Err(format!("{lies} octets")) }
        });
        cluster.recorders[0].kill();
        caller.finish_within(PATIENCE * 4).expect_all_ok("calls of two record servers");
        cluster.recorders[0].restart();
        cluster.wait_until_ready();
        let (moved, scattered) = (octets(&cluster.repository(0)), cluster.at(0).len());
        let began = Instant::now();
        let done = cluster.recorders[1].callspool(&["gather", "--all"]);
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
        let (megabytes, rate) = (moved as f64 / 1e6, moved as f64 / 1e6 / seconds);
        let per_second = scattered as f64 / seconds;
        figures.tell(
            "gathering",
            &format!(
                "{what}: {scattered} calls, {megabytes:.1} MB in {seconds:.2} s: {per_second:.0} calls/s, {rate:.1} MB/s"
            ),
            json!({ "what": what, "calls": scattered, "megabytes": megabytes, "seconds": seconds,
                    "calls_per_s": per_second, "megabytes_per_s": rate }),
        );
    }
}

/// An hour in which this does not run.
fn never_now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hour = (seconds / 3_600 + 12) % 24;
    format!("{hour:02}:00-{hour:02}:30")
}

/// Of all files below.
fn octets(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => octets(&entry.path()),
        _ => entry.metadata().map_or(0, |file| file.len()),
    };
    entries.map(of).sum()
}

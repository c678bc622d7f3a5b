//! What the whole process costs: CPU for each recorded packet, INVITE to 200, memory for each call; what it costs
//! to listen.
//!
//! ```text
//!  cargo bench -p callspool --bench load -- [--only PART,…] [--calls 500,1000] [--rates 100,500]
//!                                           [--sources sockets,io_uring,packet_ring] [--rtcp own|mux] [--running 200]
//!                                           [--srtp AES_CM_128_HMAC_SHA1_80] [--repeats 3] [--seconds 4]
//!                                           [--set KEY=VALUE] [--out FILE]
//!  parts: signalling invites pressure (setup catalog overload) packets exports long
//!
//!  core 0: callspool serve (fresh for each row), a second one whose media are protected (--srtp), and the bare
//!          receiver, one after the other
//!  core 1: this process: calls over SIP, then RTP by sendmmsg
//! ```
//!
//! Absolute figures of a machine say little, so each is taken beside a receiver that does nothing, in the same run,
//! turn and turn about. docs/benchmarks.md tells the method and keeps the figures. It never measures a `callspool`
//! that somebody else started.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bare;
mod exports;
mod invites;
mod machine;
mod options;
mod packets;
mod pressure;
mod procfs;
mod recordings;
mod report;
mod server;
mod signalling;
// What `callspool bench` measures by: the same calls, the same packets.
#[path = "../../src/bench/figures.rs"]
#[allow(dead_code, unused_imports)]
mod figures;
#[path = "../../src/bench/traffic/mod.rs"]
#[allow(dead_code, unused_imports)]
mod traffic;

// The signalling task's own sockets and driver: a binary has no library to link.
#[path = "../../src/clock.rs"]
#[allow(dead_code, unused_imports)]
mod clock;
#[path = "../../src/net/mod.rs"]
#[allow(dead_code, unused_imports)]
mod net;

use std::process::ExitCode;

use options::Options;
use pressure::Pressure;
use report::Report;

/// What can go wrong is told to the person who measures, and ends the run.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, asked @ ..] = arguments.as_slice()
        && first == bare::ARGUMENT
    {
        return bare::serve(asked);
    }
    let options = Options::read(&arguments)?;
    machine::raise_descriptor_limit();
    machine::pin_to(machine::SENDER_CORE);
    server::go_by(&options.set);
    let mut report = Report::begin(&options)?;
    if options.wants("signalling") {
        for rate in signalling::RATES {
            report.signalled(&signalling::measure(rate)?)?;
        }
    }
    if options.wants("invites") {
        for rate in &options.rates {
            report.invites(&invites::measure(*rate, options.invite_seconds)?)?;
        }
    }
    for pressure in [Pressure::SETUP, Pressure::CATALOG] {
        if options.wants(pressure.name) {
            report.pressed(&pressure::measure(pressure, &options)?)?;
        }
    }
    if options.wants("overload") {
        let sustained = pressure::sustained(&mut report, &options)?;
        report.pressed(&pressure::measure(Pressure::overload(sustained), &options)?)?;
    }
    if options.wants("packets") {
        for calls in &options.calls {
            for source in &options.sources {
                for found in packets::measure(*calls, *source, &options)? {
                    report.packets(&found)?;
                }
            }
        }
    }
    if options.wants("exports") {
        report.exports(&exports::measure()?)?;
    }
    if options.wants("long") {
        report.listened(&exports::measure_long()?)?;
    }
    report.end();
    Ok(())
}

//! callspool: one binary that records calls.

mod addresses;
mod alarms;
mod anchoring;
mod arenas;
mod audio;
mod backup;
mod bench;
mod caller;
mod catalog;
mod certificates;
mod cli;
mod clock;
mod cluster;
mod config;
mod control;
mod descriptors;
mod desk;
mod dtls;
mod dumps;
mod elsewhere;
mod front;
mod gathering;
mod http;
mod joins;
mod listen;
mod live_calls;
mod logging;
mod metrics;
mod net;
mod notes;
mod operate;
mod page;
mod password;
mod patience;
mod pending;
mod priority;
mod private_text;
mod privilege;
mod programs;
mod pulse;
mod readiness;
mod recorder;
mod reindex;
mod reload;
mod repository;
mod serve;
mod servers;
mod startup;
mod supervise;
mod token;
mod trunks;
mod users;
mod volumes;
mod webhook;
mod whole;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything speaks TLS: with two providers linked in, rustls would not know which to take. That one is
    // there already is no failure.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main()
}

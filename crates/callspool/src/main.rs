//! callspool: one binary that records calls.

mod alarms;
mod audio;
mod backup;
mod caller;
mod catalog;
mod cli;
mod clock;
mod config;
mod control;
mod descriptors;
mod faults;
mod front;
mod logging;
mod net;
mod operate;
mod page;
mod priority;
mod privilege;
mod pulse;
mod recorder;
mod reindex;
mod reload;
mod repository;
mod serve;
mod startup;
mod supervise;
mod token;
mod volumes;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

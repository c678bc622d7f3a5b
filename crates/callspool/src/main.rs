//! callspool: one binary that records calls.

mod audio;
mod caller;
mod catalog;
mod cli;
mod clock;
mod config;
mod descriptors;
mod front;
mod logging;
mod net;
mod page;
mod priority;
mod privilege;
mod pulse;
mod recorder;
mod reindex;
mod repository;
mod serve;
mod startup;
mod supervise;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

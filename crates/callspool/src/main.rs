//! callspool: one binary that records calls.

mod caller;
mod cli;
mod clock;
mod config;
mod logging;
mod net;
mod reindex;
mod repository;
mod token;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

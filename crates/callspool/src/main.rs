//! callspool: one binary that records calls.

mod config;

fn main() {}

//! What becomes of SIPREC metadata in a call: parties, sides, key-values, states, requests for more; and that nothing
//! in them ever costs a recording.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test tells what is wrong by panicking")]

mod awareness;
mod client;
mod clients;
mod mutations;
mod over_time;

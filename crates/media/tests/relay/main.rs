//! Relay, from outside: what comes, what goes out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod digits;
mod ladders;
mod lives;
mod protected;
mod replays;
mod reports;
mod world;

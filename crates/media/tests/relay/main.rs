//! Relay, from outside: what comes, what goes out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ladders;
mod lives;
mod protected;
mod replays;
mod world;

//! Links over real sockets on loopback, with certificates that are made for each test.
//!
//! Both ends are in the test's hands: what one says is waited for at the other. Where an end has to misbehave, it is a
//! bare one ([`bare`]) that speaks HTTP/2 over TLS and nothing of ours. Nothing here measures time; what does not come
//! within [`PATIENCE`](nodes) fails the test.

#![cfg(test)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod bare;
mod copies;
mod hostile;
mod limits;
mod nodes;
mod strangers;
mod talking;
mod versions;

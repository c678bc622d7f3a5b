//! Traffic to measure by: calls over SIP and their media, as cheap as can be, and exact about what was sent.
//!
//! It is not the test caller of `callspool call`, which can do much and whose own work would stand in the figures:
//! here all calls are alike. `./dev bench` uses the same.
//!
//! ```text
//!  Client ── INVITE, ACK, BYE, by one socket ──►  recorder
//!  Senders ── threads of a Generator each: RTP by sendmmsg ──►
//! ```
//!
//! It sends to nobody but who it was told, and to where that one's answers say.

mod body;
mod client;
pub(crate) mod generator;
mod protection;
mod senders;
mod spread;

pub(crate) use body::{Kind, Offer};
pub(crate) use client::{Client, Lines};
pub(crate) use generator::Sent;
pub(crate) use protection::Protection;
pub(crate) use senders::Senders;
pub(crate) use spread::Spread;

/// The wall clock in nanoseconds, as the kernel's time stamps have it.
fn now_ns() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

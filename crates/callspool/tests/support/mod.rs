//! What the end-to-end tests share: a server of their own, real SIP programs, media, and how recordings are looked at.
//!
//! Everything that is started here is ended by its id when its value goes; every wait has a deadline. Nothing
//! here knows how callspool works inside: it is used as an operator uses it, and its files are read by others'
//! programs where there are such.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a test are small")]

pub mod audio;
pub mod authority;
pub mod baresip;
pub mod browser;
pub mod calls;
pub mod dtls;
/// Flows of recording clients, which the tests of what is decided play too.
#[path = "../../../call/tests/world/flow.rs"]
pub mod flow;
pub mod holders;
pub mod http;
pub mod lan;
pub mod listener;
pub mod messages;
pub mod party;
pub mod ports;
pub mod program;
pub mod receiver;
pub mod recording;
pub mod remote;
pub mod rtp;
pub mod secrets;
pub mod secured;
pub mod server;
pub mod sipp;
pub mod stun;
pub mod talker;
pub mod uac;

use std::time::{Duration, Instant};

/// Nothing on one machine takes this long; a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something to see; fails with what was seen last.
pub fn wait_until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + patience;
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(last) if Instant::now() >= end => {
                panic!("waited {patience:?} for {what}, and it did not come; seen last: {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

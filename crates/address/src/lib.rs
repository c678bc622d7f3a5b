//! Service addresses: an IP address at which clients find the proxy, whichever of several nodes that is at the moment.
//!
//! ```text
//!              standing of the proxy, link of the interface
//!                               │
//!   VRRP of the others ──► Machine ──► advertise, hold, let go, announce
//!   (multicast or peers)   (pure)            │
//!                                       Keeper, a thread ──► Hands, a thread with the powers ──► the kernel
//! ```
//!
//! Nodes hear of each other by VRRP version 3 (RFC 9568): whoever holds an address says so several times a second,
//! and the best of the others takes it when nothing is heard any more. An address is given to the kernel for three
//! seconds at a time, so that it goes by itself when the process that holds it is killed or hangs.
//!
//! It knows nothing of SIP, calls or media, and never decides whether a proxy is well: it is told.
//! [`machine`], [`advert`] and [`announcement`] are without I/O.

pub mod advert;
pub mod announcement;
mod ears;
mod hands;
mod interface;
mod keeper;
mod kernel;
pub mod machine;
mod settings;
mod view;

pub use hands::{Hands, Worker, hands};
pub use keeper::{Asked, Ended, Keeper, Told, Trouble};
pub use machine::INTERVAL_MAX;
pub use settings::{INTERVAL_MIN, PRIORITY_MAX, PRIORITY_MIN, Service};
pub use view::{Counts, Happened, Holder, Shown, View};

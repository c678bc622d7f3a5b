//! Rings that the kernel and this process share, behind a safe interface.
//!
//! [`Multishot`] has io_uring receive datagrams of many UDP sockets into buffers that are lent to it. A thread takes what
//! has come without a system call for each socket. [`Sending`] has it send by many sockets at once. Each is made as
//! [`Prepared`], and belongs to the thread that begins with it. [`PacketRing`] has the kernel put IP packets for a range of
//! UDP ports into a ring, whichever socket they are for, and reads the datagrams in them. Nothing here knows what one is for.
//! [`fetch`] asks for memory before it is needed.
//!
//! This is the only crate of the house with `unsafe`. Each such block says why it is sound; what they rest on together:
//!
//! - Memory that the kernel may write to is a `Mapping`: its address never changes, and it is given
//!   back only after the kernel has let go of it.
//! - Of such memory there is a Rust reference only between the moment when the kernel hands a piece over and the moment
//!   when it is lent again, and never to anything that the kernel may write meanwhile.
//! - No length, index or offset that the kernel wrote is believed before it is compared with what was asked for.

mod fetch;
mod filter;
mod ip;
mod mapping;
mod message;
mod multishot;
mod packet;
mod prepared;
mod sending;

pub use fetch::fetch;
pub use message::Received;
pub use multishot::{Multishot, Taken};
pub use packet::{Counts, Foretold, PacketRing, Ports, Sent};
pub use prepared::Prepared;
pub use sending::{Passed, Sending};

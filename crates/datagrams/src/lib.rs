//! Reads what has come to UDP sockets, many datagrams by one system call, with the time at which the kernel had each.
//!
//! [`Batch`] reads one socket; [`Polled`] reads as many as there are, those that have something. The buffers are a thread's
//! own and used again and again: nothing is allocated for a datagram. Neither sets an option of a socket, nor knows what a
//! datagram holds. Who wants the kernel's times sets `SO_TIMESTAMPNS` ([`Datagram::at`]).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod batch;
mod polled;

pub use batch::{BATCH, Batch, DATAGRAM_MAX, Datagram, Expected, FIRST, Left, Taken};
pub use polled::{Coming, Polled, Prepared};

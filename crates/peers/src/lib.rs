//! Links between nodes: a proxy gives a record server orders by one, and hears from it how it is and what it reports.
//!
//! ```text
//!  proxy                                                        record server
//!  Dialer ── POST /peer/v1/link, HTTP/2 over mutual TLS 1.3 ──► Listener
//!     order, probe ─────────── body of the request ──────────►
//!     ◄─────────────────────── body of the answer ──────────── hello, beat, report, probed
//! ```
//!
//! One exchange for each pair lasts as long as both are there. Both bodies are streams of [messages](Frames): a length
//! and JSON. [`Dialer`] makes links and makes them again, [`Listener`] takes them; nobody who sends by one ever waits.
//! What an order means, when a peer is taken for gone and what is done then is decided elsewhere (`call`): here it is
//! only known who is at the other end, and what was said in which order.
//!
//! Record servers ask each other too, for what they hold of a call: each question is an exchange of its own
//! (`POST /peer/v1/copies`), by a connection on which no link is. [`Asker`] asks, a [`Listener`] passes what is asked on
//! to whoever answers ([`Inquiries`]).
//!
//! It knows no SIP, no call, no media and no file but the three that [`Credentials`] are read from. What an order says
//! of keys is written to the link and nowhere else.

mod asker;
pub mod authority;
mod body;
mod buffer;
mod counts;
mod credentials;
mod dialer;
mod frames;
mod listener;
mod messages;
mod queue;
mod reach;
mod roster;
mod socket;
mod tasks;
mod trouble;
mod version;
mod wire;

pub use asker::{Asker, Away, PeerStands, Questions, Told};
pub use counts::ListenerCounts;
pub use credentials::{Credentials, CredentialsError};
pub use dialer::{Dialer, DialerCounts, Heard};
pub use frames::{BadLength, Frames, MESSAGE_MAX};
pub use listener::{Came, Inquiries, Inquiry, Limits, Link, LinkId, Listener};
pub use queue::NotSent;
pub use roster::Roster;
pub use wire::{FromServer, ToServer, Unreadable};

/// What a link is asked for by. The number is that of this way to ask, not of the protocol that is spoken then.
const PATH: &str = "/peer/v1/link";
/// What copies are asked for by.
const COPIES_PATH: &str = "/peer/v1/copies";

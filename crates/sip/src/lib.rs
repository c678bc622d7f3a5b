//! SIP for callspool: what the network says, made into sessions and events.
//!
//! [`Agent`] is the whole of it: a machine without I/O that holds transactions (RFC 3261 section 17, RFC 6026;
//! the machines of `sipx-sip`), dialogs (section 12) and INVITE sessions (sections 13 to 15), on both sides.
//! The driver feeds it datagrams, messages, closed flows and time, and drains transmits and events after each
//! input:
//!
//! ```text
//! sockets ─► receive_datagram / receive_message ─┐            ┌─► poll_transmit ─► sockets
//! timers  ─► handle_timeout (at next_timeout) ───┤   Agent    │
//! calls   ─► accept, refuse, reinvite, bye, … ───┘            └─► poll_event ────► calls
//! ```
//!
//! This crate knows no media (SDP is bytes to it), no calls, no sockets; it reads no clock and draws no
//! randomness: time is an argument, tokens come from the seed. No input can make it panic, and every table has
//! a limit.

mod agent;
pub mod auth;
mod core;
mod dialog;
mod endpoint;
mod event;
mod flow;
pub mod framing;
mod gate;
mod head;
mod key;
pub mod locate;
mod message;
pub mod multipart;
mod names;
mod portrait;
mod request;
mod session;
pub mod siprec;
mod timers;
mod token;

pub use agent::Agent;
pub use event::{AgentConfig, AgentStats, Body, EndCause, Event, NoSuchSession, Outgoing, SessionId};
pub use flow::{Destination, Flow, FlowId, HostId, Transmit, Transport};
pub use framing::{Framer, FramingError};
pub use gate::{Admission, Gate, GateRequest, OpenGate, Pass};
pub use head::Head;
pub use names::Query;
pub use portrait::Portrait;
pub use request::{AddressView, Part, ReasonView, RequestInfo};
pub use siprec::{MetadataError, RecordingMetadata};
pub use sipx_sip::Message;

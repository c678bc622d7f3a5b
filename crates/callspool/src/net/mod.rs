//! The SIP sockets: UDP ports and connections by TCP, TLS and WebSocket under one owner.
//!
//! [`SipSockets`] turns datagrams and byte streams into whole messages with the [`sip::Flow`] that they came
//! on, and sends what a `sip::Agent` wants sent. [`SipDriver`] joins the two: inputs, time-outs and
//! transmits of an agent in one owner task.
//!
//! ```text
//!  UDP ports ──────────────── polled by the owner ─┐
//!  listener (task each) ────── accepted ──────────►│ SipSockets::select ─► NetEvent ─► SipDriver::apply
//!  connection (task each) ──── messages, closed ──►│ SipSockets::send  ◄─ Transmit ◄──┘
//!    handshake of TLS, upgrade to WebSocket, then a stream or frames
//! ```
//!
//! A flow is (local, remote, transport, connection): a client is reached over the connection that it
//! opened, whatever its Contact says. `send` never waits: a UDP datagram that does not fit waits in a short
//! queue or is dropped and counted (SIP retransmits), a connection whose queue is full is closed. Requests
//! over the rate of their source are refused by their lines alone, and a connection that floods is closed. A
//! peer that trickles, floods, never reads or sends what is no SIP costs itself its connection and nobody
//! else anything; what is not SIP gets no answer.
//!
//! Never here: anything of transactions and dialogs; names are only what a TLS server must prove to have.

mod alarm;
mod config;
mod connection;
mod connections;
mod drive;
mod flows;
mod hosts;
mod listener;
mod rates;
mod refused;
mod resolver;
mod sockets;
mod source;
mod stream;
mod tally;
mod tls;
mod told;
mod udp;
mod websocket;

pub(crate) use alarm::Alarm;
pub(crate) use config::{NetConfig, NetLimits};
pub(crate) use drive::{DriverInput, SipDriver, Unread};
pub(crate) use rates::{Rate, Rates};
pub(crate) use resolver::Resolver;
#[cfg(test)]
#[allow(unused_imports, reason = "named by the tests beside src, which take this module in")]
pub(crate) use sockets::NetEvent;
pub(crate) use sockets::{BindError, NetStats, SipSockets};
pub(crate) use source::Source;
pub(crate) use tally::SipTally;
pub(crate) use tls::{Certificates, ClientAuth, Stamp, TlsError, TlsFiles, TlsVersion};
pub(crate) use udp::local_towards;

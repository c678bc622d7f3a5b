//! `callspool call`: a recording client in the binary, to try a recorder, to test it, and to load it.
//!
//! It calls as a phone system does, plain or by SIPREC, sends speech, tones or WAV files as G.711, holds,
//! resumes, hangs up or breaks off, and loses, doubles and swaps packets on purpose. What it reports is exact
//! to the packet, so that a recorder's accounting can be held against it.
//!
//! ```text
//!  run (owner) ── Call::handle ──► what to do ──► SipDriver (INVITE, re-INVITE, BYE)
//!      ▲                                    └───► Sender: one thread with a schedule for all media
//!      └──────────── answers, "paused", "finished with these counts" ◄──┘
//! ```
//!
//! It shares with the recorder what has no side (`sip`, `media`, `net`), and nothing that records.

mod args;
mod call;
mod invite;
mod moves;
mod plan;
mod ports;
mod report;
mod run;
mod sdp;
mod sender;
mod stream;
pub(crate) mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod voice;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use sip::{Agent, AgentConfig, Destination, Transport};
use tokio::sync::mpsc;

pub(crate) use args::run;

use self::plan::{CallPlan, Target};
use self::report::Summary;
use self::run::{Caller, Format};
use self::voice::{Voice, VoiceError};
use crate::net::{BindError, Certificates, NetConfig, SipDriver, SipSockets, TlsError};

/// Why no call could be made at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallerError {
    /// What was to be said cannot be had.
    #[error(transparent)]
    Voice(#[from] VoiceError),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no socket for the signalling.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no thread for the media, no entropy, or the report cannot be written.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Makes the calls of a plan and writes their reports. A message on `interrupts` ends them early.
pub(crate) async fn make_calls(
    plan: CallPlan,
    interrupts: mpsc::Receiver<()>,
    out: &mut dyn Write,
    format: Format,
) -> Result<Summary, CallerError> {
    let voices: Result<Vec<Arc<Voice>>, VoiceError> =
        plan.voices.iter().map(|v| Voice::load(v, plan.law).map(Arc::new)).collect();
    let (voices, (driver, destination)) = (voices?, driver(&plan)?);
    crate::descriptors::raise_limit();
    Ok(Caller::new(plan, voices, driver, destination, interrupts, out, format)?.run().await?)
}

/// An agent on ports of its own, UDP and TCP to be called back on, and where it calls to. Over TLS and WebSocket it
/// is called back over the connection that it opened.
fn driver(plan: &CallPlan) -> Result<(SipDriver, Destination), CallerError> {
    let any = SocketAddr::new(plan.local, 0);
    let Target { transport, remote, host, .. } = &plan.target;
    let (transport, remote) = (*transport, *remote);
    let certificates = match transport.is_secure() {
        true => Some(Arc::new(Certificates::load(plan.tls.clone())?)),
        false => None,
    };
    let config = NetConfig { udp: vec![any], tcp: vec![any], certificates, ..NetConfig::default() };
    let mut sockets = SipSockets::bind(&config)?;
    let destination = match transport {
        Transport::Udp | Transport::Tcp => Destination::Address { transport, remote },
        _ => Destination::Named { transport, remote, host: sockets.host(host) },
    };
    let udp = sockets.udp_addresses().into_iter().map(|a| (Transport::Udp, a));
    let of_tcp = sockets.addresses(Transport::Tcp);
    let tcp = of_tcp.into_iter().flat_map(|a| {
        [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss].map(|transport| (transport, a))
    });
    let config = AgentConfig {
        user_agent: concat!("callspool-call/", env!("CARGO_PKG_VERSION")).into(),
        advertised: udp.chain(tcp).collect(),
        // A SIPREC INVITE is longer than 1,300 bytes; who asks for UDP gets UDP.
        force_udp: plan.target.transport == Transport::Udp,
        ..AgentConfig::default()
    };
    Ok((SipDriver::new(Agent::new(config, seed()?), sockets), destination))
}

/// 32 octets from the system.
fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(std::io::Error::other)?;
    Ok(seed)
}

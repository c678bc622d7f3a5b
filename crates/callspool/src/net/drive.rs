//! A `sip::Agent` and its sockets in one owner task.
//!
//! ```text
//! loop {
//!     let input = tokio::select! { input = driver.select() => Some(input), order = orders.recv() => … };
//!     driver.apply(input);                            // or driver.with(|agent, now| agent.accept(now, …))
//!     while let Some(event) = driver.poll_event() { … }
//! }
//! ```
//!
//! `select` only chooses and may be dropped at any time; `apply` and `with` only change, and after each of
//! them everything that the agent wants sent has been sent.

use std::time::Duration;

use model::Now;
use sip::{Agent, Destination, Event};

use super::sockets::{NetEvent, SipSockets};
use crate::clock;

/// What moves the agent.
#[derive(Debug)]
pub(crate) enum DriverInput {
    /// Something came.
    Net(NetEvent),
    /// One of its timers is due.
    Timeout,
}

/// The agent and its sockets.
pub(crate) struct SipDriver {
    agent: Agent,
    sockets: SipSockets,
}

impl SipDriver {
    /// Joins the two.
    pub(crate) fn new(agent: Agent, sockets: SipSockets) -> Self {
        Self { agent, sockets }
    }

    /// Waits for the next input. Timers that are due go before what has come, so that a flood delays none.
    pub(crate) async fn select(&mut self) -> DriverInput {
        let timer = self.agent.next_timeout();
        let timeout = async {
            match timer {
                Some(at) => tokio::time::sleep_until(clock::instant(at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = timeout => DriverInput::Timeout,
            event = self.sockets.select() => DriverInput::Net(event),
        }
    }

    /// Gives the agent an input and sends what follows.
    pub(crate) fn apply(&mut self, input: DriverInput) {
        self.with(|agent, now| match input {
            DriverInput::Timeout => agent.handle_timeout(now),
            DriverInput::Net(NetEvent::Datagram { flow, bytes }) => agent.receive_datagram(now, flow, bytes),
            DriverInput::Net(NetEvent::Message { flow, message }) => {
                agent.receive_message(now, flow, *message);
            }
            DriverInput::Net(NetEvent::FlowClosed { flow, dialed }) => {
                agent.flow_closed(now, flow);
                if let Some((transport, remote)) = dialed {
                    agent.unreachable(now, Destination::Address { transport, remote });
                }
            }
            DriverInput::Net(NetEvent::Authenticated { flow, peer_names }) => {
                agent.flow_authenticated(flow, peer_names);
            }
            DriverInput::Net(NetEvent::Unreachable { to }) => agent.unreachable(now, to),
        });
    }

    /// Does something to the agent and sends what follows.
    pub(crate) fn with<R>(&mut self, change: impl FnOnce(&mut Agent, Now) -> R) -> R {
        let result = change(&mut self.agent, clock::now());
        while let Some(transmit) = self.agent.poll_transmit() {
            self.sockets.send(transmit);
        }
        result
    }

    /// What the agent tells, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.agent.poll_event()
    }

    /// The agent, to look at.
    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Lets what is queued go out, for at most `limit`, then closes the sockets.
    pub(crate) async fn close(self, limit: Duration) {
        self.sockets.close(limit).await;
    }
}

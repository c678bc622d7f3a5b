//! What every session shares: configuration, tokens, the endpoint, the queue of events, and the answers that
//! need no session.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use model::Now;
use sipx_sip::{HeaderName, Message, Method, Request, Response};

use crate::endpoint::{Endpoint, Failed};
use crate::event::{AgentConfig, Event};
use crate::flow::{Destination, Flow, Transport};
use crate::message;
use crate::names::Names;
use crate::request::RequestInfo;
use crate::timers::TxId;
use crate::token::Tokens;

/// RFC 3261 section 18.1.1: what does not fit a datagram within 200 bytes of the path's MTU goes by TCP.
const DATAGRAM_BYTES_MAX: usize = 1300;

/// Counters beside those of the endpoint.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) keep_alives: u64,
    pub(crate) malformed: u64,
    pub(crate) refused: u64,
    pub(crate) refused_at_limit: u64,
    pub(crate) stray: u64,
}

pub(crate) struct Core {
    pub(crate) config: AgentConfig,
    pub(crate) tokens: Tokens,
    pub(crate) endpoint: Endpoint,
    pub(crate) events: VecDeque<Event>,
    pub(crate) counts: Counts,
    pub(crate) names: Names,
}

/// The way of a request: where to, and what Via says.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) to: Destination,
    pub(crate) transport: Transport,
    pub(crate) sent_by: SocketAddr,
}

impl Core {
    pub(crate) fn new(config: AgentConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            tokens: Tokens::new(seed),
            endpoint: Endpoint::default(),
            events: VecDeque::new(),
            counts: Counts::default(),
            names: Names::default(),
        }
    }

    /// A request as our user sees it.
    pub(crate) fn read(&self, request: &Request, flow: &Flow) -> Box<RequestInfo> {
        Box::new(RequestInfo::read(request, *flow, self.endpoint.peer_names(flow.id)))
    }

    /// Sends a request whose destination failed to the next address of the same name (RFC 3263 section 4.3), as
    /// a new transaction under the number of the old one.
    pub(crate) fn try_next(&mut self, now: Now, failed: &mut Failed) -> bool {
        let Some(mut request) = failed.request.take() else { return false };
        let Some(to) = self.names.next_after(now.mono, failed.to) else { return false };
        let Some((transport, remote)) = to.address() else { return false };
        let sent_by =
            self.advertised(transport, Some(remote)).unwrap_or_else(|| self.sent_by(transport, None));
        let via = self.via(&Way { to, transport, sent_by });
        message::set_via(&mut request.headers, via);
        self.endpoint.reopen_client(now.mono, failed.tx, to, transport, *request, failed.owner);
        true
    }

    /// The address that we name on this transport, towards a peer of this address family.
    pub(crate) fn advertised(&self, transport: Transport, peer: Option<SocketAddr>) -> Option<SocketAddr> {
        let of_transport = || self.config.advertised.iter().filter(|(t, _)| *t == transport).map(|(_, a)| *a);
        of_transport()
            .find(|address| peer.is_none_or(|peer| peer.is_ipv4() == address.is_ipv4()))
            .or_else(|| of_transport().next())
    }

    /// What Via and Contact name on a flow.
    pub(crate) fn sent_by(&self, transport: Transport, flow: Option<&Flow>) -> SocketAddr {
        self.advertised(transport, flow.map(|f| f.remote))
            .or_else(|| flow.map(|f| f.local))
            .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, transport.default_port())))
    }

    /// Our Contact, with what follows the URI.
    pub(crate) fn contact(
        &self,
        transport: Transport,
        flow: Option<&Flow>,
        scheme: &str,
        params: &str,
    ) -> String {
        let address = self.sent_by(transport, flow);
        message::contact(scheme, address, transport, params)
    }

    /// A fresh Via for this way.
    pub(crate) fn via(&mut self, way: &Way) -> String {
        let token = self.tokens.next();
        message::via(way.transport, way.sent_by, &token)
    }

    /// Answers without a transaction (RFC 3261 section 8.2.7): the same request always gets the same answer.
    pub(crate) fn refuse(
        &mut self,
        flow: &Flow,
        request: &Request,
        status: u16,
        reason: &str,
        extra: &[(HeaderName, String)],
    ) {
        self.counts.refused += u64::from(status >= 300);
        self.reply(flow, request, status, reason, |response| {
            for (name, value) in extra {
                message::push(&mut response.headers, name.clone(), value.clone());
            }
        });
    }

    /// As `refuse`, for any answer.
    pub(crate) fn reply(
        &mut self,
        flow: &Flow,
        request: &Request,
        status: u16,
        reason: &str,
        fill: impl FnOnce(&mut Response),
    ) {
        if request.method == Method::Ack {
            return;
        }
        let (to, _) = message::response_route(request, flow);
        let slim = message::slim(request, flow);
        let via = message::own(&request.headers, &HeaderName::Via);
        let call_id = message::own(&request.headers, &HeaderName::CallId);
        let tag = self.tokens.derived(&[&via, &call_id]);
        let mut response = message::response(&slim, status, reason, Some(&tag));
        message::push(&mut response.headers, HeaderName::Server, self.config.user_agent.clone());
        fill(&mut response);
        message::end_response(&mut response, None);
        self.endpoint.send(to, message::to_bytes(&Message::Response(response)));
    }

    /// Answers through a server transaction. `fill` adds headers and body and must end the message.
    pub(crate) fn respond(
        &mut self,
        now: Now,
        tx: TxId,
        status: u16,
        reason: &str,
        tag: &str,
        fill: impl FnOnce(&Self, &Request, &mut Response),
    ) -> Option<Bytes> {
        let request = self.endpoint.request(tx)?;
        let tag = (status > 100).then_some(tag);
        let mut response = message::response(request, status, reason, tag);
        if status > 100 {
            message::push(&mut response.headers, HeaderName::Server, self.config.user_agent.clone());
        }
        fill(self, request, &mut response);
        if response.headers.get(&HeaderName::ContentLength).is_none() {
            message::end_response(&mut response, None);
        }
        self.endpoint.respond(now.mono, tx, response)
    }

    /// Moves a request that is too long for a datagram to TCP, where it may.
    pub(crate) fn fit(&self, way: Way, request: &Request) -> Way {
        let Some((Transport::Udp, remote)) = way.to.address() else { return way };
        let length = Message::Request(request.clone()).to_bytes().len();
        if self.config.force_udp || length <= DATAGRAM_BYTES_MAX {
            return way;
        }
        let transport = Transport::Tcp;
        let sent_by = self.advertised(transport, Some(remote)).unwrap_or(way.sent_by);
        let to = match way.to {
            Destination::Named { host, .. } => Destination::Named { transport, remote, host },
            _ => Destination::Address { transport, remote },
        };
        Way { to, transport, sent_by }
    }
}

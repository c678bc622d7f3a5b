//! A dialog (RFC 3261 section 12): who talks to whom, in which order, by which route.
//!
//! It holds header values in memory of their own, some hundred bytes in all, and never a message.

mod portrait;

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use sipx_sip::{HeaderName, Headers, Method, Request, Scheme, Uri};

use crate::core::{Core, Way};
use crate::flow::{Destination, Flow, Transport};
use crate::message;
use crate::names::Query;

/// Proxies between a client and us: more than some means a loop or an attack, and every request would carry it.
const ROUTES_MAX: usize = 16;

pub(crate) struct Dialog {
    pub(crate) call_id: Bytes,
    pub(crate) local_tag: String,
    pub(crate) remote_tag: Bytes,
    /// Our From in requests that we send.
    local: Bytes,
    /// Our To in requests that we send.
    remote: Bytes,
    pub(crate) local_cseq: u32,
    pub(crate) remote_cseq: Option<u32>,
    /// The remote target: what the peer's Contact says.
    target: Option<Uri>,
    routes: Vec<Bytes>,
    reach: Reach,
    /// Begun with a `sips` URI: our Contact is one too (RFC 3261 sections 8.1.1.8 and 12.1.1).
    is_sips: bool,
}

/// How the peer is reached.
#[derive(Clone, Copy)]
enum Reach {
    /// Nothing has come from it: where the first request went, and by what.
    Sent(Destination, Transport),
    /// The flow that it used last.
    Heard(Flow),
}

/// What a URI says of the next hop.
enum Hop {
    Address(Destination),
    Name(Query),
}

impl Dialog {
    /// As the server of an INVITE (section 12.1.1).
    pub(crate) fn of_request(request: &Request, local_tag: String, flow: Flow) -> Self {
        let headers = &request.headers;
        let mut local = message::own(headers, &HeaderName::To).to_vec();
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(local_tag.as_bytes());
        Self {
            call_id: message::own(headers, &HeaderName::CallId),
            remote_tag: message::header_tag(headers, &HeaderName::From).unwrap_or_default().into(),
            local: local.into(),
            remote: message::own(headers, &HeaderName::From),
            local_tag,
            local_cseq: 0,
            remote_cseq: message::cseq(headers),
            target: message::contact_uri(headers),
            routes: record_routes(headers).collect(),
            reach: Reach::Heard(flow),
            is_sips: matches!(request.uri.scheme(), Scheme::Sips),
        }
    }

    /// As the client of an INVITE that is about to be sent.
    pub(crate) fn outgoing(call_id: String, local: String, local_tag: String, to: &Uri, way: &Way) -> Self {
        Self {
            call_id: call_id.into(),
            local_tag,
            remote_tag: Bytes::new(),
            local: local.into(),
            remote: format!("<{}>", String::from_utf8_lossy(&to.to_bytes())).into(),
            local_cseq: 0,
            remote_cseq: None,
            target: Some(to.clone()),
            routes: Vec::new(),
            reach: Reach::Sent(way.to, way.transport),
            is_sips: matches!(to.scheme(), Scheme::Sips),
        }
    }

    /// As the client, when a 2xx came (section 12.1.2).
    pub(crate) fn establish(&mut self, headers: &Headers) {
        self.remote = message::own(headers, &HeaderName::To);
        self.remote_tag = message::header_tag(headers, &HeaderName::To).unwrap_or_default().into();
        let mut routes: Vec<Bytes> = record_routes(headers).collect();
        routes.reverse();
        self.routes = routes;
        self.retarget(headers);
    }

    /// The dialog of a second 2xx to the same INVITE (a proxy forked it).
    pub(crate) fn fork(&self, headers: &Headers) -> Self {
        let mut fork = Self {
            call_id: self.call_id.clone(),
            local_tag: self.local_tag.clone(),
            remote_tag: Bytes::new(),
            local: self.local.clone(),
            remote: Bytes::new(),
            local_cseq: self.local_cseq,
            remote_cseq: None,
            target: None,
            routes: Vec::new(),
            reach: self.reach,
            is_sips: self.is_sips,
        };
        fork.establish(headers);
        fork
    }

    /// Takes the peer's new Contact (section 12.2).
    pub(crate) fn retarget(&mut self, headers: &Headers) {
        if let Some(target) = message::contact_uri(headers) {
            self.target = Some(target);
        }
    }

    /// The peer was heard on this flow.
    pub(crate) fn heard(&mut self, flow: Flow) {
        self.reach = Reach::Heard(flow);
    }

    pub(crate) fn flow(&self) -> Option<&Flow> {
        match &self.reach {
            Reach::Heard(flow) => Some(flow),
            Reach::Sent(..) => None,
        }
    }

    /// Whether a request with these tags is of this dialog.
    pub(crate) fn is_of(&self, headers: &Headers) -> bool {
        let from_tag = message::header_tag(headers, &HeaderName::From).unwrap_or_default();
        message::own(headers, &HeaderName::CallId) == self.call_id
            && (from_tag == self.remote_tag || self.remote_tag.is_empty())
    }

    pub(crate) fn transport(&self) -> Transport {
        match &self.reach {
            Reach::Heard(flow) => flow.transport,
            Reach::Sent(_, transport) => *transport,
        }
    }

    /// The scheme of our Contact.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.is_sips { "sips" } else { "sip" }
    }

    /// Asks for the peer's name to be looked up, where it has one that a request of ours may have to go to.
    pub(crate) fn look_up(&self, core: &mut Core) {
        if let Reach::Heard(flow) = &self.reach
            && let Some(Hop::Name(query)) = self.next_hop(flow)
        {
            core.names.ask(query);
        }
    }

    /// Where the next request goes (section 12.2.1.1 with RFC 5626): over the connection that the peer uses,
    /// while it is open, whatever its Contact says; a client behind a NAT or a browser is reached no other way.
    /// Then, and for UDP, where route set and target lead.
    pub(crate) fn way(&self, core: &mut Core) -> Way {
        let (to, transport) = match &self.reach {
            Reach::Sent(to, transport) => (*to, *transport),
            Reach::Heard(flow) => self.way_back(core, flow),
        };
        Way { to, transport, sent_by: core.sent_by(transport, self.flow()) }
    }

    fn way_back(&self, core: &mut Core, flow: &Flow) -> (Destination, Transport) {
        let over_flow = (Destination::Flow(flow.id), flow.transport);
        let is_datagram = flow.transport == Transport::Udp;
        if flow.transport.is_websocket() || (!is_datagram && core.endpoint.is_open(flow)) {
            return over_flow;
        }
        let to = match self.next_hop(flow) {
            Some(Hop::Address(to)) => Some(to),
            // Not known yet, or leads nowhere: the next best is where the peer was heard.
            Some(Hop::Name(query)) => core.names.target(&query),
            None => None,
        };
        match to.and_then(|to| Some((to, to.address()?))) {
            Some((to, (transport, remote))) if !is_datagram || is_reachable(remote, flow) => (to, transport),
            _ if is_datagram && core.endpoint.is_open(flow) => over_flow,
            // Forgotten among too many others; where it led to is known.
            _ if is_datagram => {
                (Destination::Address { transport: flow.transport, remote: flow.remote }, flow.transport)
            }
            _ => {
                let remote = SocketAddr::new(flow.remote.ip(), flow.transport.default_port());
                (Destination::Address { transport: flow.transport, remote }, flow.transport)
            }
        }
    }

    /// The first route, else the target.
    fn next_hop(&self, flow: &Flow) -> Option<Hop> {
        let route = self.routes.first().and_then(|route| route_uri(route));
        let uri = route.as_ref().or(self.target.as_ref())?;
        let is_secure = matches!(uri.scheme(), Scheme::Sips);
        let named = uri.transport().and_then(Transport::of_token);
        let transport = match named {
            Some(Transport::Ws | Transport::Wss) => return None,
            Some(Transport::Tcp) if is_secure => Some(Transport::Tls),
            Some(named) => Some(named),
            None if is_secure => Some(Transport::Tls),
            None if flow.transport == Transport::Udp => None,
            None => Some(flow.transport),
        };
        let host = uri.host()?.to_bytes();
        let host = std::str::from_utf8(&host).ok()?;
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) => {
                let transport = transport.unwrap_or(Transport::Udp);
                let remote = SocketAddr::new(ip, uri.port().unwrap_or(transport.default_port()));
                Some(Hop::Address(Destination::Address { transport, remote }))
            }
            Err(_) => Query::new(host, uri.port(), transport).map(Hop::Name),
        }
    }

    /// A request within the dialog, without body and not ended. An ACK keeps the CSeq of its INVITE.
    pub(crate) fn request(
        &mut self,
        core: &mut Core,
        method: Method,
        way: &Way,
        ack_of: Option<u32>,
    ) -> Request {
        let cseq = ack_of.unwrap_or_else(|| {
            self.local_cseq += 1;
            self.local_cseq
        });
        let (uri, routes) = self.uri_and_routes();
        let mut request = Request::new(method, uri);
        let via = core.via(way);
        let headers = &mut request.headers;
        message::push(headers, HeaderName::Via, via);
        for route in routes {
            message::push(headers, HeaderName::Route, route);
        }
        message::push(headers, HeaderName::MaxForwards, "70");
        message::push(headers, HeaderName::From, self.local.clone());
        message::push(headers, HeaderName::To, self.remote.clone());
        message::push(headers, HeaderName::CallId, self.call_id.clone());
        message::push(headers, HeaderName::CSeq, format!("{cseq} {}", request.method));
        message::push(headers, HeaderName::UserAgent, core.config.user_agent.clone());
        request
    }

    /// Section 12.2.1.1: a loose route leaves the target in the Request-URI; a strict one takes its place.
    fn uri_and_routes(&self) -> (Uri, Vec<Bytes>) {
        let target =
            self.target.clone().unwrap_or_else(|| Uri::sip(sipx_sip::Host::Ip(IpAddr::from([0, 0, 0, 0]))));
        let first = self.routes.first().and_then(|route| route_uri(route));
        match first {
            Some(first) if !first.params().is_some_and(|params| params.contains("lr")) => {
                let mut routes: Vec<Bytes> = self.routes.iter().skip(1).cloned().collect();
                routes.push([b"<", target.to_bytes().as_ref(), b">"].concat().into());
                (first, routes)
            }
            _ => (target, self.routes.clone()),
        }
    }
}

/// Whether to send to what Contact or Route says instead of to where the peer's packets come from. A private
/// address behind a public one is a NAT's inside; the same address and port need no detour.
fn is_reachable(hop: SocketAddr, flow: &Flow) -> bool {
    hop != flow.remote && !hop.ip().is_unspecified() && (is_public(hop.ip()) || !is_public(flow.remote.ip()))
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

fn record_routes(headers: &Headers) -> impl Iterator<Item = Bytes> {
    headers
        .get_all(&HeaderName::RecordRoute)
        .flat_map(|header| {
            let value = header.value();
            message::split_outside_quotes(&value, b',')
                .into_iter()
                .map(|v| Bytes::copy_from_slice(v.trim_ascii()))
                .collect::<Vec<_>>()
        })
        .filter(|route| route_uri(route).is_some())
        .take(ROUTES_MAX)
}

fn route_uri(route: &[u8]) -> Option<Uri> {
    sipx_sip::Address::parse(route, "Route").ok().map(|address| address.uri)
}

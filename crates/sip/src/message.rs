//! Building and mending messages: the headers that a server owes, Via and where a response goes.
//!
//! Every value passes `Header::build`, which refuses line breaks: what cannot be a header is left out, it never
//! becomes two headers.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use sipx_sip::headers::via::first_hop_end;
use sipx_sip::{
    Address, Header, HeaderName, Headers, Message, Method, Request, Response, StatusCode, Uri, Via,
};

use crate::event::Body;
use crate::flow::{Destination, Flow, Transport};

/// The methods that we answer.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, MESSAGE, PRACK";
/// What a request may `Require` of us.
pub(crate) const UNDERSTOOD: [&str; 5] = ["timer", "siprec", "record-aware", "100rel", "privacy"];
/// What we say we support in answers: `100rel` as server only, for in a request it would ask for reliable
/// provisional responses (RFC 3262 section 4).
pub(crate) const CAPABLE: &str = "timer, siprec, 100rel";
/// What we say we support in requests.
pub(crate) const SUPPORTED: &str = "timer, siprec";
/// The bodies that we read.
pub(crate) const ACCEPT: &str =
    "application/sdp, application/rs-metadata+xml, application/rs-metadata, multipart/mixed";

/// Appends a header, or nothing where the value could not stand in one.
pub(crate) fn push(headers: &mut Headers, name: HeaderName, value: impl Into<Bytes>) {
    if let Ok(header) = Header::build(name, value) {
        headers.push(header);
    }
}

/// Appends headers given by name. Those that the agent itself owes to a message are passed over.
pub(crate) fn push_extra(headers: &mut Headers, extra: &[(String, String)]) {
    for (name, value) in extra {
        let name = HeaderName::parse(&Bytes::copy_from_slice(name.as_bytes()));
        let ours = matches!(
            name,
            HeaderName::Via
                | HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::CSeq
                | HeaderName::ContentLength
                | HeaderName::ContentType
                | HeaderName::RecordRoute
                | HeaderName::Route
        );
        // Contact is the user's to say in a redirection only.
        let said = matches!(
            name,
            HeaderName::Contact
                | HeaderName::SessionExpires
                | HeaderName::MaxForwards
                | HeaderName::Server
                | HeaderName::UserAgent
        ) && headers.get(&name).is_some();
        if !ours && !said {
            push(headers, name, value.clone());
        }
    }
}

/// Replaces every header of this name.
pub(crate) fn set(headers: &mut Headers, name: &HeaderName, value: impl Into<Bytes>) {
    headers.remove_all(name);
    push(headers, name.clone(), value);
}

/// Replaces the Via of a request of ours.
pub(crate) fn set_via(headers: &mut Headers, via: String) {
    headers.remove_all(&HeaderName::Via);
    if let Ok(via) = Header::build(HeaderName::Via, via) {
        headers.push_front(via);
    }
}

/// Ends a message: body, its type and length.
pub(crate) fn end_request(request: &mut Request, body: Option<Body>) {
    let bytes = end_headers(&mut request.headers, body);
    request.set_body(bytes);
}

/// Ends a message: body, its type and length.
pub(crate) fn end_response(response: &mut Response, body: Option<Body>) {
    let bytes = end_headers(&mut response.headers, body);
    response.set_body(bytes);
}

fn end_headers(headers: &mut Headers, body: Option<Body>) -> Bytes {
    let bytes = match body {
        Some(body) => {
            set(headers, &HeaderName::ContentType, body.content_type);
            body.bytes
        }
        None => Bytes::new(),
    };
    set(headers, &HeaderName::ContentLength, bytes.len().to_string());
    bytes
}

/// A message as it is sent.
pub(crate) fn to_bytes(message: &Message) -> Bytes {
    /// An answer with SDP of two lines and two proxies has 1,200 octets; a longer one grows once.
    const USUAL_BYTES: usize = 1_536;
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    message.write_to(&mut bytes);
    Bytes::from(bytes)
}

/// An SDP body.
pub(crate) fn sdp_body(sdp: Bytes) -> Body {
    Body { content_type: "application/sdp".into(), bytes: sdp }
}

/// The value of our Via: with `rport`, so that the response finds its way through a NAT (RFC 3581).
pub(crate) fn via(transport: Transport, sent_by: SocketAddr, token: &str) -> String {
    format!("SIP/2.0/{} {sent_by};branch=z9hG4bK{token};rport", transport.token())
}

/// Our Contact. Under `sips` the parameter names what is below TLS (RFC 5630 section 3.1.3).
pub(crate) fn contact(scheme: &str, address: SocketAddr, transport: Transport, params: &str) -> String {
    let parameter = match transport {
        Transport::Tls if scheme == "sips" => "tcp",
        transport => transport.parameter(),
    };
    format!("<{scheme}:callspool@{address};transport={parameter}>{params}")
}

/// What of a request a server transaction needs: the headers that a response repeats (RFC 3261 section
/// 8.2.6.2) and Record-Route (section 12.1.1), in memory of their own, so that neither body nor datagram stays.
/// The topmost Via gets `received` and `rport` (section 18.2.1, RFC 3581 section 4).
pub(crate) fn slim(request: &Request, flow: &Flow) -> Request {
    const KEPT: [HeaderName; 6] = [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
        HeaderName::RecordRoute,
    ];
    let mut memory = BytesMut::new();
    let mut spans = Vec::new();
    let mut vias = 0;
    for header in request.headers.iter().filter(|h| KEPT.contains(h.name())) {
        let value = header.value();
        let begin = memory.len();
        if *header.name() == HeaderName::Via && vias == 0 {
            vias += 1;
            memory.extend_from_slice(&with_received(&value, flow.remote));
        } else {
            memory.extend_from_slice(&value);
        }
        spans.push((header.name().clone(), begin..memory.len()));
    }
    let begin = memory.len();
    memory.extend_from_slice(&request.uri.to_bytes());
    let memory = memory.freeze();
    let uri = Uri::parse(memory.slice(begin..)).unwrap_or_else(|_| request.uri.clone());
    let mut slim = Request::new(request.method.clone(), uri);
    for (name, span) in spans {
        push(&mut slim.headers, name, memory.slice(span));
    }
    slim
}

pub(crate) fn with_received(value: &[u8], source: SocketAddr) -> Vec<u8> {
    let end = first_hop_end(value).min(value.len());
    let (hop, rest) = value.split_at(end);
    let Ok(via) = Via::parse_one(hop) else { return value.to_vec() };
    let mut mended = Vec::with_capacity(value.len() + 48);
    for (index, field) in split_outside_quotes(hop, b';').into_iter().enumerate() {
        let name = field.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        if index > 0 && (name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport")) {
            continue;
        }
        if index > 0 {
            mended.push(b';');
        }
        mended.extend_from_slice(field);
    }
    let is_same = sent_by_ip(&via).is_some_and(|ip| ip == source.ip());
    let wants_port = via.rport().is_some();
    if !is_same || wants_port {
        mended.extend_from_slice(format!(";received={}", source.ip()).as_bytes());
    }
    if wants_port {
        mended.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    mended.extend_from_slice(rest);
    mended
}

fn sent_by_ip(via: &Via) -> Option<IpAddr> {
    let host = via.host.to_bytes();
    std::str::from_utf8(&host).ok()?.trim_matches(['[', ']']).parse().ok()
}

/// Where the response to a request goes (RFC 3261 section 18.2.2, RFC 3581), and where once that flow is gone.
/// Only ever to the address that the request came from: `maddr` and names in Via are not followed.
pub(crate) fn response_route(request: &Request, flow: &Flow) -> (Destination, Destination) {
    let via = request.headers.typed::<Via>().and_then(Result::ok);
    if flow.transport.is_websocket() {
        // Via of a browser names a host in `.invalid`: there is no other way (RFC 7118 section 5.2.1).
        return (Destination::Flow(flow.id), Destination::Flow(flow.id));
    }
    let port = via.as_ref().and_then(|via| via.port).unwrap_or(flow.transport.default_port());
    let by_via =
        Destination::Address { transport: flow.transport, remote: SocketAddr::new(flow.remote.ip(), port) };
    let over_flow = match flow.transport {
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => true,
        Transport::Udp => port == flow.remote.port() || via.as_ref().is_none_or(|via| via.rport().is_some()),
    };
    (if over_flow { Destination::Flow(flow.id) } else { by_via }, by_via)
}

/// A response to a (slim) request, with the To-tag where there is none yet.
pub(crate) fn response(request: &Request, status: u16, reason: &str, to_tag: Option<&str>) -> Response {
    let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
    let mut response = Response::new(status_code(status), reason);
    for name in [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq] {
        for header in request.headers.get_all(&name) {
            match (to_tag, &name) {
                (Some(tag), HeaderName::To) => {
                    push(&mut response.headers, name.clone(), with_tag(&header.value(), tag));
                }
                _ => response.headers.push(header.clone()),
            }
        }
    }
    response
}

/// Statuses are 100 to 699 (RFC 3261 section 7.2); a caller's other number becomes the nearest of them.
fn status_code(status: u16) -> StatusCode {
    match StatusCode::new(status.clamp(100, 699)) {
        Some(code) => code,
        None => unreachable!("clamped to what StatusCode takes"),
    }
}

fn with_tag(to: &[u8], tag: &str) -> Vec<u8> {
    let mut value = to.to_vec();
    if tag_of(to).is_none() {
        value.extend_from_slice(b";tag=");
        value.extend_from_slice(tag.as_bytes());
    }
    value
}

/// The tag of a From or To value.
pub(crate) fn tag_of(value: &[u8]) -> Option<Vec<u8>> {
    match plain_tag(value) {
        Ok(tag) => tag.map(<[u8]>::to_vec),
        Err(NotPlain) => lenient_address(value)?.tag().map(<[u8]>::to_vec),
    }
}

/// A value that must be parsed to find its tag.
struct NotPlain;

/// The tag of a value without quotes that has its URI in brackets, as nearly all do: it stands among the parameters
/// behind them, and the URI need not be parsed for it.
fn plain_tag(value: &[u8]) -> Result<Option<&[u8]>, NotPlain> {
    let open = value.iter().position(|b| matches!(b, b'<' | b'"')).ok_or(NotPlain)?;
    let (name, rest) = value.split_at(open);
    let rest = rest.strip_prefix(b"<").ok_or(NotPlain)?;
    let close = rest.iter().position(|b| *b == b'>').ok_or(NotPlain)?;
    let params = rest.get(close + 1..).ok_or(NotPlain)?;
    let is_separate = params.trim_ascii_start().first().is_none_or(|b| *b == b';');
    if !is_separate || name.contains(&b',') || params.iter().any(|b| matches!(b, b'"' | b'<' | b'>' | b',')) {
        return Err(NotPlain);
    }
    let mut tags = params.split(|b| *b == b';').skip(1).filter_map(|param| {
        let (name, tag) = param.split_at(param.iter().position(|b| *b == b'=')?);
        let tag = tag.get(1..)?.trim_ascii();
        name.trim_ascii().eq_ignore_ascii_case(b"tag").then_some(tag)
    });
    match (tags.next(), tags.next()) {
        (None, _) => Ok(None),
        (Some(tag), None) if !tag.is_empty() && tag.iter().all(|b| is_of_token(*b)) => Ok(Some(tag)),
        _ => Err(NotPlain),
    }
}

/// RFC 3261 section 25.1.
const fn is_of_token(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// An address, also one that some PBX wrote by hand: a display name with commas or letters that want quotes,
/// a quote that does not end, blanks within the brackets. What stands in brackets must be a URI all the same.
pub(crate) fn lenient_address(value: &[u8]) -> Option<Address> {
    if let Ok(address) = Address::parse(value, "address") {
        return Some(address);
    }
    let open = value.iter().rposition(|b| *b == b'<')?;
    let close = open + value.get(open..)?.iter().position(|b| *b == b'>')?;
    let uri = value.get(open + 1..close)?.trim_ascii();
    let mut address = Address::parse(&[b"<", uri, b">", value.get(close + 1..)?].concat(), "address").ok()?;
    let name: Vec<u8> = value.get(..open)?.trim_ascii().iter().filter(|b| **b != b'"').copied().collect();
    address.display_name = Some(name).filter(|name| !name.is_empty());
    Some(address)
}

/// The tag of From or To.
pub(crate) fn header_tag(headers: &Headers, name: &HeaderName) -> Option<Vec<u8>> {
    tag_of(&headers.value(name)?)
}

/// A header value in memory of its own.
pub(crate) fn own(headers: &Headers, name: &HeaderName) -> Bytes {
    headers.value(name).map(|value| Bytes::copy_from_slice(&value)).unwrap_or_default()
}

/// The CSeq number.
pub(crate) fn cseq(headers: &Headers) -> Option<u32> {
    headers.typed::<sipx_sip::CSeq>()?.ok().map(|cseq| cseq.sequence)
}

/// Whether a list header such as Allow or Supported names this token.
pub(crate) fn lists(headers: &Headers, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).any(|header| {
        header.value().split(|b| *b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

/// The first Contact, as a URI.
pub(crate) fn contact_uri(headers: &Headers) -> Option<Uri> {
    let value = headers.value(&HeaderName::Contact)?;
    let first = Address::parse_list(&value, "Contact").ok()?.into_iter().next()?;
    // In memory of its own: the value is a view into the message.
    Uri::parse(Bytes::copy_from_slice(&first.uri.to_bytes())).ok()
}

/// Splits at a separator, but not within quotes.
pub(crate) fn split_outside_quotes(value: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(|byte| {
            let cut = *byte == separator && !quoted;
            if *byte == b'"' && !escaped {
                quoted = !quoted;
            }
            escaped = *byte == b'\\' && !escaped;
            cut
        })
        .collect()
}

/// What can be answered of a datagram that is no message: a request whose body is cut short, or whose head has
/// a line that is none, still gets its 400 when the five headers of a response are there.
pub(crate) fn salvage(datagram: &[u8]) -> Option<Request> {
    const NEEDED: [&[u8]; 9] = [b"via", b"v", b"from", b"f", b"to", b"t", b"call-id", b"i", b"cseq"];
    let mut lines = datagram.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let method = lines.next()?.split(|b| *b == b' ').next()?;
    let method = Method::parse(&Bytes::copy_from_slice(method));
    if matches!(method, Method::Other(_) | Method::Ack) {
        return None;
    }
    let mut head = [method.as_bytes(), b" sip:unread.invalid SIP/2.0\r\n"].concat();
    for line in lines.take_while(|line| !line.is_empty()) {
        let name = line.split(|b| *b == b':').next().unwrap_or_default().trim_ascii();
        if NEEDED.iter().any(|needed| name.eq_ignore_ascii_case(needed)) {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    let message = sipx_sip::parse_datagram(head.into(), &sipx_sip::Limits::datagram()).ok()?;
    let sipx_sip::Message::Request(request) = message else { return None };
    let whole = [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq]
        .iter()
        .all(|name| request.headers.get(name).is_some());
    whole.then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_plain_value_is_that_of_the_parsed_one() {
        for (value, tag) in [
            ("<sip:a@b>;tag=1", Some("1")),
            ("Hans <sip:a@b;x=1>;y; TAG = a.b-c ;z=2", Some("a.b-c")),
            ("<sip:a@b>", None),
            ("<sip:a@b>;tagx=1", None),
            ("\"a;tag=0\" <sip:a@b;tag=2>;tag=1", Some("1")),
            ("\"<x>;tag=0\" <sip:a@b>;x=\";tag=3\";tag=1", Some("1")),
            ("sip:a@b;tag=1", Some("1")),
            ("M\u{fc}ller, Hans <sip:a@b>;tag=1", Some("1")),
            ("<sip:a@b>junk;tag=1", None),
            ("<sip:a@b", None),
            ("", None),
        ] {
            let parsed = lenient_address(value.as_bytes()).and_then(|a| a.tag().map(<[u8]>::to_vec));
            assert_eq!(tag_of(value.as_bytes()), parsed, "{value}");
            assert_eq!(parsed.as_deref(), tag.map(str::as_bytes), "{value}");
        }
    }
}

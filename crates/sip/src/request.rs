//! A request as the rest of the house sees it: strings and parts, no parser types.
//!
//! Reading is tolerant: what cannot be read is left out of the view, and stays in `headers` and `parts` as it
//! came. Nothing is judged here; the agent has validated the request before anyone sees it.

use std::sync::Arc;

use bytes::Bytes;
use sipx_sip::headers::address::Address;
use sipx_sip::{Headers, Message, Request, Uri};

use crate::flow::Flow;
use crate::gate::Pass;
use crate::message::lenient_address;
use crate::multipart;

/// One part of a body, as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The value of `Content-Type`, with its parameters.
    pub content_type: String,
    /// The value of `Content-Disposition`.
    pub disposition: Option<String>,
    /// The headers of the part, where it was one of several.
    pub headers: Vec<(String, String)>,
    /// The bytes: a view into the message, which stays in memory as long as the view. Copy what is kept.
    pub bytes: Bytes,
}

impl Part {
    /// Whether the type is this one, parameters and case aside.
    #[must_use]
    pub fn is(&self, content_type: &str) -> bool {
        let named = self.content_type.split(';').next().unwrap_or_default();
        named.trim().eq_ignore_ascii_case(content_type)
    }

    /// Whether this is SIPREC metadata (RFC 7866 section 9.1; some clients leave out `+xml`), or XML that says by its
    /// disposition that it is.
    #[must_use]
    pub fn is_metadata(&self) -> bool {
        let disposition = self.disposition.as_deref().and_then(|d| d.split(';').next()).unwrap_or_default();
        let is_disposed = disposition.trim().eq_ignore_ascii_case("recording-session");
        self.is("application/rs-metadata+xml")
            || self.is("application/rs-metadata")
            || (is_disposed && (self.is("application/xml") || self.is("text/xml")))
    }
}

/// An address of a header: `"Alice" <sip:1001@pbx.example;x-nearend>;tag=1`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AddressView {
    /// The display name, unquoted.
    pub display: Option<String>,
    /// The URI, as it came.
    pub uri: String,
    /// Its user part, unescaped; the number of a `tel:` URI.
    pub user: Option<String>,
    /// Its host, without port; empty for a `tel:` URI.
    pub host: String,
    /// The parameters of the header.
    pub params: Vec<(String, Option<String>)>,
    /// The parameters of the URI.
    pub uri_params: Vec<(String, Option<String>)>,
}

/// A value of a `Reason` header (RFC 3326).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReasonView {
    /// `SIP`, `Q.850`, …
    pub protocol: String,
    /// The cause.
    pub cause: Option<u16>,
    /// The text.
    pub text: Option<String>,
}

/// A request, read.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// The method.
    pub method: String,
    /// The Request-URI.
    pub uri: String,
    /// Its user part, unescaped.
    pub uri_user: Option<String>,
    /// From.
    pub from: AddressView,
    /// To.
    pub to: AddressView,
    /// The first Contact.
    pub contact: Option<AddressView>,
    /// P-Asserted-Identity, else Remote-Party-ID.
    pub asserted: Vec<AddressView>,
    /// Call-ID.
    pub call_id: String,
    /// Every header in order, names in their canonical form.
    pub headers: Vec<(String, String)>,
    /// The option tags of `Require`.
    pub require: Vec<String>,
    /// The option tags of `Supported`.
    pub supported: Vec<String>,
    /// The values of `Reason`.
    pub reasons: Vec<ReasonView>,
    /// The body, split.
    pub parts: Vec<Part>,
    /// The flow that it came by.
    pub flow: Flow,
    /// Who the peer has proved to be: the DNS names and URIs of its verified certificate, else the common name
    /// (RFC 5922); empty where it showed none.
    pub peer_names: Arc<[String]>,
    /// By what the gate let it in: of the INVITE that begins a dialog.
    pub pass: Option<Arc<Pass>>,
    /// A SIPREC client asks: Contact with `+sip.src`, or `Require: siprec`, or a metadata part.
    pub siprec: bool,
}

impl RequestInfo {
    /// The first SDP part.
    #[must_use]
    pub fn sdp(&self) -> Option<&Part> {
        self.parts.iter().find(|part| part.is("application/sdp"))
    }

    /// The parts that are SIPREC metadata.
    pub fn metadata(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.is_metadata())
    }

    /// The first header of this name, compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn read(request: &Request, flow: Flow, peer_names: Arc<[String]>) -> Self {
        let headers = header_list(&request.headers);
        let parts = body_parts(&request.headers, request.body());
        let contact = address_of(&headers, "Contact");
        let require = tokens(&headers, "Require");
        let siprec = require.iter().any(|tag| tag.eq_ignore_ascii_case("siprec"))
            || contact.as_ref().is_some_and(AddressView::is_recording_client)
            || parts.iter().any(Part::is_metadata);
        let mut asserted = addresses(&headers, "P-Asserted-Identity");
        if asserted.is_empty() {
            asserted = addresses(&headers, "Remote-Party-ID");
        }
        Self {
            method: text(request.method.as_bytes()),
            uri: text(&request.uri.to_bytes()),
            uri_user: user_of(&request.uri),
            from: address_of(&headers, "From").unwrap_or_default(),
            to: address_of(&headers, "To").unwrap_or_default(),
            contact,
            asserted,
            call_id: value_of(&headers, "Call-ID").unwrap_or_default().to_owned(),
            supported: tokens(&headers, "Supported"),
            reasons: reasons(&headers),
            require,
            headers,
            parts,
            flow,
            peer_names,
            pass: None,
            siprec,
        }
    }
}

impl AddressView {
    /// The value of a header parameter; `Some(None)` where it stands without one.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Option<&str>> {
        self.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_deref())
    }

    /// The value of a URI parameter; `Some(None)` where it stands without one.
    #[must_use]
    pub fn uri_param(&self, name: &str) -> Option<Option<&str>> {
        self.uri_params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_deref())
    }

    /// RFC 7866 section 6.1.1; `src` alone is what older AudioCodes gateways say.
    fn is_recording_client(&self) -> bool {
        self.param("+sip.src").is_some() || self.param("src").is_some()
    }

    fn of(address: &Address) -> Self {
        let uri = &address.uri;
        Self {
            display: address.display_name.as_deref().map(text).filter(|name| !name.is_empty()),
            uri: text(&uri.to_bytes()),
            user: user_of(uri),
            host: uri.host().map(|host| text(&host.to_bytes())).unwrap_or_default(),
            params: address.params.iter().map(|p| (text(&p.name), p.value.as_deref().map(text))).collect(),
            uri_params: uri
                .params()
                .into_iter()
                .flatten()
                .map(|p| (text(p.name()), p.value().map(text)))
                .collect(),
        }
    }
}

/// Every header in order, names canonical.
pub(crate) fn header_list(headers: &Headers) -> Vec<(String, String)> {
    headers.iter().map(|h| (text(h.name().canonical()), text(&h.value()))).collect()
}

/// The body of any message, split.
pub(crate) fn body_parts(headers: &Headers, body: &Bytes) -> Vec<Part> {
    if body.is_empty() {
        return Vec::new();
    }
    let content_type =
        headers.value(&sipx_sip::HeaderName::ContentType).map(|v| text(&v)).unwrap_or_default();
    let mut parts = multipart::split(&content_type, body);
    let disposition = headers.value(&sipx_sip::HeaderName::ContentDisposition).map(|v| text(&v));
    if let [only] = parts.as_mut_slice()
        && only.disposition.is_none()
    {
        only.disposition = disposition;
    }
    parts
}

/// The SDP of a message, if it carries any.
pub(crate) fn sdp_of(message: &Message) -> Option<Part> {
    body_parts(message.headers(), message.body()).into_iter().find(|part| part.is("application/sdp"))
}

/// Bytes of the network as text: what is not UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    // Nearly all of it is, which this sees faster.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), str::to_owned)
}

fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn values_of<'a>(headers: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn address_of(headers: &[(String, String)], name: &str) -> Option<AddressView> {
    let value = value_of(headers, name)?.as_bytes();
    let first = Address::parse_list(value, "address").ok().and_then(|list| list.into_iter().next());
    first.or_else(|| lenient_address(value)).map(|address| AddressView::of(&address))
}

fn addresses(headers: &[(String, String)], name: &str) -> Vec<AddressView> {
    values_of(headers, name)
        .flat_map(|value| {
            let list = Address::parse_list(value.as_bytes(), "address");
            list.unwrap_or_else(|_| lenient_address(value.as_bytes()).into_iter().collect())
        })
        .map(|address| AddressView::of(&address))
        .collect()
}

fn tokens(headers: &[(String, String)], name: &str) -> Vec<String> {
    values_of(headers, name)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Unescaped, so that numbers can be compared; a `tel:` URI has its number here.
fn user_of(uri: &Uri) -> Option<String> {
    match uri.tel_parts() {
        Some(tel) => Some(text(tel.subscriber())),
        None => uri.decoded_user().map(|user| text(&user)),
    }
}

/// `Q.850;cause=16;text="Normal, clearing"`. Read by hand: a reason without cause is still a reason.
fn reasons(headers: &[(String, String)]) -> Vec<ReasonView> {
    let mut reasons = Vec::new();
    for value in values_of(headers, "Reason").flat_map(|value| split_unquoted(value, ',')) {
        let mut fields = split_unquoted(value, ';').into_iter();
        let protocol = fields.next().unwrap_or_default().trim().to_owned();
        if protocol.is_empty() {
            continue;
        }
        let mut reason = ReasonView { protocol, cause: None, text: None };
        for (name, value) in fields.filter_map(|field| field.split_once('=')) {
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "cause" => reason.cause = value.parse().ok(),
                "text" => reason.text = Some(value.trim_matches('"').replace("\\\"", "\"")),
                _ => {}
            }
        }
        reasons.push(reason);
    }
    reasons
}

fn split_unquoted(value: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(|c: char| {
            let cut = c == separator && !quoted;
            if c == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = c == '\\' && !escaped;
            cut
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use sipx_sip::{Limits, parse_datagram};

    use super::*;
    use crate::flow::{FlowId, Transport};

    fn read(message: &str) -> RequestInfo {
        let bytes = Bytes::from(message.replace('\n', "\r\n"));
        let message = parse_datagram(bytes, &Limits::datagram()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
        let flow = Flow { id: FlowId(1), transport: Transport::Udp, local: address, remote: address };
        RequestInfo::read(message.as_request().unwrap(), flow, Arc::default())
    }

    #[test]
    fn a_built_in_bridge_invite_is_read() {
        let info = read(
            "INVITE sip:9000@srs;transport=tcp SIP/2.0
v: SIP/2.0/TCP cucm;branch=z9hG4bK1
From: \"Bob \\\"B\\\" Smith\" <sip:1001@cucm;x-nearend;x-refci=28461;x-nearenddevice=SEP0011223344>;tag=a
To: <sip:9000@srs>
Contact: <sip:1001@10.0.0.1:5060;transport=tcp>;isFocus
P-Asserted-Identity: \"Bob\" <sip:1001@cucm>, <tel:+4930123>
Reason: Q.850;cause=16;text=\"Normal, call; clearing\", SIP ;cause=200
Supported: timer,X-cisco-srtp-fallback
i: x@y
CSeq: 1 INVITE
Content-Length: 0

",
        );
        assert_eq!(info.method, "INVITE");
        assert_eq!(info.uri_user.as_deref(), Some("9000"));
        assert_eq!(info.from.display.as_deref(), Some("Bob \"B\" Smith"));
        assert_eq!(info.from.uri_param("x-refci"), Some(Some("28461")));
        assert_eq!(info.from.uri_param("X-NearEnd"), Some(None));
        assert_eq!(info.from.param("tag"), Some(Some("a")));
        assert_eq!(info.contact.as_ref().unwrap().param("isfocus"), Some(None));
        assert_eq!(info.asserted.len(), 2);
        assert_eq!(info.asserted[1].user.as_deref(), Some("+4930123"));
        assert_eq!(info.reasons[0].cause, Some(16));
        assert_eq!(info.reasons[0].text.as_deref(), Some("Normal, call; clearing"));
        assert_eq!(info.reasons[1].protocol, "SIP");
        assert_eq!(info.supported, ["timer", "X-cisco-srtp-fallback"]);
        assert_eq!(info.header("via"), Some("SIP/2.0/TCP cucm;branch=z9hG4bK1"));
        assert_eq!(info.call_id, "x@y");
        assert!(info.sdp().is_none() && !info.siprec);
    }

    #[test]
    fn a_name_that_should_have_been_quoted_is_read() {
        let with = |from: &str| {
            read(&format!(
                "INVITE sip:s SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: {from}\nTo: <sip:b>\nCall-ID: x\nCSeq: 1 INVITE\n\n"
            ))
            .from
        };
        for (from, name) in [
            ("M\u{fc}ller, Hans <sip:1001@pbx>;tag=1", "M\u{fc}ller, Hans"),
            ("\"Hans <sip:1001@pbx>;tag=1", "Hans"),
            ("Hans (Sales) < sip:1001@pbx >;tag=1", "Hans (Sales)"),
        ] {
            let address = with(from);
            assert_eq!(address.display.as_deref(), Some(name), "{from}");
            assert_eq!(
                (address.user.as_deref(), address.param("tag")),
                (Some("1001"), Some(Some("1"))),
                "{from}"
            );
        }
        assert_eq!(with("Hans <not a uri>").uri, "");
    }

    #[test]
    fn a_siprec_client_is_known_by_any_of_three_signs() {
        let with = |headers: &str, body: &str| {
            read(&format!(
                "INVITE sip:s SIP/2.0\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\nFrom: <sip:a>;tag=1\nTo: <sip:b>\nCall-ID: x\nCSeq: 1 INVITE\n{headers}\n{body}"
            ))
        };
        assert!(!with("Contact: <sip:a>\n", "").siprec);
        assert!(with("Contact: <sip:a>;+sip.src\n", "").siprec);
        assert!(with("Contact: <sip:a>;src\n", "").siprec);
        assert!(with("Require: timer, siprec\n", "").siprec);
        let info = with("Content-Type: application/rs-metadata\n", "<recording/>");
        assert!(info.siprec && info.metadata().count() == 1);
        let info = with("Content-Type:application/SDP; charset=utf-8\n", "v=0");
        assert_eq!(info.sdp().unwrap().bytes.as_ref(), b"v=0");
    }
}

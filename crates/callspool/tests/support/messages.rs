//! The SIP messages of a sipp scenario, from its trace, while it runs.

use std::net::{IpAddr, SocketAddr};

/// Which way a message went, seen from sipp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Sent by sipp.
    Sent,
    /// Received by sipp.
    Received,
}

/// One message.
#[derive(Clone, Debug)]
pub struct SipMessage {
    /// Which way it went.
    pub way: Way,
    /// All of it.
    pub text: String,
}

impl SipMessage {
    /// The first line.
    pub fn start_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// A header, by its full name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.lines().take_while(|l| !l.trim().is_empty());
        let mut fields = head.filter_map(|l| l.split_once(':'));
        fields.find(|(n, _)| n.trim().eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
    }

    /// The status code of a response.
    pub fn status(&self) -> Option<u16> {
        self.start_line().strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// Whether it is a response to the request with this CSeq, `1 INVITE`.
    pub fn answers(&self, cseq: &str) -> bool {
        self.status().is_some() && self.header("CSeq") == Some(cseq)
    }

    /// The m-lines of its SDP.
    pub fn media(&self) -> Vec<Media> {
        let mut session_address = None;
        let mut media: Vec<Media> = Vec::new();
        for line in self.text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("m=") {
                let words: Vec<&str> = rest.split(' ').collect();
                let port = words.get(1).and_then(|p| p.parse().ok()).expect("a port in an m-line");
                let kind = words.first().copied().unwrap_or_default().to_owned();
                let formats = words.iter().skip(3).filter_map(|f| f.parse().ok()).collect();
                let profile = words.get(2).copied().unwrap_or_default().to_owned();
                let (address, attributes) = (session_address, Vec::new());
                media.push(Media { kind, port, profile, address, formats, attributes });
            } else if let Some(address) = line.strip_prefix("c=IN ").and_then(|a| a.split(' ').nth(1)) {
                let address: Option<IpAddr> = address.parse().ok();
                match media.last_mut() {
                    Some(last) => last.address = address,
                    None => session_address = address,
                }
            } else if let (Some(attribute), Some(last)) = (line.strip_prefix("a="), media.last_mut()) {
                last.attributes.push(attribute.to_owned());
            }
        }
        media
    }
}

/// An m-line and what belongs to it.
#[derive(Clone, Debug)]
pub struct Media {
    /// `audio`
    pub kind: String,
    /// Its port; 0 when it is refused.
    pub port: u16,
    /// Its transport: `RTP/AVP`.
    pub profile: String,
    /// Where to.
    pub address: Option<IpAddr>,
    /// Its payload types.
    pub formats: Vec<u8>,
    /// Its attributes, without `a=`.
    pub attributes: Vec<String>,
}

impl Media {
    /// Where RTP goes to.
    pub fn rtp(&self) -> SocketAddr {
        SocketAddr::new(self.address.expect("an address in SDP"), self.port)
    }

    /// The value of an attribute.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Whether it has this attribute.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a == attribute)
    }
}

/// Reads a trace as sipp 3.6 writes it: a rule of hyphens with the time, a line that says which way, a blank
/// line, the message.
pub fn read(trace: &str) -> Vec<SipMessage> {
    let mut messages: Vec<SipMessage> = Vec::new();
    let mut lines = trace.lines().peekable();
    while let Some(line) = lines.next() {
        let says = line.starts_with("----------") && line.contains(':');
        if says && let Some(way) = lines.peek().and_then(|next| way(next)) {
            lines.next();
            lines.next();
            messages.push(SipMessage { way, text: String::new() });
        } else if let Some(message) = messages.last_mut() {
            message.text.push_str(line.trim_end_matches('\r'));
            message.text.push('\n');
        }
    }
    messages
}

fn way(line: &str) -> Option<Way> {
    match line {
        l if l.contains("message sent") => Some(Way::Sent),
        l if l.contains("message received") => Some(Way::Received),
        _ => None,
    }
}

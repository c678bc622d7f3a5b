//! Reading a session description, with the repairs that real ones need.
//!
//! Repaired: bytes that are no UTF-8, bare CR or LF line ends, lines out of order, a missing `v=`, `o=` or `t=`,
//! negative and oversized numbers in `o=`, user names with spaces, runs of spaces, spaces after a colon, ports
//! that are none, m-lines without formats. What cannot be read is left out; attributes stay as they stood.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::{Codec, MediaKind};

use super::{Direction, MediaLine, Offered, Origin, Sdp, statics};

/// 64 KiB, the most that a UDP datagram holds: nobody's offer is near it.
const BYTES_MAX: usize = 65_536;
/// An offer with more m-lines is an attack: conference bridges offer a few dozen.
const MEDIA_MAX: usize = 128;
/// Attributes kept per m-line and for the session. Browsers send about 100; what is beyond is not read.
const ATTRIBUTES_MAX: usize = 512;

/// Why a body is no session description.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    /// Longer than any offer.
    #[error("{0} bytes are no session description: at most {BYTES_MAX} are read")]
    TooLong(usize),
    /// More m-lines than anybody offers.
    #[error("more than {MEDIA_MAX} m-lines")]
    TooManyMedia,
    /// Neither a `v=` nor an `m=` line.
    #[error("no session description: neither a v= nor an m= line")]
    NotSdp,
}

/// Reads a session description.
///
/// # Errors
/// Only for what is no session description at all, or beyond all bounds.
pub fn read(bytes: &[u8]) -> Result<Sdp, SdpError> {
    if bytes.len() > BYTES_MAX {
        return Err(SdpError::TooLong(bytes.len()));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut draft = Draft::default();
    for line in text.split(['\r', '\n']) {
        if let Some((key, value)) = key_and_value(line) {
            draft.line(key, value)?;
        }
    }
    draft.finish()
}

/// `k=value`; spaces around are nobody's intention.
fn key_and_value(line: &str) -> Option<(char, &str)> {
    let (key, value) = line.trim().split_once('=')?;
    let mut letters = key.trim_end().chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) => Some((letter.to_ascii_lowercase(), value.trim())),
        _ => None,
    }
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    version_seen: bool,
    origin: Option<Origin>,
    timing: Option<String>,
    address: Option<IpAddr>,
    attributes: Vec<(String, Option<String>)>,
    /// What holds for all lines that do not say it themselves.
    security: Offered,
    media: Vec<MediaLine>,
}

impl Draft {
    fn line(&mut self, key: char, value: &str) -> Result<(), SdpError> {
        match key {
            'v' => self.version_seen = true,
            'o' if self.origin.is_none() => self.origin = Some(origin(value)),
            't' if self.timing.is_none() => self.timing = Some(plain(value)),
            'm' if self.media.len() >= MEDIA_MAX => return Err(SdpError::TooManyMedia),
            'm' => self.media.push(media_line(value)),
            'c' => self.connection(value),
            'a' => self.attribute(value),
            _ => {}
        }
        Ok(())
    }

    fn attribute(&mut self, value: &str) {
        let (name, value) = attribute(value);
        let security = self.media.last_mut().map_or(&mut self.security, |m| &mut m.security);
        if security.take(&name, value.as_deref().unwrap_or_default()) {
            return;
        }
        let into = self.media.last_mut().map_or(&mut self.attributes, |m| &mut m.attributes);
        if into.len() < ATTRIBUTES_MAX {
            into.push((name, value));
        }
    }

    fn connection(&mut self, value: &str) {
        let into = self.media.last_mut().map_or(&mut self.address, |m| &mut m.address);
        if into.is_none() {
            *into = connection_address(value);
        }
    }

    fn finish(self) -> Result<Sdp, SdpError> {
        if !self.version_seen && self.media.is_empty() {
            return Err(SdpError::NotSdp);
        }
        let direction = direction_of(&self.attributes);
        let mut media = self.media;
        for line in &mut media {
            line.address = line.address.or(self.address);
            line.security.complete(&self.security);
            line.direction = direction_of(&line.attributes).or(direction).unwrap_or_default();
            understand(line);
        }
        let unknown = Origin {
            username: "-".to_owned(),
            session_id: 0,
            version: 0,
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Ok(Sdp {
            origin: self.origin.unwrap_or(unknown),
            timing: self.timing.filter(|t| !t.is_empty()).unwrap_or_else(|| "0 0".to_owned()),
            attributes: self.attributes,
            media,
        })
    }
}

/// `o=` read from its end, because user names with spaces are seen.
fn origin(value: &str) -> Origin {
    let mut fields = value.split_whitespace().rev();
    let address = fields.next().and_then(|a| a.parse().ok());
    let (_address_type, _network) = (fields.next(), fields.next());
    let version = fields.next().map_or(0, folded_number);
    let session_id = fields.next().map_or(0, folded_number);
    let mut username: Vec<&str> = fields.collect();
    username.reverse();
    Origin {
        username: if username.is_empty() { "-".to_owned() } else { plain(&username.join(" ")) },
        session_id,
        version,
        address: address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    }
}

/// Any run of digits as a number: what does not fit wraps, so that different texts stay different.
fn folded_number(text: &str) -> u64 {
    let digits = text.bytes().filter(u8::is_ascii_digit);
    digits.fold(0_u64, |n, digit| n.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// `IN IP4 192.0.2.1/127`
fn connection_address(value: &str) -> Option<IpAddr> {
    let address = value.split_whitespace().nth(2)?;
    address.split('/').next()?.parse().ok()
}

/// `audio 49170/2 RTP/AVP 0 8 101`
fn media_line(value: &str) -> MediaLine {
    // A field of control characters alone is none: it would leave an empty one in the answer.
    let mut fields = value.split_whitespace().map(plain).filter(|field| !field.is_empty());
    let media = fields.next().unwrap_or_else(|| "audio".to_owned());
    let port = fields.next().and_then(|p| p.split('/').next()?.parse().ok()).unwrap_or(0);
    let protocol = fields.next().unwrap_or_else(|| "RTP/AVP".to_owned());
    MediaLine {
        kind: match media.as_str() {
            m if m.eq_ignore_ascii_case("audio") => MediaKind::Audio,
            m if m.eq_ignore_ascii_case("video") => MediaKind::Video,
            _ => MediaKind::Other,
        },
        media,
        port,
        protocol,
        formats: fields.collect(),
        codecs: Vec::new(),
        address: None,
        direction: Direction::default(),
        label: None,
        mid: None,
        rtcp: None,
        rtcp_mux: false,
        ptime: None,
        security: Offered::default(),
        attributes: Vec::new(),
    }
}

fn attribute(value: &str) -> (String, Option<String>) {
    match value.split_once(':') {
        Some((name, value)) => (plain(name.trim()), Some(plain(value.trim()))),
        None => (plain(value), None),
    }
}

/// Without control characters: what is echoed in an answer must not break its lines. A space beside one at either
/// end goes too: whoever reads the answer takes it for nobody's intention.
fn plain(text: &str) -> String {
    // Nearly all are plain as they stand.
    if text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return text.trim_ascii().to_owned();
    }
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    text.trim().to_owned()
}

fn direction_of(attributes: &[(String, Option<String>)]) -> Option<Direction> {
    let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    let named = |name: &str| all.into_iter().find(|d| name.eq_ignore_ascii_case(d.as_str()));
    attributes.iter().rev().find_map(|(name, _)| named(name))
}

/// Reads the attributes that mean something to us.
fn understand(line: &mut MediaLine) {
    let (mut maps, mut parameters) = (Vec::new(), Vec::new());
    for (name, value) in &line.attributes {
        let text = value.as_deref().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "rtpmap" => maps.extend(rtpmap(text)),
            "fmtp" => parameters.extend(fmtp(text)),
            "label" if !text.is_empty() => line.label = Some(text.to_owned()),
            "mid" if !text.is_empty() => line.mid = Some(text.to_owned()),
            "rtcp" => line.rtcp = rtcp(text, line.address),
            "rtcp-mux" => line.rtcp_mux = true,
            "ptime" => line.ptime = text.split(['.', ' ']).next().and_then(|n| n.parse().ok()),
            _ => {}
        }
    }
    if is_rtp_like(&line.protocol) {
        line.codecs = codecs(&line.formats, &maps, &parameters);
    }
}

fn is_rtp_like(protocol: &str) -> bool {
    protocol.to_ascii_uppercase().contains("RTP/")
}

/// The codecs of an m-line: its formats in order, then payload types that only an rtpmap names.
fn codecs(formats: &[String], maps: &[(u8, Codec)], parameters: &[(u8, &str)]) -> Vec<(u8, Codec)> {
    let listed = formats.iter().filter_map(|f| f.parse().ok()).filter(|n| *n < 128);
    let mut codecs: Vec<(u8, Codec)> = Vec::new();
    for payload_type in listed.chain(maps.iter().map(|(n, _)| *n)) {
        if codecs.iter().any(|(n, _)| *n == payload_type) {
            continue;
        }
        let mapped = maps.iter().find(|(n, _)| *n == payload_type).map(|(_, codec)| codec.clone());
        if let Some(mut codec) = mapped.or_else(|| statics::codec(payload_type)) {
            let found = parameters.iter().find(|(n, _)| *n == payload_type);
            codec.fmtp = found.map(|(_, text)| (*text).to_owned());
            codecs.push((payload_type, codec));
        }
    }
    codecs
}

/// `0 PCMU/8000/1`. A clock rate of 0 would stop time: such a map is left out.
fn rtpmap(text: &str) -> Option<(u8, Codec)> {
    let (number, encoding) = text.split_once(char::is_whitespace)?;
    let payload_type = number.parse().ok().filter(|n| *n < 128)?;
    let mut fields = encoding.split('/').map(str::trim);
    let name = fields.next().filter(|n| !n.is_empty())?;
    let clock = fields.next().and_then(|c| c.parse().ok()).filter(|c| *c > 0)?;
    let channels = fields.next().and_then(|c| c.parse().ok()).filter(|c| *c > 0).unwrap_or(1);
    Some((payload_type, Codec::new(name, clock, channels)))
}

fn fmtp(text: &str) -> Option<(u8, &str)> {
    let (number, parameters) = text.split_once(char::is_whitespace)?;
    Some((number.parse().ok().filter(|n| *n < 128)?, parameters.trim()))
}

/// `53020 IN IP4 192.0.2.1`; without an address it is the line's.
fn rtcp(text: &str, address: Option<IpAddr>) -> Option<SocketAddr> {
    let (port, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let port = port.parse().ok().filter(|p| *p != 0)?;
    Some(SocketAddr::new(connection_address(rest).or(address)?, port))
}

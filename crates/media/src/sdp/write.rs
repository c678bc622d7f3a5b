//! Writing answers and offers.
//!
//! An answer repeats the offer m-line for m-line and keeps every codec that was offered, with its rtpmap and
//! fmtp as they stood: some clients hang up when one is missing, and a recorder stores them all.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use model::protection::Ice;
use model::{Codec, MediaKind};

use super::security::write_ice;
use super::{Direction, MediaLine, Origin, Sdp, Security};

/// What becomes of an offered m-line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// Port 0.
    Refuse,
    /// Received.
    Take {
        /// Where, as to be told to the sender.
        rtp: SocketAddr,
        /// Our RTCP port; not told when it is the next one.
        rtcp_port: u16,
        /// Our direction, see [`Direction::answered_by_recorder`].
        direction: Direction,
        /// RTP and RTCP share the port. Told only when it was offered (RFC 5761 section 5.1.1).
        mux: bool,
        /// What is said of encryption.
        security: Security,
        /// The checks that are answered there.
        ice: Option<Ice>,
    },
}

/// An m-line of an offer of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferLine {
    /// Audio, video, other.
    pub kind: MediaKind,
    /// Where we receive.
    pub rtp: SocketAddr,
    /// Our RTCP port.
    pub rtcp_port: u16,
    /// What we take, most wanted first.
    pub codecs: Vec<(u8, Codec)>,
    /// Our direction.
    pub direction: Direction,
    /// `a=label`.
    pub label: Option<String>,
    /// Offer to share the port for RTCP.
    pub mux: bool,
    /// `a=ptime` in milliseconds.
    pub ptime: Option<u32>,
    /// The transport, `RTP/AVP`.
    pub protocol: String,
    /// What is said of encryption.
    pub security: Security,
    /// The checks that are answered there.
    pub ice: Option<Ice>,
}

/// The answer to an offer. M-lines that `slots` has nothing for are refused.
#[must_use]
pub fn answer(offer: &Sdp, slots: &[Slot], origin: &Origin) -> String {
    let mut out = head(origin, &offer.timing);
    if slots.iter().any(|s| matches!(s, Slot::Take { ice: Some(_), .. })) {
        put(&mut out, format_args!("a=ice-lite"));
    }
    for (index, line) in offer.media.iter().enumerate() {
        match slots.get(index) {
            Some(Slot::Take { rtp, rtcp_port, direction, mux, security, ice }) => {
                media_head(&mut out, line, rtp.port());
                connection(&mut out, rtp.ip(), origin);
                echo(&mut out, line, &["rtpmap", "fmtp", "ptime"]);
                let mux = *mux && line.rtcp_mux;
                transport(&mut out, *rtp, *rtcp_port, mux, *direction);
                security.write(&mut out);
                if let Some(ice) = ice {
                    write_ice(&mut out, ice, *rtp, *rtcp_port, mux);
                }
            }
            Some(Slot::Refuse) | None => media_head(&mut out, line, 0),
        }
        echo(&mut out, line, &["mid", "label"]);
    }
    out
}

/// An offer of ours, for a delayed offer or a call that we make.
#[must_use]
pub fn offer(lines: &[OfferLine], origin: &Origin) -> String {
    let mut out = head(origin, "0 0");
    if lines.iter().any(|line| line.ice.is_some()) {
        put(&mut out, format_args!("a=ice-lite"));
    }
    for line in lines {
        let media = match line.kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
            MediaKind::Other => "application",
        };
        let formats: String = line.codecs.iter().map(|(n, _)| format!(" {n}")).collect();
        put(&mut out, format_args!("m={media} {} {}{formats}", line.rtp.port(), line.protocol));
        connection(&mut out, line.rtp.ip(), origin);
        for (payload_type, codec) in &line.codecs {
            codec_lines(&mut out, *payload_type, codec);
        }
        if let Some(ptime) = line.ptime {
            put(&mut out, format_args!("a=ptime:{ptime}"));
        }
        transport(&mut out, line.rtp, line.rtcp_port, line.mux, line.direction);
        line.security.write(&mut out);
        if let Some(ice) = &line.ice {
            write_ice(&mut out, ice, line.rtp, line.rtcp_port, line.mux);
        }
        if let Some(label) = &line.label {
            put(&mut out, format_args!("a=label:{label}"));
        }
    }
    out
}

fn head(origin: &Origin, timing: &str) -> String {
    let mut out = String::with_capacity(512);
    let Origin { username, session_id, version, address } = origin;
    put(&mut out, format_args!("v=0"));
    put(&mut out, format_args!("o={username} {session_id} {version} IN {} {address}", family(*address)));
    put(&mut out, format_args!("s=-"));
    put(&mut out, format_args!("c=IN {} {address}", family(*address)));
    put(&mut out, format_args!("t={timing}"));
    out
}

fn media_head(out: &mut String, line: &MediaLine, port: u16) {
    // The grammar wants a format even where none was offered.
    let formats = if line.formats.is_empty() { "0".to_owned() } else { line.formats.join(" ") };
    put(out, format_args!("m={} {port} {} {formats}", line.media, line.protocol));
}

fn connection(out: &mut String, address: IpAddr, origin: &Origin) {
    if address != origin.address {
        put(out, format_args!("c=IN {} {address}", family(address)));
    }
}

fn echo(out: &mut String, line: &MediaLine, names: &[&str]) {
    for (name, value) in &line.attributes {
        if let (true, Some(value)) = (names.iter().any(|n| name.eq_ignore_ascii_case(n)), value) {
            put(out, format_args!("a={name}:{value}"));
        }
    }
}

fn transport(out: &mut String, rtp: SocketAddr, rtcp_port: u16, mux: bool, direction: Direction) {
    if mux {
        put(out, format_args!("a=rtcp-mux"));
    } else if rtp.port().checked_add(1) != Some(rtcp_port) {
        put(out, format_args!("a=rtcp:{rtcp_port}"));
    }
    put(out, format_args!("a={}", direction.as_str()));
}

fn codec_lines(out: &mut String, payload_type: u8, codec: &Codec) {
    let Codec { name, clock_rate, channels, fmtp } = codec;
    if *channels > 1 {
        put(out, format_args!("a=rtpmap:{payload_type} {name}/{clock_rate}/{channels}"));
    } else {
        put(out, format_args!("a=rtpmap:{payload_type} {name}/{clock_rate}"));
    }
    if let Some(fmtp) = fmtp {
        put(out, format_args!("a=fmtp:{payload_type} {fmtp}"));
    }
}

const fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    }
}

/// One line. Writing to a string cannot fail.
fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(line);
    out.push_str("\r\n");
}

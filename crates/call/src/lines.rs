//! The m-lines of a recording dialog: what was offered, which stream of ours serves it, what is answered.
//!
//! An offer is answered m-line for m-line (RFC 3264 section 6): RTP audio and video are received, everything
//! else gets port 0; what is held is answered `inactive`, the rest `recvonly`. Nothing here sends or waits.

use std::net::{IpAddr, SocketAddr};

use crate::describe::KnownSides;
use crate::encryption;
use bytes::Bytes;
use media::sdp::{self, Crypto, Direction, MediaLine, Origin, Sdp, Security, Slot};
use media::srtp::Entropy;
use model::peer::{Family, Flowing};
use model::{Codec, IdGenerator, MediaKind, Now, OpenStream, Protection, Side, StreamId, StreamPorts};

/// Streams of one dialog. SIPREC clients use up to 4; 16 leaves room for video and screen of a conference.
/// Further m-lines are answered with port 0.
const STREAMS_MAX: usize = 16;

/// The discard port (RFC 863): what an inactive line says while no socket of ours stands behind it, so that
/// media a client goes on sending during a hold reach nobody else's stream.
const NO_PORT: u16 = 9;

/// The transport of plain RTP.
const PLAIN: &str = "RTP/AVP";

/// One m-line of the dialog.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What it was offered for.
    kind: MediaKind,
    /// Its stream; none when it is refused.
    pub(crate) stream: Option<OpenStream>,
    /// The ports behind it, while a segment is open.
    pub(crate) ports: Option<StreamPorts>,
    /// The transport, `RTP/AVP`.
    protocol: String,
    /// Keys of ours that stand in our last description.
    ours: Vec<Crypto>,
}

impl Line {
    fn refused(kind: MediaKind) -> Self {
        Self { kind, stream: None, ports: None, protocol: PLAIN.to_owned(), ours: Vec::new() }
    }

    /// Whether it has a stream whose ports are not known (yet).
    pub(crate) fn lacks_ports(&self) -> bool {
        self.stream.is_some() && self.ports.is_none()
    }

    /// Whether its keys stand in descriptions.
    pub(crate) fn has_keys(&self) -> bool {
        !self.ours.is_empty()
    }

    /// Whether media are expected on it.
    pub(crate) fn is_active(&self) -> bool {
        self.stream.as_ref().is_some_and(|s| s.flowing == Flowing::Active)
    }
}

/// The addresses of ours that senders are told, by family.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addresses {
    pub(crate) v4: Option<IpAddr>,
    pub(crate) v6: Option<IpAddr>,
}

impl Addresses {
    fn of(self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// A record server that listens on every address of a family names none: then it is ours of that family.
    fn told(self, rtp: SocketAddr) -> SocketAddr {
        let family = if rtp.is_ipv6() { Family::V6 } else { Family::V4 };
        match self.of(family) {
            Some(ip) if rtp.ip().is_unspecified() => SocketAddr::new(ip, rtp.port()),
            _ => rtp,
        }
    }
}

/// How descriptions are read.
pub(crate) struct Reading<'a> {
    /// Whose voice is where.
    pub(crate) sides: &'a KnownSides,
    /// What a line is on which nothing is sent: held, or paused where the client is configured to mean that.
    pub(crate) inactive: Flowing,
    /// Where we can be reached: a line of another family is refused.
    pub(crate) addresses: Addresses,
}

/// Reads an offer or answer into lines. Lines that were there keep their stream ids, as an m-line keeps its
/// place for the life of a dialog (RFC 3264 section 8).
pub(crate) fn read(
    sdp: &Sdp,
    before: &[Line],
    reading: &Reading<'_>,
    ids: &mut IdGenerator,
    mut entropy: Option<&mut Entropy>,
    now: Now,
) -> Vec<Line> {
    let has_entropy = entropy.is_some();
    let takes = |m: &MediaLine| {
        wanted(m) && reading.addresses.of(family(m)).is_some() && encryption::can_open(m, has_entropy)
    };
    let count = sdp.media.iter().filter(|m| takes(m)).count();
    let mut index = 0;
    let mut lines = Vec::with_capacity(sdp.media.len());
    for (slot, media) in sdp.media.iter().enumerate() {
        if index >= STREAMS_MAX || !takes(media) {
            lines.push(Line::refused(media.kind));
            continue;
        }
        // A stream of another kind or family in the same place is another stream.
        let old = before
            .get(slot)
            .filter(|l| l.stream.as_ref().is_some_and(|s| s.kind == media.kind && s.family == family(media)));
        let side = reading.sides.side(media.label.as_deref(), index, count);
        let id = old.and_then(|l| l.stream.as_ref()).map_or_else(|| ids.stream(now.wall), |s| s.stream);
        let known = old.map_or(&[][..], |l| &l.ours);
        let (protection, ours) = encryption::agree(media, known, entropy.as_deref_mut());
        lines.push(Line {
            kind: media.kind,
            stream: Some(OpenStream { protection, ..stream(id, slot, media, side, reading.inactive) }),
            ports: old.and_then(|l| l.ports.clone()),
            protocol: media.protocol.clone(),
            ours,
        });
        index += 1;
    }
    lines
}

fn family(media: &MediaLine) -> Family {
    match media.address {
        Some(IpAddr::V6(_)) => Family::V6,
        _ => Family::V4,
    }
}

/// RTP audio or video that somebody means to send one day.
fn wanted(media: &MediaLine) -> bool {
    media.port != 0 && media.is_rtp() && media.kind != MediaKind::Other && !media.codecs.is_empty()
}

fn stream(id: StreamId, slot: usize, media: &MediaLine, side: Side, inactive: Flowing) -> OpenStream {
    let remote = media.remote_rtp();
    OpenStream {
        stream: id,
        slot: u16::try_from(slot).unwrap_or(u16::MAX),
        label: media.label.clone(),
        kind: media.kind,
        side,
        codecs: media.codecs.clone(),
        family: family(media),
        remote,
        remote_rtcp: media.remote_rtcp(),
        rtcp_mux: media.rtcp_mux,
        flowing: if media.is_held() { inactive } else { Flowing::Active },
        protection: Protection::None,
        ice: None,
    }
}

/// Whether nothing is expected on any line: the call is on hold. A pause is none: the segment goes on.
pub(crate) fn all_held(lines: &[Line]) -> bool {
    lines.iter().filter_map(|l| l.stream.as_ref()).all(|s| s.flowing == Flowing::Held)
}

/// Whether nothing arrives on any line, and on one at least because SDP pauses it: a pause of the whole call.
pub(crate) fn all_paused<'a>(lines: impl Iterator<Item = &'a Line> + Clone) -> bool {
    let flowing = || lines.clone().filter_map(|l| l.stream.as_ref()).map(|s| s.flowing);
    flowing().any(|f| f == Flowing::Paused) && !flowing().any(|f| f == Flowing::Active)
}

/// Takes the ports that a record server opened.
pub(crate) fn set_ports(lines: &mut [Line], ports: &[StreamPorts]) {
    for line in lines {
        line.ports = line.stream.as_ref().and_then(|s| ports.iter().find(|p| p.stream == s.stream).cloned());
    }
}

/// Forgets the ports: the segment behind them is over.
pub(crate) fn close(lines: &mut [Line]) {
    for line in lines {
        line.ports = None;
    }
}

/// The answer to `offer`.
pub(crate) fn answer(offer: &Sdp, lines: &[Line], origin: &Origin, addresses: Addresses) -> Bytes {
    let slots: Vec<Slot> = lines.iter().map(|l| slot(l, origin.address, addresses)).collect();
    Bytes::from(sdp::answer(offer, &slots, origin))
}

fn slot(line: &Line, own: IpAddr, addresses: Addresses) -> Slot {
    let Some(stream) = &line.stream else { return Slot::Refuse };
    let direction = if line.is_active() { Direction::RecvOnly } else { Direction::Inactive };
    match &line.ports {
        Some(ports) => Slot::Take {
            rtp: addresses.told(ports.rtp),
            rtcp_port: ports.rtcp.port(),
            direction,
            mux: stream.rtcp_mux,
            security: encryption::said(&line.ours),
        },
        None => Slot::Take {
            rtp: SocketAddr::new(addresses.of(stream.family).unwrap_or(own), NO_PORT),
            rtcp_port: NO_PORT,
            direction: Direction::Inactive,
            mux: stream.rtcp_mux,
            security: encryption::said(&line.ours),
        },
    }
}

/// The offer that a 200 carries when the request had none (RFC 3261 section 13.2.1): what our ports can take.
/// Every line keeps its place; one that was refused has port 0 (RFC 3264 section 8.2).
pub(crate) fn offer(lines: &[Line], origin: &Origin, addresses: Addresses) -> Bytes {
    let lines: Vec<_> = lines.iter().map(|line| offered(line, origin.address, addresses)).collect();
    Bytes::from(sdp::offer(&lines, origin))
}

fn offered(line: &Line, own: IpAddr, addresses: Addresses) -> sdp::OfferLine {
    let Some(stream) = line.stream.as_ref() else {
        return sdp::OfferLine {
            kind: line.kind,
            rtp: SocketAddr::new(own, 0),
            rtcp_port: 0,
            codecs: vec![(0, Codec::new("PCMU", 8_000, 1))],
            direction: Direction::Inactive,
            label: None,
            mux: true,
            ptime: None,
            protocol: line.protocol.clone(),
            security: Security::None,
        };
    };
    // Without ports the line is not given up, but nothing is wanted on it.
    let (rtp, rtcp_port, direction) = match &line.ports {
        Some(ports) => (addresses.told(ports.rtp), ports.rtcp.port(), Direction::RecvOnly),
        None => {
            let address = addresses.of(stream.family).unwrap_or(own);
            (SocketAddr::new(address, NO_PORT), NO_PORT, Direction::Inactive)
        }
    };
    sdp::OfferLine {
        kind: stream.kind,
        rtp,
        rtcp_port,
        codecs: stream.codecs.clone(),
        direction,
        label: stream.label.clone(),
        mux: stream.rtcp_mux,
        ptime: None,
        protocol: line.protocol.clone(),
        security: encryption::said(&line.ours),
    }
}

/// The lines that we ask for in a delayed offer where nothing is known yet.
pub(crate) fn asked(codecs: &[(u8, Codec)], family: Family, ids: &mut IdGenerator, now: Now) -> Vec<Line> {
    vec![Line {
        kind: MediaKind::Audio,
        stream: Some(OpenStream {
            stream: ids.stream(now.wall),
            slot: 0,
            label: None,
            kind: MediaKind::Audio,
            side: Side::Mixed,
            codecs: codecs.to_vec(),
            family,
            remote: None,
            remote_rtcp: None,
            rtcp_mux: false,
            flowing: Flowing::Active,
            protection: Protection::None,
            ice: None,
        }),
        ports: None,
        protocol: PLAIN.to_owned(),
        ours: Vec::new(),
    }]
}

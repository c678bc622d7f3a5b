//! The m-lines of a recording dialog: what was offered, which stream of ours serves it, what is answered.
//!
//! An offer is answered m-line for m-line (RFC 3264 section 6): RTP audio and video are received, everything
//! else gets port 0; what is held is answered `inactive`, the rest `recvonly`. Nothing here sends or waits.

use std::net::{IpAddr, SocketAddr};

use crate::describe::KnownSides;
use bytes::Bytes;
use media::sdp::{self, Direction, MediaLine, Origin, Sdp, Slot};
use model::peer::{Family, Flowing};
use model::{Codec, IdGenerator, MediaKind, Now, OpenStream, Side, StreamId, StreamPorts};

/// Streams of one dialog. SIPREC clients use up to 4; 16 leaves room for video and screen of a conference.
/// Further m-lines are answered with port 0.
const LINES_MAX: usize = 16;

/// The discard port (RFC 863): what an inactive line says while no socket of ours stands behind it, so that
/// media a client goes on sending during a hold reach nobody else's stream.
const NO_PORT: u16 = 9;

/// One m-line of the dialog.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Its stream; none when it is refused.
    pub(crate) stream: Option<OpenStream>,
    /// The ports behind it, while a segment is open.
    pub(crate) ports: Option<StreamPorts>,
}

impl Line {
    fn refused() -> Self {
        Self { stream: None, ports: None }
    }

    /// Whether media are expected on it.
    pub(crate) fn is_active(&self) -> bool {
        self.stream.as_ref().is_some_and(|s| s.flowing == Flowing::Active)
    }
}

/// How descriptions are read.
pub(crate) struct Reading<'a> {
    /// Whose voice is where.
    pub(crate) sides: &'a KnownSides,
    /// What a line is on which nothing is sent: held, or paused where the client is configured to mean that.
    pub(crate) inactive: Flowing,
}

/// Reads an offer or answer into lines. Lines that were there keep their stream ids, as an m-line keeps its
/// place for the life of a dialog (RFC 3264 section 8).
pub(crate) fn read(
    sdp: &Sdp,
    before: &[Line],
    reading: &Reading<'_>,
    ids: &mut IdGenerator,
    now: Now,
) -> Vec<Line> {
    let count = sdp.media.iter().filter(|m| wanted(m)).count();
    let mut index = 0;
    let mut lines = Vec::with_capacity(sdp.media.len().min(LINES_MAX));
    for (slot, media) in sdp.media.iter().enumerate() {
        if slot >= LINES_MAX || !wanted(media) {
            lines.push(Line::refused());
            continue;
        }
        let old = before.get(slot).and_then(|l| l.stream.as_ref());
        let side = reading.sides.side(media.label.as_deref(), index, count);
        let id = old.map_or_else(|| ids.stream(now.wall), |s| s.stream);
        lines.push(Line {
            stream: Some(stream(id, slot, media, side, reading.inactive)),
            ports: before.get(slot).and_then(|l| l.ports.clone()),
        });
        index += 1;
    }
    lines
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
        family: match media.address {
            Some(IpAddr::V6(_)) => Family::V6,
            _ => Family::V4,
        },
        remote,
        remote_rtcp: media.remote_rtcp(),
        rtcp_mux: media.rtcp_mux,
        flowing: if media.is_held() { inactive } else { Flowing::Active },
    }
}

/// The streams that a record server is to receive.
pub(crate) fn streams(lines: &[Line]) -> Vec<OpenStream> {
    lines.iter().filter_map(|l| l.stream.clone()).collect()
}

/// Whether nothing is expected on any line: the call is on hold. A pause is none: the segment goes on.
pub(crate) fn all_held(lines: &[Line]) -> bool {
    lines.iter().filter_map(|l| l.stream.as_ref()).all(|s| s.flowing == Flowing::Held)
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
pub(crate) fn answer(offer: &Sdp, lines: &[Line], origin: &Origin) -> Bytes {
    let slots: Vec<Slot> = lines.iter().map(|l| slot(l, origin.address)).collect();
    Bytes::from(sdp::answer(offer, &slots, origin))
}

fn slot(line: &Line, own: IpAddr) -> Slot {
    let Some(stream) = &line.stream else { return Slot::Refuse };
    let direction = if line.is_active() { Direction::RecvOnly } else { Direction::Inactive };
    match &line.ports {
        Some(ports) => Slot::Take {
            rtp: told(ports.rtp, own),
            rtcp_port: ports.rtcp.port(),
            direction,
            mux: stream.rtcp_mux,
        },
        None => Slot::Take {
            rtp: SocketAddr::new(own, NO_PORT),
            rtcp_port: NO_PORT,
            direction: Direction::Inactive,
            mux: stream.rtcp_mux,
        },
    }
}

/// A record server that listens on every address names none: then it is the one that the request came to.
fn told(rtp: SocketAddr, own: IpAddr) -> SocketAddr {
    if rtp.ip().is_unspecified() { SocketAddr::new(own, rtp.port()) } else { rtp }
}

/// The offer that a 200 carries when the request had none (RFC 3261 section 13.2.1): what our ports can take.
pub(crate) fn offer(lines: &[Line], origin: &Origin) -> Bytes {
    let lines: Vec<_> = lines
        .iter()
        .filter_map(|line| {
            let (stream, ports) = (line.stream.as_ref()?, line.ports.as_ref()?);
            Some(sdp::OfferLine {
                kind: stream.kind,
                rtp: told(ports.rtp, origin.address),
                rtcp_port: ports.rtcp.port(),
                codecs: stream.codecs.clone(),
                direction: Direction::RecvOnly,
                label: stream.label.clone(),
                mux: stream.rtcp_mux,
                ptime: None,
            })
        })
        .collect();
    Bytes::from(sdp::offer(&lines, origin))
}

/// The lines that we ask for in a delayed offer where nothing is known yet.
pub(crate) fn asked(codecs: &[(u8, Codec)], family: Family, ids: &mut IdGenerator, now: Now) -> Vec<Line> {
    vec![Line {
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
        }),
        ports: None,
    }]
}

//! The m-lines of a recording dialog: what was offered, which stream of ours serves it, what is answered.
//!
//! An offer is answered m-line for m-line (RFC 3264 section 6): RTP audio and video are received, everything
//! else gets port 0; what is held is answered `inactive`, the rest `recvonly`. Nothing here sends or waits.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ask::AskEncrypted;
use crate::describe::{KnownSides, Place};
use crate::encryption::{self, Agreed, OwnKeys, Ports};
use crate::trunk::KeysBy;
use bytes::Bytes;
use media::sdp::{self, Direction, MediaLine, Origin, Sdp, Security, Slot};
use model::peer::{Family, Flowing};
use model::{
    Codec, IdGenerator, Keys, MediaKind, Now, OpenStream, Protection, Route, Side, StreamId, StreamPorts,
};

/// Streams of one dialog. SIPREC clients use up to 4; 16 leaves room for video and screen of a conference.
/// Further m-lines are answered with port 0.
const STREAMS_MAX: usize = 16;

/// The discard port (RFC 863): what an inactive line says while no socket of ours stands behind it, so that
/// media a client goes on sending during a hold reach nobody else's stream.
const NO_PORT: u16 = 9;

/// The transport of plain RTP.
const PLAIN: &str = "RTP/AVP";

/// One m-line of the dialog. What it is encrypted by is left out of its stream wherever that is written, and stands in
/// `agreed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    /// What it was offered for.
    kind: MediaKind,
    /// Its stream; none when it is refused.
    pub(crate) stream: Option<OpenStream>,
    /// The ports behind it, while a segment is open.
    pub(crate) ports: Option<StreamPorts>,
    /// Where its client was told last to send RTP.
    told: Option<SocketAddr>,
    /// What the offer of ours says of that which is under way. It waits for its turn, and an answer may be told before.
    offered: Option<SocketAddr>,
    /// The transport, `RTP/AVP`.
    protocol: String,
    /// How it is encrypted, and what our last description said of that.
    #[serde(with = "encryption::form")]
    agreed: Agreed,
    /// The stream that it had last: it keeps its place among those of its kind, so that nobody else's voice moves up, and
    /// its id when it is offered again.
    had: Option<(StreamId, Family)>,
}

impl Line {
    fn refused(kind: MediaKind, before: Option<&Self>) -> Self {
        Self {
            kind,
            stream: None,
            ports: None,
            told: None,
            offered: None,
            protocol: PLAIN.to_owned(),
            agreed: Agreed::default(),
            had: before.filter(|l| l.kind == kind).and_then(|l| l.had),
        }
    }

    /// One that another front wrote down, whole again.
    pub(crate) fn adopted(mut self) -> Self {
        if let Some(stream) = &mut self.stream {
            stream.protection = self.agreed.protection.clone();
            stream.ice = self.agreed.ice.as_ref().map(|(ours, _)| ours.clone());
        }
        self
    }

    /// Whether it has a stream whose ports are not known (yet).
    pub(crate) fn lacks_ports(&self) -> bool {
        self.stream.is_some() && self.ports.is_none()
    }

    /// Whether it cannot be heard where it is.
    pub(crate) fn is_stuck(&self) -> bool {
        self.ports.as_ref().is_some_and(|ports| ports.is_stuck)
    }

    fn rtp(&self) -> Option<SocketAddr> {
        self.ports.as_ref().map(|ports| ports.rtp)
    }

    /// Whether its client sends to another port than it has.
    pub(crate) fn is_misled(&self) -> bool {
        self.told.is_some() && self.rtp().is_some() && self.told != self.rtp()
    }

    /// Whether its keys stand in descriptions.
    pub(crate) const fn has_keys(&self) -> bool {
        matches!(self.agreed.said, Security::Sdes(_))
    }

    /// Whether its stream is this one.
    pub(crate) fn has_stream(&self, stream: StreamId) -> bool {
        self.stream.as_ref().is_some_and(|s| s.stream == stream)
    }

    /// Takes keys that are given beside signalling, where it awaits them or has such already.
    pub(crate) fn give(&mut self, keys: Keys) -> Given {
        let Some(stream) = self.stream.as_mut() else { return Given::Refused };
        let given = match &self.agreed.protection {
            Protection::Awaited => Given::New,
            Protection::Given(before) if *before == keys => Given::Known,
            Protection::Given(_) => Given::New,
            Protection::None | Protection::Srtp { .. } | Protection::Dtls(_) => return Given::Refused,
        };
        self.agreed.given = Some(keys.clone());
        self.agreed.protection = Protection::Given(keys);
        stream.protection = self.agreed.protection.clone();
        given
    }

    /// Whether media are expected on it.
    pub(crate) fn is_active(&self) -> bool {
        self.stream.as_ref().is_some_and(|s| s.flowing == Flowing::Active)
    }
}

/// What becomes of keys that are given for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// It had none, or others.
    New,
    /// It had these.
    Known,
    /// It is not opened by such keys.
    Refused,
}

/// The addresses of ours that senders are told, by family.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
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
    /// Whether video is wanted.
    pub(crate) video: bool,
    /// By which way keys come.
    pub(crate) keys: KeysBy,
}

/// Reads an offer or answer into lines. Lines that were there keep their stream ids, as an m-line keeps its
/// place for the life of a dialog (RFC 3264 section 8).
pub(crate) fn read(
    sdp: &Sdp,
    before: &[Line],
    reading: &Reading<'_>,
    ids: &mut IdGenerator,
    mut own: Option<&mut OwnKeys>,
    now: Now,
) -> Vec<Line> {
    let takes = |m: &MediaLine| {
        let can_reach = reading.addresses.of(family(m)).is_some();
        wanted(m, reading.video) && can_reach && encryption::can_open(m, reading.keys, own.as_deref())
    };
    let taking: Vec<bool> = sdp.media.iter().map(takes).collect();
    let takes = |slot: usize| taking.get(slot).is_some_and(|t| *t);
    let has_place = |(slot, m): (usize, &MediaLine)| {
        takes(slot) || before.get(slot).is_some_and(|l| l.had.is_some() && l.kind == m.kind)
    };
    let is_held = |m: &MediaLine| m.is_held() && reading.inactive == Flowing::Held;
    // Whether there is a segment, with ports for each line, or will be.
    let flows = sdp.media.iter().enumerate().any(|(slot, m)| takes(slot) && !is_held(m));
    let mut taken = 0;
    let mut lines: Vec<Line> = Vec::with_capacity(sdp.media.len());
    for (slot, media) in sdp.media.iter().enumerate() {
        if taken >= STREAMS_MAX || !takes(slot) {
            lines.push(Line::refused(media.kind, before.get(slot)));
            continue;
        }
        taken += 1;
        // A stream of another kind or family in the same place is another stream.
        let old = before
            .get(slot)
            .filter(|l| l.stream.as_ref().is_some_and(|s| s.kind == media.kind && s.family == family(media)));
        let known = old.and_then(|l| l.stream.as_ref());
        // Whose voice it is goes by places among lines of its kind: video beside one mixed line makes no two sides.
        let all = || sdp.media.iter().enumerate().filter(|m| has_place(*m));
        let of_kind = || all().filter(|(_, m)| m.kind == media.kind);
        let place = Place {
            slot,
            among: all().filter(|(at, _)| *at < slot).count(),
            total: all().count(),
            index: of_kind().filter(|(at, _)| *at < slot).count(),
            count: of_kind().count(),
        };
        let side = reading.sides.side(label_that_tells(sdp, media), place);
        let had = before.get(slot).filter(|l| l.kind == media.kind).and_then(|l| l.had);
        let same = had.filter(|(_, before)| *before == family(media)).map(|(id, _)| id);
        let id = same.unwrap_or_else(|| ids.stream(now.wall));
        let codecs = codecs(media, known.map_or(&[][..], |s| &s.codecs));
        let ports = match old {
            Some(old) if flows && old.ports.is_none() => Ports::New,
            _ => Ports::Kept,
        };
        let agreed =
            encryption::agree(media, (old.map(|l| &l.agreed), ports), reading.keys, own.as_deref_mut());
        let protection = agreed.protection.clone();
        let ice = agreed.ice.as_ref().map(|(ours, _)| ours.clone());
        let stream = stream(id, slot, media, codecs, side, reading.inactive);
        lines.push(Line {
            kind: media.kind,
            stream: Some(OpenStream { protection, ice, ..stream }),
            ports: old.and_then(|l| l.ports.clone()),
            told: old.and_then(|l| l.told),
            offered: old.and_then(|l| l.offered),
            protocol: media.protocol.clone(),
            agreed,
            had: Some((id, family(media))),
        });
    }
    lines
}

/// The label of a line, unless another line has the same: then it says nothing of either.
fn label_that_tells<'a>(sdp: &Sdp, media: &'a MediaLine) -> Option<&'a str> {
    let label = media.label.as_deref()?;
    (sdp.media.iter().filter(|m| m.label.as_deref() == Some(label)).count() == 1).then_some(label)
}

/// What the payload types of a line stand for. A description that repeats a line often leaves out what its dynamic
/// payload types are, and an answer means them as we offered them: then it is as before.
fn codecs(media: &MediaLine, before: &[(u8, Codec)]) -> Vec<(u8, Codec)> {
    let mut codecs = media.codecs.clone();
    for payload_type in media.formats.iter().filter_map(|f| f.parse::<u8>().ok()) {
        if codecs.iter().all(|(known, _)| *known != payload_type) {
            codecs.extend(before.iter().find(|(known, _)| *known == payload_type).cloned());
        }
    }
    codecs
}

fn family(media: &MediaLine) -> Family {
    match media.address {
        Some(IpAddr::V6(_)) => Family::V6,
        _ => Family::V4,
    }
}

/// RTP audio or video that somebody means to send one day. What its payload types are need not be known: whole
/// packets are kept of what is not.
fn wanted(media: &MediaLine, video: bool) -> bool {
    let kind = match media.kind {
        MediaKind::Audio => true,
        MediaKind::Video => video,
        MediaKind::Other => false,
    };
    kind && media.port != 0 && media.is_rtp() && !media.formats.is_empty()
}

fn stream(
    id: StreamId,
    slot: usize,
    media: &MediaLine,
    codecs: Vec<(u8, Codec)>,
    side: Side,
    inactive: Flowing,
) -> OpenStream {
    let remote = media.remote_rtp();
    OpenStream {
        stream: id,
        slot: u16::try_from(slot).unwrap_or(u16::MAX),
        label: media.label.clone(),
        kind: media.kind,
        side,
        codecs,
        family: family(media),
        remote,
        remote_rtcp: media.remote_rtcp(),
        may_share: false,
        rtcp_mux: media.rtcp_mux,
        route: Route::Direct,
        flowing: if media.is_held() { inactive } else { Flowing::Active },
        protection: Protection::None,
        ice: None,
    }
}

/// Whether nothing is expected on any line: the call is on hold. A pause is none: the segment goes on.
pub(crate) fn all_held(lines: &[Line]) -> bool {
    lines.iter().filter_map(|l| l.stream.as_ref()).all(|s| s.flowing == Flowing::Held)
}

/// Whether nothing arrives on any line, and on one at least because SDP pauses it: its client asks for a pause.
pub(crate) fn all_paused(lines: &[Line]) -> bool {
    let flowing = || lines.iter().filter_map(|l| l.stream.as_ref()).map(|s| s.flowing);
    flowing().any(|f| f == Flowing::Paused) && !flowing().any(|f| f == Flowing::Active)
}

/// Takes the ports that a record server opened.
pub(crate) fn set_ports(lines: &mut [Line], ports: &[StreamPorts]) {
    for line in lines {
        line.ports = line.stream.as_ref().and_then(|s| ports.iter().find(|p| p.stream == s.stream).cloned());
    }
}

/// The client is told of the ports as they are.
pub(crate) fn tell(lines: &mut [Line]) {
    lines.iter_mut().for_each(|line| line.told = line.rtp());
}

/// The client is offered the ports as they are, by and by.
pub(crate) fn note_offered(lines: &mut [Line]) {
    lines.iter_mut().for_each(|line| line.offered = line.rtp());
}

/// The client has heard that offer.
pub(crate) fn tell_offered(lines: &mut [Line]) {
    lines.iter_mut().for_each(|line| line.told = line.offered);
}

/// Forgets the ports: the segment behind them is over.
pub(crate) fn close(lines: &mut [Line]) {
    for line in lines {
        line.ports = None;
    }
}

/// Lines that have no ports are refused after all.
pub(crate) fn give_up(lines: &mut [Line]) {
    for line in lines.iter_mut().filter(|line| line.lacks_ports()) {
        line.stream = None;
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
            security: line.agreed.said.clone(),
            ice: stream.ice.clone(),
        },
        None => Slot::Take {
            rtp: SocketAddr::new(addresses.of(stream.family).unwrap_or(own), NO_PORT),
            rtcp_port: NO_PORT,
            direction: Direction::Inactive,
            mux: stream.rtcp_mux,
            security: line.agreed.said.clone(),
            ice: stream.ice.clone(),
        },
    }
}

/// The offer that a 200 carries when the request had none (RFC 3261 section 13.2.1): what our ports can take.
/// Every line keeps its place; one that was refused has port 0 (RFC 3264 section 8.2).
pub(crate) fn offer(lines: &[Line], origin: &Origin, addresses: Addresses) -> Bytes {
    let offered = |line| offered(line, origin.address, addresses, Direction::Inactive);
    Bytes::from(sdp::offer(&lines.iter().map(offered).collect::<Vec<_>>(), origin))
}

/// The same on hold, where no ports are open: what the client wants is asked.
pub(crate) fn offer_to_resume(lines: &[Line], origin: &Origin, addresses: Addresses) -> Bytes {
    let offered = |line| offered(line, origin.address, addresses, Direction::RecvOnly);
    Bytes::from(sdp::offer(&lines.iter().map(offered).collect::<Vec<_>>(), origin))
}

/// A line as it is offered; without ports in that direction.
fn offered(line: &Line, own: IpAddr, addresses: Addresses, without_ports: Direction) -> sdp::OfferLine {
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
            ice: None,
        };
    };
    // Without ports the line is not given up.
    let (rtp, rtcp_port, direction) = match &line.ports {
        Some(ports) => (addresses.told(ports.rtp), ports.rtcp.port(), Direction::RecvOnly),
        None => {
            let address = addresses.of(stream.family).unwrap_or(own);
            (SocketAddr::new(address, NO_PORT), NO_PORT, without_ports)
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
        security: encryption::offered(&line.agreed.said),
        ice: stream.ice.clone(),
    }
}

/// What is asked for in a delayed offer.
pub(crate) struct Wanted {
    pub(crate) audio: Vec<(u8, Codec)>,
    pub(crate) video: Vec<(u8, Codec)>,
    pub(crate) family: Family,
    /// Whose voice is expected.
    pub(crate) side: Side,
    /// How they are encrypted.
    pub(crate) encrypted: AskEncrypted,
}

/// The lines that we ask for in a delayed offer where nothing is known yet: one of audio, and one of video where its
/// codecs are wanted.
pub(crate) fn asked(
    wanted: Wanted,
    ids: &mut IdGenerator,
    mut own: Option<&mut OwnKeys>,
    now: Now,
) -> Vec<Line> {
    let Wanted { audio, video, family, side, encrypted } = wanted;
    let kinds = [(MediaKind::Audio, audio), (MediaKind::Video, video)];
    let wanted = kinds.into_iter().filter(|(_, codecs)| !codecs.is_empty());
    let line = |(slot, (kind, codecs)): (u16, (MediaKind, Vec<(u8, Codec)>))| {
        let (agreed, protocol) = encryption::asked(encrypted, own.as_deref_mut());
        let stream = OpenStream {
            stream: ids.stream(now.wall),
            slot,
            label: None,
            kind,
            side,
            codecs,
            family,
            remote: None,
            remote_rtcp: None,
            may_share: false,
            rtcp_mux: false,
            route: Route::Direct,
            flowing: Flowing::Active,
            protection: agreed.protection.clone(),
            ice: None,
        };
        let (protocol, had) = (protocol.to_owned(), Some((stream.stream, family)));
        let (told, offered) = (None, None);
        Line { kind, stream: Some(stream), ports: None, told, offered, protocol, agreed, had }
    };
    (0..).zip(wanted).map(line).collect()
}

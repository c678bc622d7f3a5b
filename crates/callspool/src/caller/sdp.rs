//! What the caller offers and answers, and what it reads in answers.

use std::net::SocketAddr;

use media::sdp::{Crypto, Direction, MediaLine, OfferLine, Origin, Sdp, Security, Setup, Slot};
use model::protection::{Fingerprint, Handshake, HandshakeRole};
use model::{Codec, Keys, MediaKind};

use super::plan::{CallPlan, Law};

/// The dynamic payload type of telephone-event (RFC 4733): what most devices use. It is offered as they do,
/// and never sent.
const TELEPHONE_EVENT: u8 = 101;

/// Our side of one m-line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LocalStream {
    /// Where it is sent from.
    pub(super) rtp: SocketAddr,
    /// `a=label`.
    pub(super) label: String,
    /// What it is encrypted by, as offered.
    pub(super) keys: Option<Keys>,
    /// What it shows in a handshake, as offered.
    pub(super) certificate: Option<Fingerprint>,
}

/// Where a stream goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RemoteStream {
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: Option<SocketAddr>,
    /// What the peer encrypts by: in an offer, by cipher.
    pub(super) keys: Vec<Keys>,
    /// The handshake that it wants.
    pub(super) handshake: Option<Handshake>,
}

/// The tag of our line `a=crypto`.
const TAG: u32 = 1;

impl LocalStream {
    fn protocol(&self) -> &'static str {
        match (&self.keys, &self.certificate) {
            (_, Some(_)) => "UDP/TLS/RTP/SAVP",
            (Some(_), None) => "RTP/SAVP",
            (None, None) => "RTP/AVP",
        }
    }

    /// Whether an offered line can be answered by what we encrypt by.
    fn fits(&self, line: &MediaLine) -> bool {
        match (&self.keys, &self.certificate) {
            (_, Some(_)) => line.security.has_handshake(),
            (Some(keys), None) => line.security.crypto.iter().any(|c| c.keys.suite == keys.suite),
            (None, None) => !line.is_encrypted(),
        }
    }

    /// What an answer to this line says.
    fn answer(&self, line: &MediaLine) -> Security {
        if let Some(fingerprint) = self.certificate.clone() {
            // Whoever answers says who begins (RFC 5763 section 5).
            return Security::Dtls { fingerprint, setup: Setup::Active, id: None };
        }
        let suite = self.keys.as_ref().map(|keys| keys.suite);
        let chosen = line.security.crypto.iter().find(|c| Some(c.keys.suite) == suite);
        self.security(chosen.map_or(TAG, |c| c.tag))
    }

    fn security(&self, tag: u32) -> Security {
        if let Some(fingerprint) = self.certificate.clone() {
            return Security::Dtls { fingerprint, setup: Setup::ActPass, id: None };
        }
        let line = self.keys.clone().map(|keys| Crypto { tag, name: keys.suite.name().to_owned(), keys });
        line.map_or(Security::None, |line| Security::Sdes(vec![line]))
    }
}

/// Our descriptions of one call: the version grows with each.
pub(super) struct LocalSdp {
    streams: Vec<LocalStream>,
    codecs: Vec<(u8, Codec)>,
    ptime: u32,
    /// What we say while media flow.
    flowing: Direction,
    labels: bool,
    origin: Origin,
}

impl LocalSdp {
    pub(super) fn new(plan: &CallPlan, streams: Vec<LocalStream>, session_id: u64) -> Self {
        let name = match plan.law {
            Law::Pcmu => "PCMU",
            Law::Pcma => "PCMA",
        };
        let mut events = Codec::new("telephone-event", 8_000, 1);
        events.fmtp = Some("0-16".into());
        Self {
            streams,
            codecs: vec![(plan.payload_type(), Codec::new(name, 8_000, 1)), (TELEPHONE_EVENT, events)],
            ptime: plan.ptime_ms,
            flowing: if plan.siprec { Direction::SendOnly } else { Direction::SendRecv },
            labels: plan.siprec,
            origin: Origin { username: "-".into(), session_id, version: 0, address: plan.local },
        }
    }

    /// The next offer: media flow, or are held.
    pub(super) fn offer(&mut self, held: bool) -> String {
        self.origin.version += 1;
        let direction = if held { Direction::Inactive } else { self.flowing };
        let line = |s: &LocalStream| OfferLine {
            kind: MediaKind::Audio,
            rtp: s.rtp,
            rtcp_port: s.rtp.port() + u16::from(s.certificate.is_none()),
            codecs: self.codecs.clone(),
            direction,
            label: self.labels.then(|| s.label.clone()),
            // One handshake is enough for both.
            mux: s.certificate.is_some(),
            ptime: Some(self.ptime),
            protocol: s.protocol().to_owned(),
            security: s.security(TAG),
            ice: None,
        };
        media::sdp::offer(&self.streams.iter().map(line).collect::<Vec<_>>(), &self.origin)
    }

    /// The answer to an offer of the peer: a line of ours for each of its audio lines as far as there are some.
    pub(super) fn answer(&mut self, offer: &Sdp, held: bool) -> String {
        self.origin.version += 1;
        let mut ours = self.streams.iter();
        let slots: Vec<Slot> = offer
            .media
            .iter()
            .map(|line| {
                let stream = if line.kind == MediaKind::Audio { ours.next() } else { None };
                match stream.filter(|s| line.is_rtp() && !line.is_off() && s.fits(line)) {
                    Some(stream) => Slot::Take {
                        rtp: stream.rtp,
                        rtcp_port: stream.rtp.port() + u16::from(stream.certificate.is_none()),
                        direction: self.answer_direction(line, held),
                        mux: false,
                        security: stream.answer(line),
                        ice: None,
                    },
                    None => Slot::Refuse,
                }
            })
            .collect();
        media::sdp::answer(offer, &slots, &self.origin)
    }

    fn answer_direction(&self, line: &MediaLine, held: bool) -> Direction {
        match line.direction {
            _ if held => Direction::Inactive,
            Direction::RecvOnly => Direction::SendOnly,
            Direction::SendRecv => self.flowing,
            Direction::SendOnly | Direction::Inactive => Direction::Inactive,
        }
    }
}

/// Where our streams go by a description of the peer's, whose audio lines are ours in order; none for one that
/// it does not take.
pub(super) fn remotes(sdp: &Sdp, streams: usize) -> Vec<Option<RemoteStream>> {
    let remote = |line: &MediaLine| {
        let takes = matches!(line.direction, Direction::RecvOnly | Direction::SendRecv);
        let rtp = line.remote_rtp().filter(|_| takes)?;
        let keys = line.security.crypto.iter().map(|c| c.keys.clone()).collect();
        let handshake = line.security.has_handshake().then(|| Handshake {
            role: match line.security.setup {
                Some(Setup::Active) => HandshakeRole::Server,
                _ => HandshakeRole::Client,
            },
            peer: line.security.fingerprints.clone(),
            id: line.security.tls_id.clone(),
        });
        Some(RemoteStream { rtp, rtcp: line.remote_rtcp(), keys, handshake })
    };
    let mut audio = sdp.media.iter().filter(|line| line.kind == MediaKind::Audio);
    (0..streams).map(|_| audio.next().and_then(remote)).collect()
}

/// A description in a line per m-line, for reports.
pub(super) fn lines(sdp: &Sdp) -> Vec<String> {
    sdp.media
        .iter()
        .map(|line| {
            let address = match line.address {
                Some(address) => SocketAddr::new(address, line.port).to_string(),
                None => line.port.to_string(),
            };
            let codecs: Vec<String> =
                line.codecs.iter().map(|(n, c)| format!("{n}={}/{}", c.name, c.clock_rate)).collect();
            let label = line.label.as_ref().map(|l| format!(" label {l}")).unwrap_or_default();
            let (media, direction) = (&line.media, line.direction.as_str());
            format!("{media} {address} {direction} {}{label}", codecs.join(","))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::testing::plan;

    fn local(siprec: bool, streams: u16) -> LocalSdp {
        let streams = (0..streams)
            .map(|n| LocalStream {
                rtp: ([127, 0, 0, 1], 4000 + 2 * n).into(),
                label: (n + 1).to_string(),
                keys: None,
                certificate: None,
            })
            .collect();
        LocalSdp::new(&plan(siprec), streams, 7)
    }

    fn read(text: &str) -> Sdp {
        media::sdp::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn an_offer_says_what_a_recording_client_says_and_holds_by_inactive() {
        let mut local = local(true, 2);
        let first = read(&local.offer(false));
        assert_eq!(
            lines(&first),
            [
                "audio 127.0.0.1:4000 sendonly 0=PCMU/8000,101=TELEPHONE-EVENT/8000 label 1",
                "audio 127.0.0.1:4002 sendonly 0=PCMU/8000,101=TELEPHONE-EVENT/8000 label 2",
            ]
        );
        let held = read(&local.offer(true));
        assert!(held.media.iter().all(|l| l.direction == Direction::Inactive));
        assert_eq!((first.origin.version, held.origin.version), (1, 2));
    }

    #[test]
    fn a_plain_offer_is_sendrecv_without_labels() {
        let offer = read(&local(false, 1).offer(false));
        assert_eq!(lines(&offer), ["audio 127.0.0.1:4000 sendrecv 0=PCMU/8000,101=TELEPHONE-EVENT/8000"]);
    }

    #[test]
    fn only_lines_that_take_media_get_some() {
        let head = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n";
        let sdp = read(&format!(
            "{head}m=audio 5000 RTP/AVP 0\r\na=recvonly\r\nm=audio 0 RTP/AVP 0\r\nm=audio 5004 RTP/AVP 0\r\na=inactive\r\n"
        ));
        let first = RemoteStream {
            rtp: ([10, 0, 0, 1], 5000).into(),
            rtcp: Some(([10, 0, 0, 1], 5001).into()),
            keys: Vec::new(),
            handshake: None,
        };
        assert_eq!(remotes(&sdp, 4), [Some(first), None, None, None]);
    }

    #[test]
    fn an_offer_of_the_recorder_is_answered_line_for_line() {
        let head = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n";
        let offer = read(&format!(
            "{head}m=audio 5000 RTP/AVP 0\r\na=recvonly\r\nm=video 5002 RTP/AVP 99\r\nm=audio 5004 RTP/AVP 0\r\n"
        ));
        let answer = read(&local(true, 2).answer(&offer, false));
        let ports: Vec<u16> = answer.media.iter().map(|l| l.port).collect();
        assert_eq!(ports, [4000, 0, 4002]);
        assert_eq!(answer.media[0].direction, Direction::SendOnly);
        let ports: Vec<_> = remotes(&offer, 3).into_iter().map(|r| r.map(|r| r.rtp.port())).collect();
        assert_eq!(ports, [Some(5000), Some(5004), None]);
    }
}

//! A stream whose media come to ports of ours.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use media::relay::{Beginning, Follow, OpenEnd, Recorder, Recording, Remembers};
use media::srtp::Entropy;
use model::peer::Flowing;
use model::{Failure, Mark, OpenStream, Protection, Route, SegmentId, StreamPorts};

use super::{LineOrder, RelayPorts, failure};

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    /// As `Front` wants it.
    pub(super) open: OpenStream,
    /// Ours.
    ports: StreamPorts,
    mark: Mark,
    /// Segments that have it, or are to: two while one takes over from the other.
    pub(super) segments: BTreeSet<SegmentId>,
    /// The one whose record server is sent copies.
    pub(super) owner: Option<SegmentId>,
    /// Where they go; none: nowhere, or to where nobody is any more.
    to: Option<SocketAddr>,
    /// Where the same go too.
    second: Option<SocketAddr>,
    /// Its record server failed, and no other has it yet.
    is_held: bool,
    recording: Recording,
    /// What is remembered may hold what was not to be: the relay did not take the order.
    is_tainted: bool,
}

impl Line {
    pub(super) fn new(open: OpenStream, ports: StreamPorts, mark: Mark, segment: SegmentId) -> Self {
        let segments = BTreeSet::from([segment]);
        Self {
            open,
            ports,
            mark,
            segments,
            owner: None,
            to: None,
            second: None,
            is_held: false,
            recording: Recording::Goes,
            is_tainted: false,
        }
    }

    pub(super) fn is_of(&self, segment: SegmentId) -> bool {
        self.segments.contains(&segment)
    }

    /// A stream as its record server is to see it: all that comes is from the relay, and reports go back there. Octets pass
    /// as they are, so it has the keys of the sender; by keys of ours two servers would protect one after the other, and
    /// count from the beginning both.
    pub(super) fn show(&self, stream: &mut OpenStream) {
        stream.route = Route::Relayed(self.mark);
        (stream.remote, stream.remote_rtcp) = (None, None);
        (stream.may_share, stream.rtcp_mux) = (false, true);
        if let Protection::Srtp { inbound, .. } = &stream.protection {
            stream.protection = Protection::Given(inbound.clone());
        }
    }

    /// The ports that its client is told.
    pub(super) fn told(&self) -> StreamPorts {
        let mut ports = self.ports.clone();
        if self.open.rtcp_mux {
            ports.rtcp = ports.rtp;
        }
        ports
    }

    /// The record server of its segment receives it there. Another one than before is sent what is remembered first.
    pub(super) fn tee_to(&mut self, relay: &mut impl RelayPorts, rtp: SocketAddr) -> Result<(), Failure> {
        if self.to == Some(rtp) {
            return self.release(relay);
        }
        let recorder = self.recorder(rtp)?;
        let stream = self.open.stream;
        relay.carry_out(stream, LineOrder::Tee(recorder, self.beginning())).map_err(failure)?;
        self.to = Some(rtp);
        self.release(relay)
    }

    /// A second record server receives it there, or none does.
    pub(super) fn tee_second(
        &mut self,
        relay: &mut impl RelayPorts,
        rtp: Option<SocketAddr>,
    ) -> Result<(), Failure> {
        if self.second == rtp {
            return Ok(());
        }
        let recorder = rtp.map(|rtp| self.recorder(rtp)).transpose()?;
        let order = LineOrder::TeeSecond(recorder.map(|recorder| (recorder, self.beginning())));
        relay.carry_out(self.open.stream, order).map_err(failure)?;
        self.second = rtp;
        Ok(())
    }

    /// The first one is lost: the second gets from now on what that got. Both orders are carried out before another packet
    /// is looked at, so it gets all of them, once.
    pub(super) fn second_is_first(&mut self, relay: &mut impl RelayPorts) -> Result<(), Failure> {
        let Some(rtp) = self.second else {
            return Err(Failure::Resources("it was not sent to its second record server".to_owned()));
        };
        let (recorder, stream) = (self.recorder(rtp)?, self.open.stream);
        relay.carry_out(stream, LineOrder::Tee(recorder, Beginning::Now)).map_err(failure)?;
        self.to = Some(rtp);
        self.tee_second(relay, None)
    }

    fn recorder(&self, rtp: SocketAddr) -> Result<Recorder, Failure> {
        if rtp.ip().is_unspecified() {
            let why = "a record server names no address of its own: give it media.listen_v4 or advertised_v4";
            return Err(Failure::Resources(why.to_owned()));
        }
        Ok(Recorder { rtp, rtcp: Some(rtp), keys: None, mark: Some(self.mark) })
    }

    const fn beginning(&self) -> Beginning {
        if self.is_tainted { Beginning::Now } else { Beginning::Remembered }
    }

    /// Its record server failed: nothing of what is remembered is forgotten until another one has it.
    pub(super) fn hold(&mut self, relay: &mut impl RelayPorts, why: &Failure) {
        // Where the order is not taken two seconds are remembered, and what is missing then is told.
        self.is_held |= relay.carry_out(self.open.stream, LineOrder::Hold).is_ok();
        if *why == Failure::Process {
            // Whoever has that port later has begun anew.
            self.to = None;
        }
    }

    fn release(&mut self, relay: &mut impl RelayPorts) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_held) {
            relay.carry_out(self.open.stream, LineOrder::Release).map_err(failure)?;
        }
        Ok(())
    }

    /// Whether its segment is paused; a line that is not active is so by itself.
    pub(super) fn record(&mut self, relay: &mut impl RelayPorts, is_paused: bool) {
        let passes = is_paused || self.open.flowing != Flowing::Active;
        let recording = if passes { Recording::Passes } else { Recording::Goes };
        if recording == self.recording {
            return;
        }
        match relay.carry_out(self.open.stream, LineOrder::Record(recording)) {
            Ok(()) => self.recording = recording,
            // It goes on as it was ordered last.
            Err(_) => self.is_tainted |= passes,
        }
    }
}

/// Whether a stream comes to ports of ours. A relay answers neither checks nor handshakes.
pub(super) fn is_anchored(stream: &OpenStream) -> bool {
    let is_plain = stream.ice.is_none() && !matches!(stream.protection, Protection::Dtls(_));
    is_plain && stream.route == Route::Anchored
}

/// Its end at the relay. It is followed wherever it goes, as by a record server: it hears nothing but reports.
pub(super) fn end_of(stream: &OpenStream) -> OpenEnd {
    OpenEnd {
        kind: stream.kind,
        codecs: stream.codecs.clone(),
        remote_rtcp: stream.remote_rtcp,
        rtcp_mux: stream.rtcp_mux,
        follow: Follow::Anywhere,
        remembers: Remembers::TwoSeconds,
        ..OpenEnd::audio(0, stream.remote)
    }
}

/// One that nobody else knows.
pub(super) fn mark(entropy: &mut Entropy) -> Mark {
    let mut octets = [0; 8];
    octets.iter_mut().zip(entropy.octets(8)).for_each(|(to, octet)| *to = octet);
    Mark::new(octets)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use model::protection::{Handshake, HandshakeRole, Ice};
    use model::{Codec, Keys, Secret, Side, Suite};

    use super::*;

    fn stream() -> OpenStream {
        let remote = Some(SocketAddr::from(([192, 0, 2, 7], 5_000)));
        let audio = OpenStream::audio(1, Side::Agent, &[(0, Codec::new("PCMU", 8_000, 1))]);
        OpenStream { remote, may_share: true, route: Route::Anchored, ..audio }
    }

    fn keys(octet: u8) -> Keys {
        Keys::single(Suite::AesCm128HmacSha1Tag80, vec![octet; 30]).unwrap()
    }

    #[test]
    fn checks_and_handshakes_are_left_to_record_servers() {
        let handshake = Handshake { role: HandshakeRole::Client, peer: Vec::new(), id: None };
        let ice = Some(Ice { user: "u".to_owned(), password: Secret::new(vec![1]) });
        assert!(is_anchored(&stream()));
        assert!(is_anchored(&OpenStream { protection: Protection::Awaited, ..stream() }));
        assert!(!is_anchored(&OpenStream { route: Route::Direct, ..stream() }));
        assert!(!is_anchored(&OpenStream { protection: Protection::Dtls(handshake), ..stream() }));
        assert!(!is_anchored(&OpenStream { ice, ..stream() }));
    }

    #[test]
    fn a_record_server_sees_the_relay_and_has_no_keys_of_ours() {
        let protection = Protection::Srtp { inbound: keys(1), outbound: keys(2) };
        let open = OpenStream { protection, ..stream() };
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let ports = StreamPorts { stream: open.stream, rtp: at(6_000), rtcp: at(6_001), is_stuck: false };
        let line = Line::new(open.clone(), ports.clone(), Mark::new([7; 8]), SegmentId::from_u64(1));
        let mut seen = open.clone();
        line.show(&mut seen);
        let expected = OpenStream {
            remote: None,
            may_share: false,
            rtcp_mux: true,
            route: Route::Relayed(Mark::new([7; 8])),
            protection: Protection::Given(keys(1)),
            ..open
        };
        assert_eq!(seen, expected);
        assert_eq!(line.told(), ports);
    }
}

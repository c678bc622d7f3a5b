//! What comes to the media ports, and the descriptions that lead it there.

use std::net::SocketAddr;

use media::sdp::{self, Origin, Slot};
use media::send::{RtpSender, Sending};
use media::{Frame, FrameSink, StreamReceiver};
use model::peer::{Family, Flowing};
use model::{Codec, MediaKind, OpenStream, Protection, Route, Side, StreamId, WallTime};

use crate::Input;

/// 2026-11-20T09:15:00Z.
const START: WallTime = WallTime(1_795_166_100_000_000_000);

fn at(us: i64) -> WallTime {
    WallTime(START.0 + us * 1_000)
}

fn sources() -> [SocketAddr; 3] {
    [
        SocketAddr::from(([192, 0, 2, 10], 4000)),
        SocketAddr::from(([203, 0, 113, 5], 7000)),
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 4000)),
    ]
}

fn stream(flowing: Flowing) -> OpenStream {
    OpenStream {
        stream: StreamId::from_u64(77),
        slot: 0,
        label: None,
        kind: MediaKind::Audio,
        side: Side::Agent,
        codecs: vec![
            (0, Codec::new("PCMU", 8_000, 1)),
            (13, Codec::new("CN", 8_000, 1)),
            (101, Codec::new("telephone-event", 8_000, 1)),
            (111, Codec::new("opus", 48_000, 2)),
        ],
        family: Family::V4,
        remote: Some(sources()[0]),
        remote_rtcp: None,
        may_share: false,
        route: Route::Direct,
        rtcp_mux: false,
        flowing,
        protection: Protection::None,
        ice: None,
    }
}

/// Counts frames, and looks at each.
#[derive(Default)]
struct Counted(u64);

impl FrameSink for Counted {
    fn frame(&mut self, frame: &Frame<'_>) {
        assert!(frame.position_us >= 0);
        assert!(frame.payload.len() <= frame.packet.len());
        self.0 += 1;
    }
}

/// Datagrams from three sources through a receiver that is held, paused and resumed meanwhile: each ends in
/// exactly one count, and each that is kept becomes one frame.
///
/// Each step is: octet 0, what happens (order, source); octet 1, milliseconds of waiting; octet 2, length; octets.
pub fn rtp(data: &[u8]) {
    let mut input = Input(data);
    let mut receiver = StreamReceiver::new(&stream(Flowing::Active), START);
    let (mut sink, mut out) = (Counted::default(), Vec::new());
    let (mut us, mut datagrams, mut perhaps_rtcp) = (0_i64, 0_u64, 0_u64);
    while !input.is_empty() {
        let what = input.octet();
        us += i64::from(input.octet()) * 1_000;
        match what >> 4 {
            0 => receiver.update(at(us), &stream(Flowing::Held)),
            1 => receiver.update(at(us), &stream(Flowing::Paused)),
            2 | 3 => receiver.update(at(us), &stream(Flowing::Active)),
            4 => receiver.tick(at(us), &mut sink),
            5 => us -= 3_600_000_000,
            6 => us += 3_600_000_000,
            _ => {}
        }
        let length = usize::from(input.octet());
        let bytes = input.take(length);
        let from = sources()[usize::from(what & 3) % 3];
        datagrams += 1;
        // What looks like RTCP may be RTP with a marker: it may be counted as either (RFC 5761 section 4).
        perhaps_rtcp += u64::from(bytes.len() >= 8 && bytes[0] >> 6 == 2 && (192..=223).contains(&bytes[1]));
        receiver.packet(at(us), from, bytes, &mut sink);
        out.clear();
        receiver.report(at(us), "x", &mut out);
    }
    receiver.finish(at(us + 1_000_000), &mut sink);
    let c = receiver.record(1).accounting;
    let counted = c.received + c.duplicate + c.invalid + c.other_source;
    assert!((counted..=counted + perhaps_rtcp).contains(&datagrams), "{c:?} of {datagrams}");
    assert_eq!(sink.0, c.received - c.discarded, "{c:?}");
}

/// An RTCP datagram to a receiver that hears a source: it goes on reporting.
pub fn rtcp(data: &[u8]) {
    let sending =
        Sending { ssrc: 5, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 1, timestamp: 0 };
    let mut source = RtpSender::new(sending);
    let mut receiver = StreamReceiver::new(&stream(Flowing::Active), START);
    let mut sink = Counted::default();
    receiver.packet(at(1_000), sources()[0], &source.next(&[0; 160]), &mut sink);
    receiver.rtcp(at(2_000), sources()[0], data);
    receiver.packet(at(21_000), sources()[0], &source.next(&[0; 160]), &mut sink);
    let mut out = Vec::new();
    receiver.report(at(60_000_000), "x", &mut out);
    assert!(!out.is_empty());
    assert!(out.len() <= 1_500, "a report of {} octets", out.len());
}

/// A description: it is read or refused; what is read can be answered line for line, and that answer be read.
pub fn sdp(data: &[u8]) {
    let Ok(read) = sdp::read(data) else { return };
    for line in &read.media {
        let _ = (line.remote_rtp(), line.remote_rtcp(), line.is_held(), line.is_rtp());
    }
    let slot = Slot::Take {
        rtp: SocketAddr::from(([192, 0, 2, 9], 10_000)),
        rtcp_port: 10_001,
        direction: sdp::Direction::RecvOnly,
        mux: true,
        security: sdp::Security::None,
        ice: None,
    };
    let origin = Origin { username: "-".to_owned(), session_id: 1, version: 1, address: sources()[0].ip() };
    let text = sdp::answer(&read, &vec![slot; read.media.len()], &origin);
    let again = sdp::read(text.as_bytes()).unwrap();
    assert_eq!(again.media.len(), read.media.len());
    for (ours, theirs) in again.media.iter().zip(&read.media) {
        assert_eq!((&ours.mid, &ours.label, ours.port), (&theirs.mid, &theirs.label, 10_000));
    }
}

//! What comes to the SIP ports.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use model::{Mono, Now, WallTime};
use sip::siprec::{RecordingMetadata, View};
use sip::{Agent, AgentConfig, Event, Flow, FlowId, Framer, Transport};

use crate::Input;

/// Messages that one input may hold: a whole call with some retransmissions.
const MESSAGES_MAX: usize = 16;
/// An answer to a request is at most so much longer than it: our own headers, not an echo that grows.
const ANSWER_GROWS_BY: usize = 2_048;

const SDP: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=recvonly\r\n";

fn agent() -> Agent {
    let config = AgentConfig { sessions_max: 4, transactions_max: 8, ..AgentConfig::default() };
    Agent::new(config, [7; 32])
}

fn flow(transport: Transport) -> Flow {
    let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 5060));
    Flow { id: FlowId(1), transport, local: address(2), remote: address(1) }
}

fn at(ms: u64) -> Now {
    let start = WallTime::from_millis(1_795_166_100_000);
    let passed = Duration::from_millis(ms);
    Now { mono: Mono::ZERO + passed, wall: start + passed }
}

/// Does what a driver and its user do: sends, accepts every offer, lets time pass.
fn settle(agent: &mut Agent, now: Now, longest: usize) {
    while let Some(event) = agent.poll_event() {
        if let Event::Invited { session, request } | Event::Reoffered { session, request } = event {
            let _ = request.sdp();
            let _ = agent.accept(now, session, Bytes::from_static(SDP), &[]);
        }
    }
    while let Some(sent) = agent.poll_transmit() {
        assert!(sent.bytes.len() <= longest + ANSWER_GROWS_BY, "an answer of {} octets", sent.bytes.len());
    }
}

/// Datagrams, one after the other (each behind two octets of length), some time apart: limits of sessions and
/// transactions hold, answers do not grow, and after an hour nothing is left but what the peer keeps alive.
pub fn sip_message(data: &[u8]) {
    let mut input = Input(data);
    let mut agent = agent();
    let mut ms = 0;
    for _ in 0..MESSAGES_MAX {
        if input.is_empty() {
            break;
        }
        let length = usize::from(input.octet()) << 8 | usize::from(input.octet());
        let message = input.take(length.max(1));
        agent.receive_datagram(at(ms), flow(Transport::Udp), Bytes::copy_from_slice(message));
        settle(&mut agent, at(ms), data.len());
        let stats = agent.stats();
        assert!(stats.sessions <= 4 && stats.transactions <= 8 + 4, "{stats:?}");
        ms += 40;
        agent.handle_timeout(at(ms));
        settle(&mut agent, at(ms), data.len());
    }
    for _ in 0..64 {
        ms += 60_000;
        agent.handle_timeout(at(ms));
        settle(&mut agent, at(ms), data.len());
    }
    assert_eq!(agent.stats().transactions, 0, "{:?}", agent.stats());
}

/// A stream, cut as its first octet says: the same messages come out as from the stream in one piece, and a
/// stream that failed stays failed.
pub fn sip_stream(data: &[u8]) {
    let mut input = Input(data);
    let step = usize::from(input.octet()).max(1);
    let (mut whole, mut cut) = (Framer::new(), Framer::new());
    let at_once = whole.push(input.0);
    let (mut messages, mut failed) = (0, false);
    for piece in input.0.chunks(step) {
        match cut.push(piece) {
            Ok(some) => {
                assert!(!failed, "a failed stream came back");
                messages += some.len();
            }
            Err(_) => failed = true,
        }
        assert!(cut.pending() <= input.0.len());
    }
    match at_once {
        Ok(all) => {
            assert!(!failed, "fails only when it is cut");
            assert_eq!(messages, all.len());
            let mut agent = agent();
            for message in all.into_iter().take(MESSAGES_MAX) {
                agent.receive_message(at(0), flow(Transport::Tcp), message);
                settle(&mut agent, at(0), data.len());
            }
        }
        Err(_) => assert!(failed, "fails only in one piece"),
    }
}

/// A body of parts, its boundary before the first line feed: parts lie within the body and are limited in number.
pub fn multipart(data: &[u8]) {
    let end = data.iter().position(|c| *c == b'\n').unwrap_or(0);
    let (head, body) = data.split_at(end);
    let content_type = format!("multipart/mixed;boundary={}", String::from_utf8_lossy(head));
    let parts = sip::multipart::split(&content_type, &Bytes::copy_from_slice(body));
    assert!(parts.len() <= 16, "{} parts", parts.len());
    assert!(parts.iter().map(|p| p.bytes.len()).sum::<usize>() <= body.len());
}

/// A metadata body: it is read or refused, and what was read is no longer than what was there, entities apart.
pub fn siprec(data: &[u8]) {
    if let Ok(read) = sip::siprec::read(data) {
        for participant in &read.participants {
            let _ = read.participant(&participant.id);
        }
        for stream in &read.streams {
            let _ = read.senders(&stream.id).count();
        }
        assert!(format!("{read:?}").len() <= 4_096 + 64 * data.len());
        // Once as all that is known, and once more as what is added to it.
        let mut view = View::new();
        let _ = view.take(read.clone());
        let _ = view.take(RecordingMetadata { complete: false, ..read });
        let known = view.known();
        assert!(known.participants.len() <= 256 && known.stream_associations.len() <= 256);
    }
}

//! Many calls with everything going wrong, and messages that are no longer what they were: nothing panics,
//! nothing grows, and an ordinary call still works afterwards.

#![allow(clippy::unwrap_used, reason = "tests stop where something is wrong")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use model::Mono;
use pair::{Pair, PairGate, Side, config, now, sdp};
use proptest::prelude::*;
use sip::{Agent, Event, Flow, FlowId, Framer, SessionId, Transport};

/// A small generator: the same numbers on every machine.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = (self.0 >> 33) % u64::try_from(below).unwrap();
        usize::try_from(drawn).unwrap()
    }
}

const METADATA: &str = "<?xml version=\"1.0\"?><recording xmlns=\"urn:ietf:params:xml:ns:recording:1\"><datamode>complete</datamode><session session_id=\"s1\"/><participant participant_id=\"p1\"><nameID aor=\"sip:1001@pbx\"><name>Bob &amp; Co</name></nameID></participant><stream stream_id=\"t1\" session_id=\"s1\"><label>1</label></stream></recording>";

/// Messages to begin from: those of a whole recorded call, with folding, lists and parts.
fn seeds() -> Vec<Vec<u8>> {
    let body = format!(
        "--b\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--b\r\nContent-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n{METADATA}\r\n--b--\r\n",
        String::from_utf8_lossy(&sdp("offer"))
    );
    let head = |method: &str, cseq: u32, to_tag: &str, more: &str| {
        format!(
            "{method} sip:record@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKm{cseq};rport, SIP/2.0/TCP p;branch=z9hG4bK2\r\nRecord-Route: <sip:p1;lr>,\r\n <sip:p2>\r\nMax-Forwards: 70\r\nf: \"A \\\"B\\\"\" <sip:a@192.0.2.1;x-nearend>;tag=a\r\nTo: <sip:record@192.0.2.2>{to_tag}\r\ni: c@192.0.2.1\r\nCSeq: {cseq} {method}\r\nm: <sip:a@192.0.2.1:5060>;+sip.src\r\nSupported: timer\r\nSession-Expires: 1800;refresher=uac\r\nReason: Q.850;cause=16;text=\"a, b\"\r\nP-Asserted-Identity: \"B\" <sip:b@h>, <tel:+49>\r\n{more}"
        )
    };
    let with_body =
        format!("Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let empty = "Content-Length: 0\r\n\r\n";
    vec![
        head("INVITE", 1, "", &with_body).into_bytes(),
        head("INVITE", 2, "", empty).into_bytes(),
        head("ACK", 1, ";tag=x", empty).into_bytes(),
        head("BYE", 3, ";tag=x", empty).into_bytes(),
        head("CANCEL", 1, "", empty).into_bytes(),
        head("UPDATE", 4, ";tag=x", &with_body).into_bytes(),
        head("INFO", 5, ";tag=x", &with_body).into_bytes(),
        head("OPTIONS", 6, "", empty).into_bytes(),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ]
}

/// Bytes that mean something to some parser.
const ODD: &[u8] = b"\r\n;,:\"<>@%= \t\0\xff/";

/// A seed made fresh, or one of the dialog that was answered last; then spoilt.
fn mutate(draw: &mut Draw, seeds: &[Vec<u8>], round: u64, dialog: &(String, String)) -> Vec<u8> {
    let seed = &seeds[draw.next(seeds.len())];
    let mut message = match String::from_utf8(seed.clone()) {
        Ok(text) => {
            let (call, tag) = dialog;
            let call = if text.contains(";tag=x") { call.clone() } else { format!("c{round}@192.0.2.1") };
            let text = text.replace("c@192.0.2.1", &call).replace(";tag=x", &format!(";tag={tag}"));
            text.replace("z9hG4bKm", &format!("z9hG4bK{round}m")).into_bytes()
        }
        Err(_) => seed.clone(),
    };
    for _ in 0..draw.next(5) {
        let at = draw.next(message.len().max(1)).min(message.len().saturating_sub(1));
        match draw.next(8) {
            0 => message[at] = u8::try_from(draw.next(256)).unwrap(),
            1 => message.insert(at, ODD[draw.next(ODD.len())]),
            2 => {
                let end = (at + 1 + draw.next(40)).min(message.len());
                message.drain(at..end);
            }
            3 => {
                let end = (at + 1 + draw.next(80)).min(message.len());
                let piece = message[at..end].to_vec();
                message.splice(at..at, piece);
            }
            4 => message.truncate(at + 1),
            5 => {
                // A line from another message.
                let other = &seeds[draw.next(seeds.len())];
                let lines: Vec<&[u8]> = other.split(|b| *b == b'\n').collect();
                let line = [lines[draw.next(lines.len())], b"\n"].concat();
                message.splice(at..at, line);
            }
            6 => {
                // A number becomes another one.
                if let Some(digit) = message.iter().skip(at).position(u8::is_ascii_digit) {
                    message.splice(at + digit..=at + digit, b"99999999999999999999".iter().copied());
                }
            }
            _ => {
                let word: &[u8] =
                    [&b"INVITE"[..], b"tag=", b"SIP/2.0", b"branch=z9hG4bK", b"Via:", b"--b"][draw.next(6)];
                message.splice(at..at, word.iter().copied());
            }
        }
        if message.is_empty() {
            message.push(b'x');
        }
    }
    message
}

fn ordinary_call_works(agent: Agent<PairGate>, time: Mono) {
    let mut pair = Pair::new(Transport::Udp);
    pair.now = now(time);
    pair.server = agent;
    pair.run("client invite offer\nwait 20ms\nserver accept answer\nwait 1s\nclient bye\nwait 100ms");
    for event in ["server Invited [offer]", "server Confirmed", "server Ended Bye", "client Ended Local"] {
        assert!(pair.trace.contains(event), "{event} is missing:\n{}", pair.trace);
    }
}

#[test]
fn mutated_messages_neither_panic_nor_stay() {
    let seeds = seeds();
    let mut draw = Draw(42);
    let mut agent = Agent::with_gate(config(Side::Server), [5; 32], PairGate::new());
    let mut time = Mono::ZERO;
    let (mut invited, mut within, mut most) = (0, 0, 0);
    let mut dialog = ("none".to_owned(), "x".to_owned());
    for round in 0..20_000_u64 {
        time = time + Duration::from_millis(1);
        let message = mutate(&mut draw, &seeds, round, &dialog);
        let transport = if round % 4 == 3 { Transport::Tcp } else { Transport::Udp };
        let flow = Flow {
            id: FlowId(round % 16),
            transport,
            local: Side::Server.address(),
            remote: Side::Client.address(),
        };
        if transport == Transport::Udp {
            agent.receive_datagram(now(time), flow, Bytes::from(message));
        } else if let Ok(messages) = Framer::new().push(&message) {
            for message in messages {
                agent.receive_message(now(time), flow, message);
            }
        }
        while let Some(event) = agent.poll_event() {
            if let Event::Invited { session, request } = event {
                invited += 1;
                for part in request.metadata() {
                    let _ = sip::siprec::read(&part.bytes);
                }
                let done = match draw.next(3) {
                    0 => agent.accept(now(time), session, sdp("answer"), &[]),
                    1 => agent.refuse(now(time), session, 486, "Busy", &[]),
                    _ => Ok(()),
                };
                assert_eq!(done, Ok(()));
            } else {
                within += 1;
            }
        }
        while let Some(transmit) = agent.poll_transmit() {
            let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
            let to = pair::header(&text, "To").unwrap_or_default();
            if pair::label(&transmit.bytes) == "200/INVITE"
                && let Some((_, tag)) = to.rsplit_once(";tag=")
            {
                dialog = (pair::header(&text, "Call-ID").unwrap_or_default(), tag.to_owned());
            }
        }
        agent.handle_timeout(now(time));
        most = most.max(agent.stats().transactions);
    }
    assert!(invited > 500 && within > 200, "{invited} calls and {within} events within them mean nothing");
    assert!(agent.stats().malformed > 1000, "{:?}", agent.stats());
    assert!(most < 4 * invited, "{most} transactions for {invited} calls");
    // Calls that are established live on until someone hangs up; all that waits comes to its end.
    for session in 1..=20_000 {
        let _ = agent.bye(now(time), SessionId(session), None);
    }
    for _ in 0..40 {
        time = time + Duration::from_secs(10);
        agent.handle_timeout(now(time));
        while agent.poll_event().is_some() || agent.poll_transmit().is_some() {}
    }
    let stats = agent.stats();
    assert_eq!((stats.sessions, stats.transactions, stats.timers), (0, 0, 0));
    ordinary_call_works(agent, time);
}

/// Two ends, a network that loses a quarter and doubles a quarter, users who order at random.
fn storm(seed: u64, transport: Transport) {
    let mut draw = Draw(seed);
    let mut pair = Pair::new(transport);
    pair.quiet = true;
    for _ in 0..40 {
        let from = ["client", "server"][draw.next(2)];
        let what = [
            "INVITE",
            "200/INVITE",
            "ACK",
            "BYE",
            "200/BYE",
            "UPDATE",
            "CANCEL",
            "487/INVITE",
            "100/INVITE",
            "491/INVITE",
        ][draw.next(10)];
        let line = match draw.next(18) {
            0 if transport == Transport::Udp => format!("lose {from} {what}"),
            1 if transport == Transport::Udp => format!("lose {from} {what} 9"),
            2 => format!("dup {from} {what}"),
            3 | 4 => "client invite offer".into(),
            5 => "client invite".into(),
            6..=8 => "server accept answer".into(),
            9 => format!("{from} accept again"),
            10 => format!("{from} reinvite offer"),
            11 => format!("{from} reinvite"),
            12 => format!("{from} bye"),
            13 => "client ack answer".into(),
            14 => "client cancel".into(),
            15 => format!("{from} {}", ["info", "update", "ring", "refuse 486"][draw.next(4)]),
            16 if draw.next(3) == 0 => "break".into(),
            _ => format!("wait {}ms", [5, 10, 15, 100, 700, 5000, 40_000][draw.next(7)]),
        };
        pair.run(&line);
    }
    // However it was left: all users hang up, or nobody does anything any more.
    for id in 1..40 {
        for side in [Side::Client, Side::Server] {
            let time = pair.now;
            let _ = pair.agent(side).bye(time, SessionId(id), None);
        }
    }
    pair.run("wait 500s");
    for side in [Side::Client, Side::Server] {
        let stats = pair.agent(side).stats();
        assert_eq!(
            (stats.sessions, stats.transactions, stats.timers),
            (0, 0, 0),
            "seed {seed}, {transport:?}, {side:?}: {stats:?}"
        );
    }
    // Each session that began has ended, once.
    let count = |side: Side, word: &str| {
        pair.events.iter().filter(|(s, e)| *s == side && e.starts_with(word)).count()
    };
    assert!(count(Side::Server, "Ended") <= count(Side::Server, "Invited"), "seed {seed}: {:?}", pair.events);
}

#[test]
fn storms_pass_and_leave_nothing() {
    for seed in 0..300 {
        storm(seed, Transport::Udp);
        storm(seed, Transport::Tcp);
    }
}

/// A session that both keep alive stays for a day; each side sees every refresh of the other.
#[test]
fn a_call_lives_for_a_day() {
    let mut pair = Pair::new(Transport::Udp);
    pair.run("client invite offer\nwait 20ms\nserver accept answer\nwait 86400s");
    assert_eq!(pair.events.iter().filter(|(_, event)| event == "Informed UPDATE").count(), 95);
    assert_eq!((pair.client.stats().sessions, pair.server.stats().sessions), (1, 1));
    assert_eq!((pair.client.stats().transactions, pair.server.stats().transactions), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut agent = Agent::with_gate(config(Side::Server), [5; 32], PairGate::new());
        let flow = Flow { id: FlowId(1), transport: Transport::Udp, local: Side::Server.address(), remote: Side::Client.address() };
        agent.receive_datagram(now(Mono::ZERO), flow, bytes.clone().into());
        let _ = sip::siprec::read(&bytes);
        let _ = Framer::new().push(&bytes);
        prop_assert_eq!(agent.stats().transactions, 0);
    }
}

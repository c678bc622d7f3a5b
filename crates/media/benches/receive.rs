//! What a packet costs the receiver, in order and out of order.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use media::g711::encode_ulaw;
use media::send::{RtpSender, Sending};
use media::speech::Speech;
use media::srtp::Srtp;
use media::{Frame, FrameSink, StreamReceiver};
use model::{Codec, Dtmf, Keys, OpenStream, Side, Suite, WallTime};

const PACKETS: u64 = 1_000;
const PACKET_NS: i64 = 20_000_000;

#[derive(Default)]
struct Octets(u64);

impl FrameSink for Octets {
    fn frame(&mut self, frame: &Frame<'_>) {
        self.0 += frame.payload.len() as u64;
    }
}

fn stream() -> OpenStream {
    OpenStream::audio(1, Side::Agent, &[(0, Codec::new("PCMU", 8_000, 1)), (8, Codec::new("PCMA", 8_000, 1))])
}

fn receive(c: &mut Criterion) {
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let sending =
        Sending { ssrc: 7, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 0, timestamp: 0 };
    let mut group = c.benchmark_group("receive");
    group.throughput(Throughput::Elements(PACKETS));
    for (name, swap) in [("in order", usize::MAX), ("every tenth pair swapped", 10)] {
        let mut sender = RtpSender::new(sending);
        let mut receiver = StreamReceiver::new(&stream(), WallTime(0));
        let mut now = WallTime(0);
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    let mut packets: Vec<Vec<u8>> = (0..PACKETS).map(|_| sender.next(&[0xd5; 160])).collect();
                    (1..packets.len() - 1).step_by(swap).skip(1).for_each(|i| packets.swap(i, i + 1));
                    packets
                },
                |packets| {
                    let mut sink = Octets::default();
                    for packet in &packets {
                        now = WallTime(now.0 + PACKET_NS);
                        receiver.packet(now, from, packet, &mut sink);
                    }
                    black_box(sink.0);
                    packets
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// A voice in order, kept as it is and looked into for digits.
fn mask(c: &mut Criterion) {
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let sending =
        Sending { ssrc: 7, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 0, timestamp: 0 };
    let mut group = c.benchmark_group("mask");
    group.throughput(Throughput::Elements(PACKETS));
    for (name, dtmf) in [("kept", Dtmf::Keep), ("masked", Dtmf::Mask)] {
        let mut sender = RtpSender::new(sending);
        let mut speech = Speech::new(8_000, 1);
        let mut receiver = StreamReceiver::new(&stream(), WallTime(0)).masking(dtmf);
        let mut now = WallTime(0);
        let mut voice = || (0..160).map(|_| encode_ulaw(speech.sample())).collect::<Vec<u8>>();
        group.bench_function(name, |b| {
            b.iter_batched(
                || (0..PACKETS).map(|_| sender.next(&voice())).collect::<Vec<Vec<u8>>>(),
                |packets| {
                    let mut sink = Octets::default();
                    for packet in &packets {
                        now = WallTime(now.0 + PACKET_NS);
                        receiver.packet(now, from, packet, &mut sink);
                    }
                    black_box(sink.0);
                    packets
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The same packets in the clear and by each cipher, and noise on an encrypted stream: what encryption adds is the
/// difference within one run.
fn encrypted(c: &mut Criterion) {
    let from: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let sending =
        Sending { ssrc: 7, payload_type: 0, clock_rate: 8_000, ptime_ms: 20, sequence: 0, timestamp: 0 };
    let mut group = c.benchmark_group("encrypted");
    group.throughput(Throughput::Elements(PACKETS));
    let suites = Suite::ALL.map(|suite| (suite.name(), Some(suite), false));
    let noise = ("noise", Some(Suite::AesCm128HmacSha1Tag80), true);
    for (name, suite, is_noise) in [("in the clear", None, false)].into_iter().chain(suites).chain([noise]) {
        let keys = suite.map(|suite| {
            let secret = (0..suite.secret_len()).map(|n| u8::try_from(n).unwrap()).collect();
            Keys::single(suite, secret).unwrap()
        });
        let srtp = || keys.as_ref().map(|keys| Srtp::new(keys, keys).unwrap());
        let (mut ours, mut theirs) = (srtp(), srtp());
        let mut sender = RtpSender::new(sending);
        let mut receiver = StreamReceiver::new(&stream(), WallTime(0));
        let mut now = WallTime(0);
        let mut next = || {
            let mut packet = sender.next(&[0xd5; 160]);
            if let Some(theirs) = &mut theirs {
                assert!(theirs.seal_rtp(&mut packet));
            }
            if is_noise {
                packet.iter_mut().skip(12).for_each(|octet| *octet ^= 0x55);
            }
            packet
        };
        group.bench_function(name, |b| {
            b.iter_batched(
                || (0..PACKETS).map(|_| next()).collect::<Vec<Vec<u8>>>(),
                |packets| {
                    let mut sink = Octets::default();
                    for packet in &packets {
                        now = WallTime(now.0 + PACKET_NS);
                        match &mut ours {
                            Some(srtp) => receiver.protected(now, from, packet, srtp, &mut sink),
                            None => receiver.packet(now, from, packet, &mut sink),
                        }
                    }
                    black_box(sink.0);
                    packets
                },
                criterion::BatchSize::SmallInput,
            );
        });
        let counted = receiver.accounting();
        let wrong = if is_noise { counted.received } else { counted.unauthenticated };
        assert_eq!(wrong, 0, "{name}: {counted:?}");
    }
    group.finish();
}

criterion_group!(benches, receive, mask, encrypted);
criterion_main!(benches);

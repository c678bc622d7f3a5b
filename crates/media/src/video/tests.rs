//! Packets of every codec that a test makes, through loss and disorder: what comes out is what went in, or is missing.

use model::Codec;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::rtp::RtpView;

const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

/// A packet as a test sends it.
#[derive(Clone, Debug)]
struct Sent {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// A picture as an encoder makes it: what of it a test can tell again.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Made {
    key: bool,
    data: Vec<u8>,
}

/// Octets from 1 on, so that nothing in them means anything.
fn octets(n: usize, length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((n * 31 + i) % 250 + 1).unwrap()).collect()
}

fn is_key(n: usize) -> bool {
    n.is_multiple_of(10)
}

/// What a codec does: a picture, and its payloads of at most so many octets.
type Making = fn(usize, usize, usize) -> (Made, Vec<Vec<u8>>);

fn vp8(n: usize, length: usize, piece: usize) -> (Made, Vec<Vec<u8>>) {
    let mut data = octets(n, length + 10);
    data[0] = u8::from(!is_key(n)) | 0x10;
    data[3..10].copy_from_slice(&[0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
    let payloads = data.chunks(piece).enumerate().map(|(i, piece)| {
        // With a picture id of 15 bits on every other picture.
        let start = if i == 0 { 0x10 } else { 0 };
        let head = if n.is_multiple_of(2) { vec![start] } else { vec![start | 0x80, 0x80, 0x80 | 1, 7] };
        [&head[..], piece].concat()
    });
    let payloads = payloads.collect();
    (Made { key: is_key(n), data }, payloads)
}

fn vp9(n: usize, length: usize, piece: usize) -> (Made, Vec<Vec<u8>>) {
    let mut data = octets(n, length + 10);
    let head: [u8; 10] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xF0, 0x1D, 0xF0, 0xAA];
    data[..10].copy_from_slice(&head);
    if !is_key(n) {
        data[0] = 0x86;
    }
    let pieces: Vec<&[u8]> = data.chunks(piece).collect();
    let payloads = pieces.iter().enumerate().map(|(i, piece)| {
        let begins = if i == 0 { 0x08 } else { 0 };
        let ends = if i + 1 == pieces.len() { 0x04 } else { 0 };
        let leans = if is_key(n) { 0 } else { 0x40 };
        [&[0x80 | leans | begins | ends, 0x81, 0x22][..], piece].concat()
    });
    let payloads = payloads.collect();
    (Made { key: is_key(n), data: data.clone() }, payloads)
}

fn with_length(unit: &[u8]) -> Vec<u8> {
    [&u32::try_from(unit.len()).unwrap().to_be_bytes()[..], unit].concat()
}

fn h264(n: usize, length: usize, piece: usize) -> (Made, Vec<Vec<u8>>) {
    let mut slice = octets(n, length + 3);
    slice[0] = if is_key(n) { 0x65 } else { 0x41 };
    slice[1] |= 0x80;
    let mut data = Vec::new();
    let mut payloads = Vec::new();
    if is_key(n) {
        let two = [SPS, PPS].iter().flat_map(|set| {
            let length = u16::try_from(set.len()).unwrap().to_be_bytes();
            [&length[..], set].concat()
        });
        payloads.push([0x78].into_iter().chain(two).collect());
        data.extend(with_length(SPS));
        data.extend(with_length(PPS));
    }
    data.extend(with_length(&slice));
    if slice.len() <= piece {
        payloads.push(slice);
    } else {
        let pieces: Vec<&[u8]> = slice[1..].chunks(piece).collect();
        for (i, piece) in pieces.iter().enumerate() {
            let begins = if i == 0 { 0x80 } else { 0 };
            let ends = if i + 1 == pieces.len() { 0x40 } else { 0 };
            let head = [slice[0] & 0xE0 | 28, begins | ends | slice[0] & 0x1F];
            payloads.push([&head[..], piece].concat());
        }
    }
    (Made { key: is_key(n), data }, payloads)
}

/// 640 × 480, main profile.
const SPS_H265: &[u8] = &[
    0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
    0x5a, 0xa0, 0x05, 0x02, 0x01, 0xe1, 0x65, 0x95, 0x9a, 0x49, 0x32, 0xb8,
];

fn h265(n: usize, length: usize, piece: usize) -> (Made, Vec<Vec<u8>>) {
    let mut slice = octets(n, length + 4);
    slice[0] = if is_key(n) { 19 << 1 } else { 1 << 1 };
    slice[1] = 1;
    slice[2] |= 0x80;
    let mut data = Vec::new();
    let mut payloads = Vec::new();
    if is_key(n) {
        let sets: [&[u8]; 3] = [&[0x40, 0x01, 0x0c, 0x01], SPS_H265, &[0x44, 0x01, 0xc1, 0x72]];
        let units = sets.iter().flat_map(|set| {
            let length = u16::try_from(set.len()).unwrap().to_be_bytes();
            [&length[..], set].concat()
        });
        payloads.push([48 << 1, 1].into_iter().chain(units).collect());
        data.extend(sets.iter().flat_map(|set| with_length(set)));
    }
    data.extend(with_length(&slice));
    if slice.len() <= piece {
        payloads.push(slice);
    } else {
        let pieces: Vec<&[u8]> = slice[2..].chunks(piece).collect();
        for (i, piece) in pieces.iter().enumerate() {
            let begins = if i == 0 { 0x80 } else { 0 };
            let ends = if i + 1 == pieces.len() { 0x40 } else { 0 };
            let head = [49 << 1, 1, begins | ends | slice[0] >> 1 & 0x3F];
            payloads.push([&head[..], piece].concat());
        }
    }
    (Made { key: is_key(n), data }, payloads)
}

const CODECS: [(&str, Making); 4] = [("VP8", vp8), ("VP9", vp9), ("H264", h264), ("H265", h265)];

fn sent(make: Making, lengths: &[usize], piece: usize, first: u16) -> (Vec<Made>, Vec<Sent>) {
    let (mut pictures, mut packets) = (Vec::new(), Vec::<Sent>::new());
    for (n, length) in lengths.iter().enumerate() {
        let (picture, payloads) = make(n, *length, piece);
        let last = payloads.len() - 1;
        for (i, payload) in payloads.into_iter().enumerate() {
            let sequence = first.wrapping_add(u16::try_from(packets.len()).unwrap());
            let timestamp = 4_294_960_000_u32.wrapping_add(u32::try_from(n).unwrap() * 3_000);
            packets.push(Sent { sequence, timestamp, marker: i == last, payload });
        }
        pictures.push(picture);
    }
    (pictures, packets)
}

fn received(name: &str, packets: &[Sent]) -> (Vec<Picture>, Option<Setup>) {
    let mut depacketizer = Depacketizer::new(&Codec::new(name, 90_000, 1)).unwrap();
    let mut out = Vec::new();
    for (at, packet) in (0..).zip(packets) {
        let Sent { sequence, timestamp, marker, payload } = packet;
        let (sequence, timestamp, marker) = (*sequence, *timestamp, *marker);
        let view = RtpView { payload_type: 97, marker, sequence, timestamp, ssrc: 7, payload };
        depacketizer.push(at, &view);
        out.extend(std::iter::from_fn(|| depacketizer.next_picture()));
    }
    depacketizer.finish();
    out.extend(std::iter::from_fn(|| depacketizer.next_picture()));
    (out, depacketizer.setup())
}

#[test]
fn whole_pictures_of_every_codec_come_out_as_they_went_in() {
    for (name, make) in CODECS {
        let (made, packets) = sent(make, &[3_000, 10, 500, 1, 2_500], 900, 65_530);
        let (pictures, setup) = received(name, &packets);
        let seen: Vec<_> = pictures.iter().map(|p| Made { key: p.key, data: p.data.clone() }).collect();
        assert_eq!(seen, made, "{name}");
        assert!(pictures.iter().all(|p| !p.damaged && !p.after_loss), "{name}");
        let setup = setup.unwrap();
        assert_eq!((setup.width, setup.height), (640, 480), "{name}");
        assert_eq!(setup.private.is_empty(), name.starts_with("VP"), "{name}");
    }
}

#[test]
fn a_lost_packet_costs_its_picture_and_what_follows_is_damaged_until_a_key_frame() {
    for (name, make) in CODECS {
        let (_, mut packets) = sent(make, &[2_000; 25], 900, 0);
        let stamp = packets[0].timestamp.wrapping_add(3 * 3_000);
        let gone = packets.iter().position(|p| p.timestamp == stamp).unwrap();
        packets.remove(gone + 1);
        let (pictures, _) = received(name, &packets);
        assert_eq!(pictures.len(), 24, "{name}");
        let damaged: Vec<usize> = (0..24).filter(|n| pictures[*n].damaged).collect();
        assert_eq!(damaged, (3..9).collect::<Vec<_>>(), "{name}");
        assert!(pictures[3].after_loss && !pictures[4].after_loss, "{name}");
    }
}

#[test]
fn parameter_sets_of_sdp_are_in_every_key_frame() {
    let fmtp = "packetization-mode=1; sprop-parameter-sets=Z0LAHtoCgPaEAAADAAQ=,aM48gA==";
    let codec = Codec { fmtp: Some(fmtp.to_owned()), ..Codec::new("H264", 90_000, 1) };
    let mut depacketizer = Depacketizer::new(&codec).unwrap();
    let slice = [0x65, 0x88, 1, 2, 3];
    let view =
        RtpView { payload_type: 97, marker: true, sequence: 1, timestamp: 0, ssrc: 7, payload: &slice };
    depacketizer.push(5, &view);
    let picture = depacketizer.next_picture().unwrap();
    assert_eq!(picture.data, [with_length(SPS), with_length(PPS), with_length(&slice)].concat());
    assert_eq!((picture.at, picture.key, picture.damaged), (5, true, false));
    let setup = depacketizer.setup().unwrap();
    assert_eq!(
        (setup.width, setup.height, setup.private[..4].to_vec()),
        (640, 480, vec![1, 0x42, 0xc0, 0x1e])
    );
    // Without them nobody could decode it.
    let mut without = Depacketizer::new(&Codec::new("H264", 90_000, 1)).unwrap();
    without.push(5, &view);
    assert_eq!((without.next_picture(), without.setup()), (None, None));
}

#[test]
fn what_is_interleaved_or_unknown_is_refused() {
    let with = |name: &str, fmtp: &str| Codec { fmtp: Some(fmtp.to_owned()), ..Codec::new(name, 90_000, 1) };
    for codec in [
        with("H264", "profile-level-id=42e01f;packetization-mode=2"),
        with("H265", "sprop-max-don-diff=4"),
        Codec::new("AV1", 90_000, 1),
        Codec::new("RTX", 90_000, 1),
    ] {
        assert!(Depacketizer::new(&codec).is_none(), "{codec:?}");
    }
    assert!(Depacketizer::new(&with("H265", "sprop-max-don-diff=0")).is_some());
}

#[test]
fn a_picture_without_end_is_given_up() {
    let mut depacketizer = Depacketizer::new(&Codec::new("VP8", 90_000, 1)).unwrap();
    for n in 0..200_u16 {
        let mut payload = vec![if n == 0 { 0x10 } else { 0 }; 60_000];
        payload[1..11].copy_from_slice(&[0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
        let view = RtpView {
            payload_type: 97,
            marker: false,
            sequence: n,
            timestamp: 0,
            ssrc: 7,
            payload: &payload,
        };
        depacketizer.push(0, &view);
    }
    depacketizer.finish();
    assert_eq!(depacketizer.next_picture(), None);
}

/// What was remembered of a picture of two layers must not be taken for that of the next one, which is none.
#[test]
fn a_picture_that_begins_badly_after_one_of_layers_is_left_out() {
    let mut depacketizer = Depacketizer::new(&Codec::new("VP9", 90_000, 1)).unwrap();
    let layers: [&[u8]; 3] = [&[0x0C, 0x86, 1], &[0x0C, 0x86, 2, 3], &[0x80]];
    for (sequence, payload) in (0_u16..).zip(layers) {
        let (marker, timestamp) = (sequence != 0, u32::from(sequence / 2));
        depacketizer.push(0, &RtpView { payload_type: 97, marker, sequence, timestamp, ssrc: 7, payload });
    }
    depacketizer.finish();
    let picture = depacketizer.next_picture().unwrap();
    // Two frames of two and three octets, and their index (annex B of the bitstream specification).
    assert_eq!(picture.data, [0x86, 1, 0x86, 2, 3, 0xD9, 2, 0, 0, 0, 3, 0, 0, 0, 0xD9]);
    assert_eq!(depacketizer.next_picture(), None);
}

/// What the network does to a packet.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Comes,
    ComesTwice,
    ComesLate,
    Lost,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        20 => Just(Fate::Comes), 1 => Just(Fate::ComesTwice), 2 => Just(Fate::ComesLate), 1 => Just(Fate::Lost)
    ];
    prop::collection::vec(fate, 300)
}

proptest! {
    /// Whatever comes late, twice or never: each picture of which every packet came is there, octet by octet and in order,
    /// no other, and it is damaged if and only if one before it, since the last key frame, is not.
    #[test]
    fn pictures_are_whole_or_missing(
        codec in 0..4_usize,
        lengths in prop::collection::vec(1..1_500_usize, 1..40),
        piece in 100..600_usize,
        first in any::<u16>(),
        fates in fates(),
    ) {
        let (name, make) = CODECS[codec];
        let (made, packets) = sent(make, &lengths, piece, first);
        let (mut arrive, mut late, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (n, packet) in packets.iter().enumerate() {
            // The first and the last tell where a source begins and ends.
            let edge = n == 0 || n + 1 == packets.len();
            match if edge { Fate::Comes } else { fates[n % fates.len()] } {
                Fate::Comes => arrive.push(packet.clone()),
                Fate::ComesTwice => arrive.extend([packet.clone(), packet.clone()]),
                Fate::ComesLate => late.push((n, packet.clone())),
                // Sets that were told before are known.
                Fate::Lost if matches!((codec, packet.payload[0]), (2, 0x78) | (3, 0x60)) => {}
                Fate::Lost => lost.push(packet.timestamp),
            }
            if let Some((since, packet)) = late.first().cloned() && since + 4 < n {
                late.remove(0);
                arrive.push(packet);
            }
        }
        let tail = arrive.pop().unwrap();
        arrive.extend(late.into_iter().map(|(_, p)| p));
        arrive.push(tail);
        let (pictures, _) = received(name, &arrive);
        let mut broken = true;
        let mut expected = Vec::new();
        for (n, made) in made.iter().enumerate() {
            let timestamp = packets[0].timestamp.wrapping_add(u32::try_from(n).unwrap() * 3_000);
            if lost.contains(&timestamp) {
                broken = true;
                continue;
            }
            broken &= !made.key;
            expected.push((timestamp, made.key, broken, made.data.clone()));
        }
        let seen: Vec<_> = pictures.into_iter().map(|p| (p.timestamp, p.key, p.damaged, p.data)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_packets_are_survived(
        codec in 0..4_usize,
        packets in prop::collection::vec(
            (any::<u16>(), 0..4_u32, any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..200),
    ) {
        let (name, _) = CODECS[codec];
        let mut depacketizer = Depacketizer::new(&Codec::new(name, 90_000, 1)).unwrap();
        let mut gate = Gate::new(100);
        for (at, (sequence, timestamp, marker, payload)) in (0..).zip(&packets) {
            let sequence = if sequence.is_multiple_of(3) { *sequence } else { u16::try_from(at).unwrap() };
            let (timestamp, marker) = (*timestamp, *marker);
            let view = RtpView { payload_type: 97, marker, sequence, timestamp, ssrc: timestamp / 3, payload };
            depacketizer.push(at, &view);
            while let Some(picture) = depacketizer.next_picture() {
                prop_assert!(picture.data.len() <= PICTURE_MAX);
                gate.push(picture);
            }
            while gate.next_picture().is_some() {}
        }
        depacketizer.finish();
        gate.finish();
        let _ = depacketizer.setup();
    }

    /// What was a picture once: octets of it changed, payloads cut, packets in another order.
    #[test]
    fn mutated_packets_are_survived(
        codec in 0..4_usize,
        lengths in prop::collection::vec(1..400_usize, 1..20),
        piece in 20..200_usize,
        changes in prop::collection::vec((any::<u16>(), 0..8_u16, any::<u8>()), 1..40),
    ) {
        let (name, make) = CODECS[codec];
        let (_, mut packets) = sent(make, &lengths, piece, 0);
        for (at, place, octet) in changes {
            let at = usize::from(at) % packets.len();
            match place {
                6 => packets[at].payload.truncate(usize::from(octet) % 8),
                7 => packets.swap(at, usize::from(octet) % lengths.len()),
                place => {
                    if let Some(one) = packets[at].payload.get_mut(usize::from(place)) {
                        *one = octet;
                    }
                }
            }
        }
        let (pictures, _) = received(name, &packets);
        prop_assert!(pictures.len() <= packets.len());
        prop_assert!(pictures.iter().all(|p| !p.data.is_empty()));
        prop_assert!(!pictures.iter().any(|p| p.key && p.damaged));
    }
}

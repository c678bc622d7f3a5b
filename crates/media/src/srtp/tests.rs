//! Published vectors, the two ends against each other, and what a hostile network makes of it.

#![allow(clippy::cast_possible_truncation, reason = "any octets will do")]

use model::{MasterKey, Secret, Suite};
use proptest::prelude::*;

use super::cipher::{Cipher, Derivation};
use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap()).collect()
}

fn at(ms: i64) -> WallTime {
    WallTime::from_millis(1_795_000_000_000 + ms)
}

fn keys(suite: Suite, fill: u8) -> Keys {
    let secret = (0..suite.secret_len()).map(|n| fill.wrapping_mul(31).wrapping_add(n as u8)).collect();
    Keys::single(suite, secret).unwrap()
}

fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// A sender that starts at an index.
struct Sender {
    cipher: Cipher,
    mki: Vec<u8>,
}

impl Sender {
    fn new(keys: &Keys) -> Self {
        let master = &keys.masters[0];
        Self { cipher: Cipher::new(keys.suite, master, keys.plain_rtp).unwrap(), mki: master.mki.clone() }
    }

    fn send(&self, index: u64, ssrc: u32) -> (Vec<u8>, Vec<u8>) {
        let plain = rtp((index & 0xffff) as u16, ssrc, &[index as u8; 160]);
        let mut sealed = plain.clone();
        self.cipher.seal_rtp(&mut sealed, 12, &self.mki, (ssrc, index)).unwrap();
        (plain, sealed)
    }
}

/// RFC 3711 appendix B.3.
#[test]
fn session_keys_follow_from_the_master_key() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    let derivation = Derivation::new(&key, &salt).unwrap();
    for (label, expected) in [
        (0, "C61E7A93744F39EE10734AFE3FF7A087"),
        (2, "30CBBC08863D8C85D49DB34A9AE1"),
        (1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"),
    ] {
        let mut out = vec![0xff; hex(expected).len()];
        derivation.fill(label, &mut out).unwrap();
        assert_eq!(out, hex(expected), "label {label}");
    }
}

/// The vectors of libsrtp's own test driver: a packet of 16 octets, as RTP and as RTCP.
#[test]
fn packets_of_others_are_opened() {
    let counter = "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6";
    let gcm = "000102030405060708090a0b0c0d0e0f a0a1a2a3a4a5a6a7a8a9aaab";
    for (suite, master, srtp, srtcp) in [
        (
            Suite::AesCm128HmacSha1Tag80,
            counter,
            "4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb",
            "7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798",
        ),
        (
            Suite::AeadAes128Gcm,
            gcm,
            "c5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392",
            "c98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001",
        ),
    ] {
        let keys = Keys::single(suite, hex(master)).unwrap();
        let mut ours = Srtp::new(&keys, &keys).unwrap();
        let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
        let sealed = [hex("800f1234decafbadcafebabe"), hex(srtp)].concat();
        assert_eq!(ours.open_rtp(at(0), &sealed), Ok(&plain[..]), "{suite:?}");
        let mut again = plain.clone();
        assert!(Outbound::new(&keys).unwrap().seal_rtp(&mut again));
        assert_eq!(again, sealed, "{suite:?}");
        let plain = hex("81c8000bcafebabe abababababababababababababababab");
        let sealed = [hex("81c8000bcafebabe"), hex(srtcp)].concat();
        assert_eq!(ours.open_rtcp(at(0), &sealed), Ok(&plain[..]), "{suite:?}");
        assert_eq!(ours.open_rtcp(at(0), &sealed), Err(Closed::Replayed));
    }
}

/// The same packet with a key of 256 bits.
#[test]
fn a_packet_of_others_by_a_long_key_is_opened() {
    let master =
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2";
    let keys = Keys::single(Suite::AesCm256HmacSha1Tag80, hex(master)).unwrap();
    let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let sealed = hex("800f1234decafbadcafebabe f1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b");
    assert_eq!(Srtp::new(&keys, &keys).unwrap().open_rtp(at(0), &sealed), Ok(&plain[..]));
}

/// RFC 7714 sections 16 and 17: session keys, salt, and the packets that follow. Our nonces and what is associated with
/// them are made as for any packet.
#[test]
fn the_examples_of_rfc_7714() {
    let salt = *b"Quid pro quo";
    let short = hex("000102030405060708090a0b0c0d0e0f");
    let long = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let head = hex("8040f17b 8041f8d3 5501a0b2");
    let plain = [&head[..], b"Gallia est omnis divisa in partes tres"].concat();
    for (key, expected) in [
        (
            &short,
            "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf\
             765ee4390cce",
        ),
        (
            &long,
            "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb\
             7878d7a76c13",
        ),
    ] {
        let cipher = Cipher::of_session(key, salt);
        let mut sealed = plain.clone();
        cipher.seal_rtp(&mut sealed, 12, &[], (0x5501_a0b2, 0xf17b)).unwrap();
        assert_eq!(sealed, [head.clone(), hex(expected)].concat());
        let mut out = [0; PACKET_MAX];
        let length = cipher.open_rtp(&sealed, 12, 0, (0x5501_a0b2, 0xf17b), &mut out).unwrap();
        assert_eq!(out[..length], plain);
    }
    let plain = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef \
         deadbeef",
    );
    let sealed = hex(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded \
         0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
    let cipher = Cipher::of_session(&short, salt);
    let mut packet = plain.clone();
    cipher.seal_rtcp(&mut packet, &[], 0x5d4, false).unwrap();
    assert_eq!(packet, sealed);
    let mut out = [0; PACKET_MAX];
    let length = cipher.open_rtcp(&sealed, 0, 0x4d61_7273, &mut out).unwrap();
    assert_eq!(out[..length], plain);
}

#[test]
fn what_is_too_old_is_told_apart_from_what_comes_twice() {
    let keys = keys(Suite::AeadAes128Gcm, 1);
    let mut ours = Srtp::new(&keys, &keys).unwrap();
    let sender = Sender::new(&keys);
    for index in [5_000, 9_000] {
        assert!(ours.open_rtp(at(0), &sender.send(index, 7).1).is_ok());
    }
    assert_eq!(ours.open_rtp(at(0), &sender.send(9_000, 7).1), Err(Closed::Replayed));
    assert_eq!(ours.open_rtp(at(0), &sender.send(5_001, 7).1), Err(Closed::Old));
    let mut theirs = Outbound::new(&keys).unwrap();
    let reports: Vec<Vec<u8>> = [0, 5_000_000]
        .map(|ms| {
            let mut packet = hex("80c90001 00000007");
            assert!(theirs.seal_rtcp(at(ms), &mut packet));
            packet
        })
        .into();
    assert!(ours.open_rtcp(at(0), &reports[1]).is_ok());
    assert_eq!(ours.open_rtcp(at(0), &reports[0]), Err(Closed::Old));
    assert_eq!(ours.open_rtcp(at(0), &reports[1]), Err(Closed::Replayed));
}

#[test]
fn every_suite_goes_there_and_back_with_header_extension_and_identifier() {
    for suite in Suite::ALL {
        for (mki, plain_rtp, plain_rtcp) in [
            (vec![], false, false),
            (vec![1], false, false),
            (vec![0, 0, 0, 9], false, true),
            (vec![], true, true),
        ] {
            let mut keys = keys(suite, 1);
            keys.masters[0].mki = mki;
            (keys.plain_rtp, keys.plain_rtcp) = (plain_rtp, plain_rtcp);
            let mut ours = Srtp::new(&keys, &keys).unwrap();
            let mut theirs = Outbound::new(&keys).unwrap();
            let plain =
                [hex("92 60 0001 00000000 00000007 0000000a 0000000b bede 0001 00112233"), vec![9; 33]]
                    .concat();
            let mut packet = plain.clone();
            assert!(theirs.seal_rtp(&mut packet));
            assert_eq!(packet[..28], plain[..28]);
            assert_eq!(packet[28..61] == plain[28..], plain_rtp);
            assert_eq!(ours.open_rtp(at(0), &packet), Ok(&plain[..]), "{suite:?}");
            let plain = hex("81c90007 00000007 00000001 00000002 00000003 00000004 00000005 00000006");
            let mut packet = plain.clone();
            assert!(theirs.seal_rtcp(at(0), &mut packet));
            assert_eq!(packet[8..32] == plain[8..], plain_rtcp);
            assert_eq!(ours.open_rtcp(at(0), &packet), Ok(&plain[..]), "{suite:?}");
        }
    }
}

#[test]
fn an_identifier_chooses_the_key_and_one_that_is_not_sent_is_not_missed() {
    let (mut one, mut two) = (keys(Suite::AesCm128HmacSha1Tag80, 1), keys(Suite::AesCm128HmacSha1Tag80, 2));
    (one.masters[0].mki, two.masters[0].mki) = (vec![1], vec![2]);
    let both = Keys { masters: vec![one.masters[0].clone(), two.masters[0].clone()], ..one.clone() };
    let mut ours = Srtp::new(&both, &one).unwrap();
    for (n, keys) in [&one, &two, &one].into_iter().enumerate() {
        let (plain, sealed) = Sender::new(keys).send(n as u64, 7);
        assert_eq!(ours.open_rtp(at(0), &sealed), Ok(&plain[..]));
    }
    two.masters[0].mki = Vec::new();
    let (plain, sealed) = Sender::new(&two).send(9, 7);
    assert_eq!(ours.open_rtp(at(0), &sealed), Ok(&plain[..]));
}

#[test]
fn a_rollover_is_followed_and_one_that_was_missed_is_found() {
    for suite in [Suite::AesCm128HmacSha1Tag80, Suite::AesCm128HmacSha1Tag32, Suite::AeadAes256Gcm] {
        let keys = keys(suite, 3);
        let sender = Sender::new(&keys);
        let mut ours = Srtp::new(&keys, &keys).unwrap();
        // The beginning was missed, and lies just before a rollover.
        for index in [0x1_0001, 0xffff, 0x1_0000, 0x1_0002, 0x1_8000, 0x1_ffff, 0x2_0001, 0x2_0000] {
            let (plain, sealed) = sender.send(index, 7);
            assert_eq!(ours.open_rtp(at(0), &sealed), Ok(&plain[..]), "{suite:?} {index:x}");
        }
        // Whoever joins late tries, packet by packet, until the count is found.
        let mut late = Srtp::new(&keys, &keys).unwrap();
        let found = (0..300_u64).find(|n| {
            let (_, sealed) = sender.send((23 << 16) + n, 7);
            late.open_rtp(at(0), &sealed).is_ok()
        });
        assert_eq!(found, Some(11), "23 is tried with the twelfth packet");
        // A round and a half was missed.
        let resumed = (0..300_u64).find(|n| {
            let (_, sealed) = sender.send((24 << 16) + 0xa000 + n, 7);
            late.open_rtp(at(0), &sealed).is_ok()
        });
        assert!(resumed.is_some_and(|n| n < 20), "{resumed:?}");
        // Nothing of before is taken again, however much noise comes between.
        for n in 0..40 {
            let mut noise = sender.send((24 << 16) + 0xa100 + n, 7).1;
            noise[20] ^= 1;
            assert!(late.open_rtp(at(0), &noise).is_err());
        }
        for index in [5, (3 << 16) + 0xa200, (23 << 16) + 9] {
            assert!(late.open_rtp(at(0), &sender.send(index, 7).1).is_err(), "{index:x}");
        }
        assert!(late.open_rtp(at(0), &sender.send((24 << 16) + 0xa200, 7).1).is_ok());
    }
}

#[test]
fn what_comes_twice_is_told_and_other_keys_open_nothing() {
    let (right, wrong) = (keys(Suite::AesCm128HmacSha1Tag80, 1), keys(Suite::AesCm128HmacSha1Tag80, 2));
    let mut ours = Srtp::new(&right, &right).unwrap();
    let (plain, sealed) = Sender::new(&right).send(5, 7);
    assert_eq!(ours.open_rtp(at(0), &sealed), Ok(&plain[..]));
    assert_eq!(ours.open_rtp(at(0), &sealed), Err(Closed::Replayed));
    assert_eq!(ours.open_rtp(at(0), &Sender::new(&wrong).send(6, 7).1), Err(Closed::Unauthentic));
    assert_eq!(ours.open_rtp(at(0), &rtp(6, 7, &[0; 160])), Err(Closed::Unauthentic));
    assert_eq!(ours.open_rtp(at(0), &[0x80; 11]), Err(Closed::Malformed));
    assert_eq!(ours.open_rtp(at(0), &vec![0x80; PACKET_MAX + 1]), Err(Closed::Malformed));
}

#[test]
fn new_keys_take_over_and_those_before_open_what_was_on_its_way() {
    let (old, new) = (keys(Suite::AesCm128HmacSha1Tag80, 1), keys(Suite::AeadAes128Gcm, 2));
    let mut ours = Srtp::new(&old, &old).unwrap();
    let (before, after) = (Sender::new(&old), Sender::new(&new));
    let mut last = 0;
    for n in 0..20 {
        last = 0x3_0006 + n;
        let _ = ours.open_rtp(at(0), &before.send(last, 7).1);
    }
    ours.update(&new, &old);
    assert!(ours.open_rtp(at(10), &before.send(last + 1, 7).1).is_ok(), "the sender has not changed yet");
    assert!(ours.open_rtp(at(20), &after.send(last + 3, 7).1).is_ok(), "its count goes on");
    assert!(ours.open_rtp(at(30), &before.send(last + 2, 7).1).is_ok(), "it was on its way");
    assert!(ours.open_rtp(at(3_000), &after.send(last + 4, 7).1).is_ok());
    assert_eq!(ours.open_rtp(at(3_010), &before.send(last + 5, 7).1), Err(Closed::Unauthentic));
    // The same again changes nothing.
    ours.update(&new, &old);
    assert_eq!(ours.open_rtp(at(3_020), &after.send(last + 4, 7).1), Err(Closed::Replayed));
}

#[test]
fn sources_that_were_never_authentic_leave_nothing_behind() {
    let keys = keys(Suite::AesCm128HmacSha1Tag80, 1);
    let mut inbound = Inbound::new(&keys).unwrap();
    let mut out = [0; PACKET_MAX];
    for ssrc in 0..1_000 {
        assert!(inbound.open_rtp(&rtp(1, ssrc, &[0; 100]), None, &mut 1, &mut out).is_err());
        assert!(inbound.open_rtcp(&[0x81, 200, 0, 6, 0, 0, 3, ssrc as u8, 1, 2, 3, 4], &mut out).is_err());
    }
    assert_eq!(inbound.sources(), (0, 0));
    let sender = Sender::new(&keys);
    for ssrc in 0..100 {
        assert!(inbound.open_rtp(&sender.send(1, ssrc).1, None, &mut 1, &mut out).is_ok());
    }
    assert_eq!(inbound.sources(), (16, 0));
}

#[test]
fn the_index_of_reports_grows_over_a_new_beginning_with_the_same_key() {
    let keys = keys(Suite::AesCm128HmacSha1Tag80, 1);
    let mut theirs = Srtp::new(&keys, &keys).unwrap();
    let report = hex("80c90001 00000007");
    for ms in [0, 5_000, 10_000] {
        let mut packet = report.clone();
        // Each time from the beginning, as a segment after a hold.
        let mut ours = Outbound::new(&keys).unwrap();
        assert!(ours.seal_rtcp(at(ms), &mut packet));
        assert_eq!(theirs.open_rtcp(at(0), &packet), Ok(&report[..]), "{ms}");
    }
    let mut ours = Outbound::new(&keys).unwrap();
    for n in 0..5 {
        let mut packet = report.clone();
        assert!(ours.seal_rtcp(at(20_000 + n), &mut packet));
        assert_eq!(theirs.open_rtcp(at(0), &packet), Ok(&report[..]), "{n}");
    }
}

#[test]
fn nothing_is_printed_of_a_key() {
    let keys = Keys::single(Suite::AesCm128HmacSha1Tag80, vec![0x41; 30]).unwrap();
    let ours = Srtp::new(&keys, &keys).unwrap();
    let printed = format!("{ours:?} {:?}", Outbound::new(&keys));
    assert!(!printed.contains("65") && !printed.contains("AAAA"), "{printed}");
}

#[test]
fn a_key_of_another_length_makes_nothing() {
    let mut short = keys(Suite::AesCm128HmacSha1Tag80, 1);
    short.masters[0] = MasterKey { secret: Secret::new(vec![0; 29]), mki: Vec::new() };
    assert!(Inbound::new(&short).is_none());
    short.masters.clear();
    assert!(Inbound::new(&short).is_none());
}

proptest! {
    #[test]
    fn any_octets_are_survived_and_opened_only_when_nothing_was_changed(
        suite in 0_usize..8,
        mki in proptest::collection::vec(any::<u8>(), 0..5),
        mutations in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
        cut in 0_usize..40,
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut keys = keys(Suite::ALL[suite], 1);
        keys.masters[0].mki = mki;
        let mut ours = Srtp::new(&keys, &keys).unwrap();
        let _ = ours.open_rtp(at(0), &noise).is_ok();
        let _ = ours.open_rtcp(at(0), &noise).is_ok();
        let (plain, sealed) = Sender::new(&keys).send(1, 7);
        let mut packet = sealed.clone();
        for (place, with) in mutations {
            let place = usize::from(place) % packet.len();
            packet[place] ^= with;
        }
        packet.truncate(packet.len().saturating_sub(cut));
        let opened = ours.open_rtp(at(0), &packet).map(<[u8]>::to_vec);
        if packet == sealed {
            prop_assert_eq!(opened, Ok(plain));
        } else if let Ok(opened) = opened {
            // An identifier is not authenticated; what it stands behind is.
            prop_assert_eq!(opened, plain);
        }
        let _ = ours.open_rtcp(at(0), &packet).is_ok();
    }
}

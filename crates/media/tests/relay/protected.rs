//! Keys on one side, on both, or not ours at all.

use std::collections::{BTreeMap, BTreeSet};

use media::relay::{Beginning, OpenEnd, Recorder, Refused, Relay, Security, Sends, Which, Why};
use media::srtp::{Outbound, Unsealed};
use model::{Keys, Suite};
use proptest::prelude::*;

use crate::world::{Phone, at, end, peer, rtcp, rtp};

fn keys(suite: Suite, octet: u8) -> Keys {
    Keys::single(suite, vec![octet; suite.secret_len()]).unwrap()
}

/// What an end is protected by, and what its peer has.
fn protection(suite: Suite, octet: u8) -> (Security, Phone) {
    let (theirs, ours) = (keys(suite, octet), keys(suite, octet + 1));
    let peer = Phone::new(&ours, &theirs).unwrap();
    (Security::Keys { inbound: theirs, outbound: ours }, peer)
}

fn only(sends: &mut Sends) -> Vec<u8> {
    let [sent] = sends.forwards() else { panic!("{:?}", sends.forwards()) };
    let octets = sends.octets(sent).to_vec();
    sends.clear();
    octets
}

#[test]
fn between_any_two_suites_payloads_and_reports_are_what_they_were() {
    for (from, to) in Suite::ALL.into_iter().flat_map(|a| Suite::ALL.map(|b| (a, b))) {
        let ((theirs, mut a), (others, mut b)) = (protection(from, 1), protection(to, 11));
        let mut relay = Relay::default();
        let first = relay.open(&OpenEnd { security: theirs, ..end(0, "A") }).unwrap();
        relay.open(&OpenEnd { security: others, ..end(1, "B") }).unwrap();
        let mut sends = Sends::default();
        for n in 0..3_u16 {
            let (plain, now) =
                (rtp(0, 65_534_u16.wrapping_add(n), 7, &[n.to_be_bytes()[1]; 160]), at(i64::from(n) * 20));
            let mut packet = plain.clone();
            a.seal_once(&mut packet).unwrap();
            relay.receive(now, (first, Which::Rtp), peer("A"), &packet, &mut sends).unwrap();
            let out = only(&mut sends);
            assert_ne!(out, plain);
            assert_eq!(b.open_rtp(now, &out), Ok(&plain[..]), "{from:?} to {to:?}");
            // The same once more is nobody's.
            let again = relay.receive(now, (first, Which::Rtp), peer("A"), &packet, &mut sends);
            assert_eq!(again, Err(Why::Replayed));
            let plain = rtcp(7, n == 2);
            let mut packet = plain.clone();
            assert!(a.seal_rtcp(now, &mut packet));
            relay.receive(now, (first, Which::Rtcp), peer("A+1"), &packet, &mut sends).unwrap();
            assert_eq!(b.open_rtcp(now, &only(&mut sends)), Ok(&plain[..]));
        }
    }
}

#[test]
fn from_the_clear_to_keys_and_back() {
    for suite in [Suite::AesCm128HmacSha1Tag80, Suite::AeadAes128Gcm] {
        let (security, mut phone) = protection(suite, 3);
        let mut relay = Relay::default();
        let clear = relay.open(&end(0, "A")).unwrap();
        let secret = relay.open(&OpenEnd { security, ..end(1, "B") }).unwrap();
        let mut sends = Sends::default();
        let plain = rtp(0, 9, 7, b"to the phone");
        relay.receive(at(0), (clear, Which::Rtp), peer("A"), &plain, &mut sends).unwrap();
        assert_eq!(phone.open_rtp(at(0), &only(&mut sends)), Ok(&plain[..]));
        let plain = rtp(0, 1, 8, b"from the phone");
        let mut packet = plain.clone();
        phone.seal_once(&mut packet).unwrap();
        relay.receive(at(0), (secret, Which::Rtp), peer("B"), &packet, &mut sends).unwrap();
        assert_eq!(only(&mut sends), plain);
        // In the clear it is not the phone's.
        let forged = rtp(0, 2, 8, b"from the phone");
        let forged = relay.receive(at(0), (secret, Which::Rtp), peer("B"), &forged, &mut sends);
        assert_eq!((forged, sends.forwards().len()), (Err(Why::Unauthentic), 0));
    }
}

/// Who sends in the clear could have two payloads protected by one piece of key stream.
#[test]
fn another_payload_under_the_same_number_is_never_protected() {
    let (security, mut phone) = protection(Suite::AeadAes256Gcm, 3);
    let mut relay = Relay::default();
    let clear = relay.open(&end(0, "A")).unwrap();
    let secret = relay.open(&OpenEnd { security, ..end(1, "B") }).unwrap();
    let mut sends = Sends::default();
    let mut came = Vec::new();
    for (sequence, text) in [(5, "one"), (5, "two"), (6, "three"), (8, "four"), (7, "five"), (7, "six")] {
        let plain = rtp(0, sequence, 7, text.as_bytes());
        relay.receive(at(0), (clear, Which::Rtp), peer("A"), &plain, &mut sends).unwrap();
        for sent in sends.forwards() {
            let opened = phone.open_rtp(at(0), sends.octets(sent)).unwrap();
            came.push(String::from_utf8(opened[12..].to_vec()).unwrap());
        }
        sends.clear();
    }
    assert_eq!(came, ["one", "three", "four", "five"]);
    let counts = relay.counts(secret).unwrap();
    assert_eq!((counts.sent, counts.unsent), (4, 2));
}

#[test]
fn indices_go_on_over_the_rollover_and_sources_of_a_key_have_a_limit() {
    let ours = keys(Suite::AesCm128HmacSha1Tag80, 9);
    let mut out = Outbound::new(&ours).unwrap();
    let mut peer = Phone::new(&ours, &ours).unwrap();
    let mut seal = |sequence: u16, ssrc: u32| {
        let plain = rtp(0, sequence, ssrc, b"x");
        let mut packet = plain.clone();
        out.seal_once(0, &mut packet)
            .inspect(|_| assert_eq!(peer.open_rtp(at(0), &packet).unwrap()[12..], plain[12..]))
    };
    assert_eq!(seal(2, 1), Ok(1));
    assert_eq!(seal(65_535, 1), Err(Unsealed::Stray), "before the first there is nothing");
    for n in (3..200_000_u32).step_by(1_000) {
        assert_eq!(seal(u16::try_from(n % 65_536).unwrap(), 1), Ok(1), "{n}");
    }
    for ssrc in 2..=33 {
        assert_eq!(seal(1, ssrc), Ok(ssrc));
    }
    // The first is forgotten, so nobody knows which names were used: it has another one, and so has whoever comes.
    for ssrc in [1, 34] {
        assert_ne!(seal(5, ssrc).unwrap(), ssrc);
    }
    assert_eq!(seal(2, 33), Ok(33));
    assert_eq!(Outbound::new(&ours).unwrap().seal_once(0, &mut vec![0; 5]), Err(Unsealed::Malformed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever numbers senders choose: no piece of key stream twice. What is protected is opened, unless it is behind.
    #[test]
    fn whatever_senders_do_no_index_is_used_twice(
        steps in proptest::collection::vec(
            (0_u8..3, 1_u32..40, prop_oneof![0_u16..5, any::<u16>(), Just(65_535), Just(30_000)]), 1..400),
    ) {
        let ours = keys(Suite::AesCm128HmacSha1Tag80, 9);
        let mut out = Outbound::new(&ours).unwrap();
        let (mut streams, mut numbers) = (BTreeSet::new(), BTreeMap::<(u8, u32), u16>::new());
        for (n, (sender, ssrc, ahead)) in steps.into_iter().enumerate() {
            // Few sources mostly, so that they meet.
            let ssrc = if n % 3 == 0 { ssrc } else { ssrc % 3 };
            let number = numbers.entry((sender, ssrc)).or_default();
            *number = number.wrapping_add(ahead);
            let payload = [u8::try_from(n % 256).unwrap(); 16];
            let mut packet = rtp(0, *number, ssrc, &payload);
            if out.seal_once(sender, &mut packet).is_ok() {
                let stream: Vec<u8> = packet[12..28].iter().zip(payload).map(|(a, b)| a ^ b).collect();
                prop_assert!(streams.insert(stream), "key stream twice, at step {}", n);
            }
        }
    }
}

/// A stray number, a jump, a sender that begins anew, one leg in the name of another: it costs a packet at most.
#[test]
fn nobody_is_muted_by_numbers() {
    let (security, mut phone) = protection(Suite::AeadAes128Gcm, 3);
    let mut relay = Relay::default();
    let a = relay.open(&end(0, "A")).unwrap();
    let b = relay.open(&end(1, "B")).unwrap();
    let c = relay.open(&OpenEnd { security, ..end(2, "C") }).unwrap();
    let (mut sends, mut lost) = (Sends::default(), Vec::new());
    let mut says = |end, who: &str, sequence: u16, ssrc: u32| {
        let plain = rtp(0, sequence, ssrc, &sequence.to_be_bytes());
        relay.receive(at(0), (end, Which::Rtp), peer(who), &plain, &mut sends).unwrap();
        let to_c = sends.forwards().iter().find(|s| s.to == peer("C"));
        let opened = to_c
            .is_some_and(|s| phone.open_rtp(at(0), sends.octets(s)).is_ok_and(|o| o[12..] == plain[12..]));
        if !opened {
            lost.push((who.to_owned(), sequence));
        }
        sends.clear();
    };
    (5_100..5_110).for_each(|n| says(a, "A", n, 7));
    says(a, "A", 30_110, 7);
    (5_110..5_120).for_each(|n| says(a, "A", n, 7));
    // B has the same source, far away; and A says something in its name.
    (40_000..40_010).for_each(|n| says(b, "B", n, 7));
    says(a, "A", 60_010, 7);
    (40_010..40_020).for_each(|n| says(b, "B", n, 7));
    // A begins anew, lower; then leaps over a hole of minutes.
    (5..15).for_each(|n| says(a, "A", n, 7));
    (20_000..20_010).for_each(|n| says(a, "A", n, 7));
    let expected = [("A", 30_110), ("A", 60_010), ("A", 5), ("A", 20_000)];
    assert_eq!(lost, expected.map(|(who, n)| (who.to_owned(), n)));
    assert_eq!(relay.counts(c).unwrap().unsent, 4);
}

/// Keys that go and come back go on where they were, and two at a time never have the same.
#[test]
fn a_key_that_comes_back_protects_nothing_twice() {
    let ours = keys(Suite::AesCm128HmacSha1Tag80, 9);
    let by = |octet: u8| Security::Keys {
        inbound: keys(Suite::AeadAes128Gcm, 1),
        outbound: keys(ours.suite, octet),
    };
    let mut relay = Relay::default();
    let a = relay.open(&end(0, "A")).unwrap();
    let mut b = relay.open(&OpenEnd { security: by(9), ..end(1, "B") }).unwrap();
    let twice = relay.open(&OpenEnd { security: by(9), ..end(2, "C") });
    assert_eq!(twice, Err(Refused::KeyUsed));
    let recorder = |name: &str, keys: &Keys| Recorder {
        rtp: peer(name),
        rtcp: None,
        keys: Some(keys.clone()),
        mark: None,
    };
    assert_eq!(relay.tee(at(0), a, 0, Some((&recorder("R1", &ours), Beginning::Now))), Err(Refused::KeyUsed));
    let copies = keys(Suite::AesCm128HmacSha1Tag80, 77);
    let (mut sends, mut streams) = (Sends::default(), BTreeSet::new());
    for round in 0..8_u8 {
        match round {
            1 => relay.change(b, &OpenEnd { security: Security::Awaited, ..end(1, "B") }).unwrap(),
            2 | 4 => relay.change(b, &OpenEnd { security: by(9), ..end(1, "B") }).unwrap(),
            3 => relay.change(b, &OpenEnd { security: by(20), ..end(1, "B") }).unwrap(),
            5 => {
                relay.close(b).unwrap();
                b = relay.open(&OpenEnd { security: by(9), ..end(1, "B") }).unwrap();
            }
            6 => relay.change(b, &OpenEnd { security: Security::Clear, ..end(1, "B") }).unwrap(),
            7 => relay.change(b, &OpenEnd { security: by(9), ..end(1, "B") }).unwrap(),
            _ => {}
        }
        // The recorder moves, goes, and comes back.
        let to = (round != 3).then(|| recorder(["R1", "R2"][usize::from(round % 2)], &copies));
        relay.tee(at(0), a, 0, to.as_ref().map(|r| (r, Beginning::Now))).unwrap();
        for sequence in 0..5 {
            let plain = rtp(0, sequence, 7, &[round; 16]);
            relay.receive(at(0), (a, Which::Rtp), peer("A"), &plain, &mut sends).unwrap();
            for (sent, key) in
                sends.forwards().iter().map(|s| (s, 1)).chain(sends.tees().iter().map(|s| (s, 2)))
            {
                let octets = sends.octets(sent);
                let stream: Vec<u8> = octets[12..28].iter().map(|o| o ^ round).collect();
                let is_clear = octets == plain;
                assert!(is_clear || streams.insert((key, stream)), "round {round}, key {key}");
            }
            sends.clear();
        }
    }
    assert!(streams.len() >= 10, "{}", streams.len());
}

#[test]
fn noise_in_the_name_of_a_peer_takes_nothing_from_it() {
    let (security, mut phone) = protection(Suite::AesCm128HmacSha1Tag80, 3);
    let mut relay = Relay::default();
    let secret = relay.open(&OpenEnd { security, ..end(0, "A") }).unwrap();
    relay.open(&end(1, "B")).unwrap();
    let (mut sends, mut heard) = (Sends::default(), 0);
    for n in 0..50_u16 {
        for noise in 0..30 {
            let noise = rtp(0, n + noise, 7, &[9; 60]);
            let _ = relay.receive(at(i64::from(n) * 20), (secret, Which::Rtp), peer("A"), &noise, &mut sends);
        }
        let mut packet = rtp(0, n, 7, b"voice");
        phone.seal_once(&mut packet).unwrap();
        let taken =
            relay.receive(at(i64::from(n) * 20), (secret, Which::Rtp), peer("A"), &packet, &mut sends);
        heard += usize::from(taken.is_ok());
    }
    assert_eq!((heard, sends.forwards().len()), (50, 50));
}

#[test]
fn who_has_the_keys_is_followed_anywhere_and_who_has_not_costs_little() {
    let (security, mut phone) = protection(Suite::AesCm128HmacSha1Tag32, 3);
    let mut relay = Relay::default();
    let secret = relay.open(&OpenEnd { security, ..end(0, "A") }).unwrap();
    let clear = relay.open(&end(1, "B")).unwrap();
    let mut sends = Sends::default();
    let mut why = std::collections::BTreeMap::new();
    for _ in 0..1_000 {
        let noise = rtp(0, 1, 5, &[7; 60]);
        let taken = relay.receive(at(0), (secret, Which::Rtp), peer("X"), &noise, &mut sends);
        *why.entry(format!("{:?}", taken.unwrap_err())).or_insert(0) += 1;
    }
    assert_eq!(why, [("Stranger".to_owned(), 900), ("Unauthentic".to_owned(), 100)].into());
    // A second later the phone comes from where nobody told.
    let mut packet = rtp(0, 1, 7, b"here I am");
    phone.seal_once(&mut packet).unwrap();
    relay.receive(at(1_000), (secret, Which::Rtp), peer("Y"), &packet, &mut sends).unwrap();
    assert_eq!(relay.sends_to(secret), Some(peer("Y")));
    // What it sent is worth nothing to who overheard it.
    let stolen = relay.receive(at(1_020), (secret, Which::Rtp), peer("X"), &packet, &mut sends);
    assert_eq!((stolen, relay.sends_to(secret)), (Err(Why::Replayed), Some(peer("Y"))));
    sends.clear();
    relay.receive(at(1_040), (clear, Which::Rtp), peer("B"), &rtp(0, 1, 8, b"hello"), &mut sends).unwrap();
    assert_eq!(sends.forwards()[0].to, peer("Y"));
}

#[test]
fn keys_that_are_not_ours_pass_untouched_and_new_ones_of_ours_begin_where_they_are() {
    let strange = keys(Suite::AeadAes128Gcm, 77);
    let (mut a, mut b) = (Phone::new(&strange, &strange).unwrap(), Phone::new(&strange, &strange).unwrap());
    let mut relay = Relay::default();
    let first = relay.open(&end(0, "A")).unwrap();
    relay.open(&end(1, "B")).unwrap();
    let mut sends = Sends::default();
    let plain = rtp(0, 1, 7, b"between them");
    let mut packet = plain.clone();
    a.seal_once(&mut packet).unwrap();
    relay.receive(at(0), (first, Which::Rtp), peer("A"), &packet, &mut sends).unwrap();
    let out = only(&mut sends);
    assert_eq!(out, packet);
    assert_eq!(b.open_rtp(at(0), &out), Ok(&plain[..]));
    let mut report = rtcp(7, false);
    assert!(a.seal_rtcp(at(0), &mut report));
    relay.receive(at(0), (first, Which::Rtcp), peer("A+1"), &report, &mut sends).unwrap();
    assert_eq!(only(&mut sends), report);

    // Signalling changes: the first leg has keys with us from now on, then others.
    for octet in [20, 40] {
        let (security, mut phone) = protection(Suite::AesCm256HmacSha1Tag80, octet);
        relay.change(first, &OpenEnd { security, ..end(0, "A") }).unwrap();
        let plain = rtp(0, 2, 7, b"with us");
        let mut packet = plain.clone();
        phone.seal_once(&mut packet).unwrap();
        relay.receive(at(20), (first, Which::Rtp), peer("A"), &packet, &mut sends).unwrap();
        assert_eq!(only(&mut sends), plain);
    }
    let short = Keys { suite: Suite::AeadAes256Gcm, ..keys(Suite::AeadAes128Gcm, 1) };
    let security = Security::Keys { inbound: short.clone(), outbound: short };
    let refused = relay.change(first, &OpenEnd { security, ..end(0, "A") });
    assert_eq!(refused, Err(media::relay::Refused::Key));
}

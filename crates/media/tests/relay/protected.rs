//! Keys on one side, on both, or not ours at all.

use media::relay::{OpenEnd, Relay, Security, Sends, Which, Why};
use media::srtp::{Outbound, Srtp, Unsealed};
use model::{Keys, Suite};

use crate::world::{at, end, peer, rtcp, rtp};

fn keys(suite: Suite, octet: u8) -> Keys {
    Keys::single(suite, vec![octet; suite.secret_len()]).unwrap()
}

/// What an end is protected by, and what its peer has.
fn protection(suite: Suite, octet: u8) -> (Security, Srtp) {
    let (theirs, ours) = (keys(suite, octet), keys(suite, octet + 1));
    let peer = Srtp::new(&ours, &theirs).unwrap();
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
    for (sequence, text) in [(5, "one"), (5, "two"), (6, "three"), (4, "four"), (4, "five"), (6, "six")] {
        let plain = rtp(0, sequence, 7, text.as_bytes());
        relay.receive(at(0), (clear, Which::Rtp), peer("A"), &plain, &mut sends).unwrap();
        for sent in sends.forwards() {
            let opened = phone.open_rtp(at(0), sends.octets(sent)).unwrap();
            came.push(String::from_utf8(opened[12..].to_vec()).unwrap());
        }
        sends.clear();
    }
    assert_eq!(came, ["one", "three", "four"]);
    let counts = relay.counts(secret).unwrap();
    assert_eq!((counts.sent, counts.unsent), (3, 3));
}

#[test]
fn indices_go_on_over_the_rollover_and_sources_of_a_key_have_a_limit() {
    let ours = keys(Suite::AesCm128HmacSha1Tag80, 9);
    let mut out = Outbound::new(&ours).unwrap();
    let mut peer = Srtp::new(&ours, &ours).unwrap();
    let mut seal = |sequence: u16, ssrc: u32| {
        let plain = rtp(0, sequence, ssrc, b"x");
        let mut packet = plain.clone();
        out.seal_once(&mut packet).map(|()| assert_eq!(peer.open_rtp(at(0), &packet), Ok(&plain[..])))
    };
    assert_eq!(seal(2, 1), Ok(()));
    assert_eq!(seal(65_535, 1), Err(Unsealed::Repeated), "before the first there is nothing");
    for n in (3..200_000_u32).step_by(1_000) {
        assert_eq!(seal(u16::try_from(n % 65_536).unwrap(), 1), Ok(()), "{n}");
    }
    for ssrc in 2..=64 {
        assert_eq!(seal(1, ssrc), Ok(()));
    }
    assert_eq!(seal(1, 65), Err(Unsealed::Sources));
    assert_eq!(seal(2, 64), Ok(()));
    assert_eq!(Outbound::new(&ours).unwrap().seal_once(&mut vec![0; 5]), Err(Unsealed::Malformed));
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
    let (mut a, mut b) = (Srtp::new(&strange, &strange).unwrap(), Srtp::new(&strange, &strange).unwrap());
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

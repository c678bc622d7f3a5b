//! How the media of an m-line are encrypted: which of the offered ways is taken, and by which keys of ours it is
//! answered.
//!
//! A profile that says so (`RTP/SAVP`) is encrypted or refused. With the plain profile, keys are taken where they are
//! offered (RFC 8643), and the line is plain where none of them can be used. A key of ours stays as long as its line
//! and cipher do, so that a re-INVITE that changes nothing is answered with nothing new.
//!
//! A handshake and checks belong to ports. After a hold there are others, while an offer mostly says what it said before:
//! then our answer names another association (`a=tls-id`, where the offer names one) and has other credentials for
//! checks, so that whoever goes by that begins anew. Whoever goes on instead is opened by the keys that there were.
//!
//! Keys in SDP are taken before a handshake, where both are offered: they need no further packets. Where a trunk says
//! that keys come by the interface, a line that brings none awaits them. Connectivity checks
//! (ICE) are answered where they are offered, by our one address: we are a lite agent.

pub(crate) mod form;

use media::sdp::{Crypto, IceUser, MediaLine, Security, Setup};
use media::srtp::Entropy;
use model::protection::{Fingerprint, Handshake, HandshakeRole, Ice};
use model::{Keys, Protection, Secret, Suite};

use crate::ask::{self, AskEncrypted};
use crate::trunk::KeysBy;

/// Octets of randomness in a name of ours for an association: 18 make 24 letters (RFC 8842 section 4 wants 20).
const ID_OCTETS: usize = 18;
/// Octets of randomness in a password of ours: 24 make 32 letters (RFC 8839 section 5.4 wants 128 bits).
const PASSWORD_OCTETS: usize = 24;
/// The same in a user of ours: 6 make 8 letters.
const USER_OCTETS: usize = 6;

/// What our side of encryption is made of.
#[derive(Debug)]
pub struct OwnKeys {
    /// Of what keys are made.
    pub entropy: Entropy,
    /// The certificate that is shown in handshakes; none: none are made.
    pub certificate: Option<Fingerprint>,
}

/// What is agreed on for a line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Agreed {
    /// How its packets are protected.
    pub(crate) protection: Protection,
    /// What our description says of it.
    pub(crate) said: Security,
    /// Our credentials for checks, and whom they are for.
    pub(crate) ice: Option<(Ice, IceUser)>,
    /// Keys that somebody gave, for as long as the line is there: it may say something else for a while.
    pub(crate) given: Option<Keys>,
}

/// What becomes of the ports of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ports {
    /// They stay as they are, or there are none for now.
    Kept,
    /// It had some, and gets others.
    New,
}

/// Whether a line can be received: it is plain, or there is a way to open it.
pub(crate) fn can_open(media: &MediaLine, by: KeysBy, own: Option<&OwnKeys>) -> bool {
    !media.is_encrypted() || way(media, by, own).is_some()
}

/// Why a line is refused for how it is encrypted, if it is.
pub(crate) fn why_not(media: &MediaLine, by: KeysBy, own: Option<&OwnKeys>) -> Option<&'static str> {
    if media.is_off() || can_open(media, by, own) {
        None
    } else if media.security.unknown_crypto {
        Some(
            "its client offers to encrypt it by ciphers or parameters that are not known here; have it offer \
             AES_CM_128_HMAC_SHA1_80 or AEAD_AES_128_GCM without KDR and FEC",
        )
    } else {
        Some(
            "its client wants it encrypted and gives neither a key (SDES, a=crypto) nor a certificate (DTLS, \
             a=fingerprint); have it send one of them, or media in the clear; if its keys are to come by the \
             interface, say so in `keys` of its trunk",
        )
    }
}

enum Way<'a> {
    Sdes(&'a Crypto),
    Dtls(Fingerprint),
    /// Somebody gives them beside signalling.
    Interface,
}

/// The way in which a line is opened; none: it is plain, or cannot be.
fn way<'a>(media: &'a MediaLine, by: KeysBy, own: Option<&OwnKeys>) -> Option<Way<'a>> {
    let own = own?;
    let crypto = media.security.crypto.first().filter(|_| !media.is_handshaken());
    let certificate = own.certificate.clone().filter(|_| media.security.has_handshake());
    let is_awaited = match by {
        KeysBy::Signalling => false,
        KeysBy::Interface => media.is_encrypted(),
        KeysBy::InterfaceAlways => true,
    };
    let interface = is_awaited.then_some(Way::Interface);
    crypto.map(Way::Sdes).or(certificate.map(Way::Dtls)).or(interface)
}

/// What is agreed on for a line, which had `before`.
pub(crate) fn agree(
    media: &MediaLine,
    (before, ports): (Option<&Agreed>, Ports),
    by: KeysBy,
    own: Option<&mut OwnKeys>,
) -> Agreed {
    let Some(own) = own else { return Agreed::default() };
    let stays = before.filter(|_| ports == Ports::Kept);
    let given = before.and_then(|b| b.given.clone());
    let (protection, said) = match way(media, by, Some(own)) {
        None => (Protection::None, Security::None),
        // Keys that were given stay until others are.
        Some(Way::Interface) => {
            (given.clone().map_or(Protection::Awaited, Protection::Given), Security::None)
        }
        Some(Way::Sdes(offered)) => by_keys(offered, before, own),
        Some(Way::Dtls(certificate)) => by_handshake(media, certificate, stays, own),
    };
    Agreed { protection, said, ice: checks(media, stays, own), given }
}

fn by_keys(offered: &Crypto, before: Option<&Agreed>, own: &mut OwnKeys) -> (Protection, Security) {
    let suite = offered.keys.suite;
    let known = match before.map(|b| &b.said) {
        Some(Security::Sdes(lines)) => lines.iter().find(|ours| ours.keys.suite == suite),
        _ => None,
    };
    let keys = known.map(|ours| ours.keys.clone()).or_else(|| own.entropy.keys(suite));
    let Some(keys) = keys else { return (Protection::None, Security::None) };
    // Whether something stays in the clear is agreed for both directions (RFC 4568 section 6.3).
    let Keys { plain_rtp, plain_rtcp, .. } = offered.keys;
    let outbound = Keys { plain_rtp, plain_rtcp, ..keys };
    let said =
        Security::Sdes(vec![Crypto { tag: offered.tag, name: offered.name.clone(), keys: outbound.clone() }]);
    (Protection::Srtp { inbound: offered.keys.clone(), outbound }, said)
}

/// Whoever can wait for the other does: so do we where we are left the choice (RFC 5763 section 5).
fn by_handshake(
    media: &MediaLine,
    fingerprint: Fingerprint,
    before: Option<&Agreed>,
    own: &mut OwnKeys,
) -> (Protection, Security) {
    let (role, setup) = match media.security.setup {
        Some(Setup::Passive) => (HandshakeRole::Client, Setup::Active),
        Some(Setup::Active | Setup::ActPass) | None => (HandshakeRole::Server, Setup::Passive),
    };
    let handshake =
        Handshake { role, peer: media.security.fingerprints.clone(), id: media.security.tls_id.clone() };
    // Our name for it stays while it does (RFC 8842 section 5.3).
    let known = before.filter(|b| b.protection == Protection::Dtls(handshake.clone()));
    let known = known.and_then(|b| match &b.said {
        Security::Dtls { id, .. } => id.clone(),
        _ => None,
    });
    let id = handshake.id.as_ref().map(|_| known.unwrap_or_else(|| letters(&own.entropy.octets(ID_OCTETS))));
    (Protection::Dtls(handshake), Security::Dtls { fingerprint, setup, id })
}

/// Our credentials stay while those of the other do: others begin anew (RFC 8445 section 9).
fn checks(media: &MediaLine, before: Option<&Agreed>, own: &mut OwnKeys) -> Option<(Ice, IceUser)> {
    let theirs = media.security.ice.clone().filter(|i| i.password.is_some())?;
    if let Some((ours, for_whom)) = before.and_then(|b| b.ice.clone())
        && for_whom == theirs
    {
        return Some((ours, theirs));
    }
    let user = letters(&own.entropy.octets(USER_OCTETS));
    let password = Secret::new(letters(&own.entropy.octets(PASSWORD_OCTETS)).into_bytes());
    Some((Ice { user, password }, theirs))
}

/// Six bits a letter, of those that ICE allows.
fn letters(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = octets.iter().fold(Vec::new(), |mut bits, octet| {
        bits.extend((0..8).rev().map(|n| octet >> n & 1));
        bits
    });
    bits.chunks_exact(6)
        .filter_map(|six| LETTERS.get(six.iter().fold(0, |n, bit| n << 1 | usize::from(*bit))))
        .map(|letter| char::from(*letter))
        .collect()
}

/// What we offer for a line that we ask for, and the transport that says so. What comes before the answer waits for the
/// keys that it brings.
pub(crate) fn asked(by: AskEncrypted, own: Option<&mut OwnKeys>) -> (Agreed, &'static str) {
    let plain = (Agreed::default(), "RTP/AVP");
    let Some(own) = own else { return plain };
    let awaits = |said| Agreed { protection: Protection::Awaited, said, ..Agreed::default() };
    match by {
        AskEncrypted::No => plain,
        AskEncrypted::Sdes => {
            let line = |(tag, suite): (u32, &Suite)| {
                let keys = own.entropy.keys(*suite)?;
                Some(Crypto { tag, name: suite.name().to_owned(), keys })
            };
            (awaits(Security::Sdes((1..).zip(&ask::SUITES).filter_map(line).collect())), "RTP/SAVP")
        }
        AskEncrypted::Dtls => match own.certificate.clone() {
            Some(fingerprint) => {
                (awaits(Security::Dtls { fingerprint, setup: Setup::ActPass, id: None }), "UDP/TLS/RTP/SAVP")
            }
            None => plain,
        },
    }
}

/// What an offer of ours says where an answer said this: who begins is then the other's choice.
pub(crate) fn offered(said: &Security) -> Security {
    match said {
        Security::Dtls { fingerprint, id, .. } => {
            Security::Dtls { fingerprint: fingerprint.clone(), setup: Setup::ActPass, id: id.clone() }
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use media::sdp::{self, Origin};
    use model::peer::Flowing;
    use model::protection::CertificateHash;
    use model::{IdGenerator, Mono, NodeNumber, Now, StreamPorts, WallTime};

    use super::*;
    use crate::describe::KnownSides;
    use crate::lines::{self, Addresses, Line, Reading};

    const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    const OTHER: &str = "inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

    fn own() -> OwnKeys {
        let certificate = Fingerprint { hash: CertificateHash::Sha256, digest: vec![0xcc; 32] };
        OwnKeys { entropy: Entropy::new([1; 32]), certificate: Some(certificate) }
    }

    fn print() -> String {
        vec!["AB"; 32].join(":")
    }

    /// Offers m-lines one after the other in one dialog; for each the protection of its streams and our answer.
    fn check(offers: &[&str]) -> Vec<(Vec<Option<Protection>>, Vec<String>)> {
        check_by(KeysBy::Signalling, offers)
    }

    fn check_by(keys: KeysBy, offers: &[&str]) -> Vec<(Vec<Option<Protection>>, Vec<String>)> {
        let now = Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) };
        let mut ids = IdGenerator::new(NodeNumber::SINGLE, 0);
        let mut own = own();
        let local = "192.0.2.9".parse().unwrap();
        let addresses = Addresses { v4: Some(local), v6: None };
        let sides = KnownSides::new(crate::AgentSide::default());
        let reading = Reading { sides: &sides, inactive: Flowing::Held, addresses, video: true, keys };
        let origin = Origin { username: "-".into(), session_id: 1, version: 1, address: local };
        let (mut before, mut segments): (Vec<Line>, u16) = (Vec::new(), 0);
        let each = offers.iter().map(|media| {
            let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n{media}");
            let offer = sdp::read(text.as_bytes()).unwrap();
            before = lines::read(&offer, &before, &reading, &mut ids, Some(&mut own), now);
            // A segment is open as long as anything is to be recorded, each time at other ports.
            if lines::all_held(&before) {
                lines::close(&mut before);
            } else if before.iter().any(Line::lacks_ports) {
                segments += 1;
                let at = SocketAddr::new(local, 40_000 + 100 * segments);
                let streams = before.iter().filter_map(|l| l.stream.as_ref());
                let ports =
                    streams.map(|s| StreamPorts { stream: s.stream, rtp: at, rtcp: at, is_stuck: false });
                let ports: Vec<_> = ports.collect();
                lines::set_ports(&mut before, &ports);
            }
            let answer = lines::answer(&offer, &before, &origin, addresses);
            let answer = String::from_utf8(answer.to_vec()).unwrap();
            let said = |l: &&str| {
                ["m=", "a=crypto", "a=setup", "a=tls-id", "a=ice", "a=cand"]
                    .iter()
                    .any(|start| l.starts_with(start))
            };
            let said = answer.lines().filter(said).map(str::to_owned).collect();
            (before.iter().map(|l| l.stream.as_ref().map(|s| s.protection.clone())).collect(), said)
        });
        each.collect()
    }

    fn suite(protection: &Option<Protection>) -> Option<&'static str> {
        match protection {
            Some(Protection::Srtp { inbound, .. }) => Some(inbound.suite.name()),
            _ => None,
        }
    }

    #[test]
    fn the_first_line_that_can_be_done_is_answered_with_its_tag_and_a_key_of_ours() {
        let media = format!(
            "m=audio 5000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n\
             a=crypto:2 AES_CM_128_HMAC_SHA1_32 {KEY}|2^20|1:4 UNENCRYPTED_SRTCP\r\n\
             a=crypto:3 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n\
             m=audio 5002 RTP/AVP 0\r\na=crypto:9 AES_CM_128_HMAC_SHA1_80 {OTHER}\r\n\
             m=audio 5004 RTP/AVP 0\r\n\
             m=audio 5006 RTP/AVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n\
             m=audio 5008 RTP/SAVPF 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n"
        );
        let [(protections, said)] = &check(&[&media])[..] else { panic!() };
        let suites: Vec<_> = protections.iter().map(suite).collect();
        let (short, long) = ("AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80");
        assert_eq!(suites, [Some(short), Some(long), None, None, None]);
        assert_eq!(protections[3], Some(Protection::None), "what nobody knows is not used");
        assert_eq!(protections[4], None, "what must be encrypted and cannot be is refused");
        let keys: Vec<_> = said.iter().filter(|l| l.starts_with("a=crypto")).collect();
        assert!(keys[0].starts_with(&format!("a=crypto:2 {short} inline:")), "{keys:?}");
        assert!(keys[0].ends_with(" UNENCRYPTED_SRTCP"), "{keys:?}");
        assert!(keys[1].starts_with(&format!("a=crypto:9 {long} inline:")), "{keys:?}");
        assert_eq!(keys.len(), 2);
        assert!(!said.iter().any(|l| l.contains(KEY) || l.contains(OTHER)), "their keys are not repeated");
        assert_ne!(keys[0][keys[0].len() - 60..], keys[1][keys[1].len() - 60..], "each line has its own");
        assert_eq!(said.last().unwrap(), "m=audio 0 RTP/SAVPF 0");
    }

    #[test]
    fn a_key_of_ours_stays_while_its_line_does_and_changes_with_the_cipher() {
        let offer = |tag: u32, suite: &str, key: &str| {
            format!("m=audio 5000 RTP/SAVP 0\r\na=crypto:{tag} {suite} {key}\r\n")
        };
        let (short, long) = ("AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80");
        let offers = [
            offer(1, long, KEY),
            offer(1, long, KEY),
            offer(2, long, OTHER),
            "m=audio 5000 RTP/AVP 0\r\n".to_owned(),
            offer(1, short, KEY),
        ];
        let offers: Vec<&str> = offers.iter().map(String::as_str).collect();
        let steps = check(&offers);
        let ours: Vec<_> = steps.iter().map(|(_, said)| said.get(1).cloned().unwrap_or_default()).collect();
        assert_eq!(ours[0], ours[1]);
        assert_eq!(ours[2], ours[0].replacen(":1 ", ":2 ", 1));
        assert_eq!(ours[3], "");
        assert!(!ours[0].contains(&ours[4][ours[4].len() - 40..]));
        assert_ne!(steps[0].0, steps[2].0, "their key has changed");
    }

    #[test]
    fn a_handshake_is_awaited_or_begun_as_the_offer_leaves_it() {
        for (offered, ours, role) in [
            ("a=setup:actpass\r\n", "a=setup:passive", HandshakeRole::Server),
            ("a=setup:active\r\n", "a=setup:passive", HandshakeRole::Server),
            ("", "a=setup:passive", HandshakeRole::Server),
            ("a=setup:passive\r\n", "a=setup:active", HandshakeRole::Client),
        ] {
            let media =
                format!("m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 {}\r\n{offered}", print());
            let [(protections, said)] = &check(&[&media])[..] else { panic!() };
            let Some(Protection::Dtls(handshake)) = &protections[0] else { panic!("{protections:?}") };
            assert_eq!((handshake.role, handshake.peer[0].digest[0]), (role, 0xab));
            assert_eq!(said[1..], [ours]);
        }
        // A key in SDP needs no further packets.
        let both = format!(
            "m=audio 5000 RTP/SAVP 0\r\na=fingerprint:sha-256 {}\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n",
            print()
        );
        assert!(suite(&check(&[&both])[0].0[0]).is_some());
    }

    #[test]
    fn checks_are_answered_by_credentials_that_stay_until_the_client_begins_anew() {
        let offer = |user: &str| {
            format!("m=audio 5000 RTP/AVP 0\r\na=ice-ufrag:{user}\r\na=ice-pwd:0123456789012345678901\r\n")
        };
        let (one, two) = (offer("one"), offer("two"));
        let steps = check(&[&one, &one, &two, "m=audio 5000 RTP/AVP 0\r\n"]);
        let said: Vec<_> = steps.into_iter().map(|(_, said)| said).collect();
        assert!(said[0][0] == "a=ice-lite" && said[0][1].starts_with("m="), "{said:?}");
        assert!(said[0][2].starts_with("a=ice-ufrag:") && said[0][2].len() == 20, "{said:?}");
        assert!(said[0][3].starts_with("a=ice-pwd:") && said[0][3].len() == 42, "{said:?}");
        assert_eq!(said[0][4], "a=candidate:1 1 UDP 2130706431 192.0.2.9 40100 typ host");
        assert_eq!(said[0], said[1]);
        assert_ne!(said[1][2], said[2][2]);
        assert_eq!(said[3].len(), 1);
    }

    #[test]
    fn an_association_and_checks_are_others_where_ports_are() {
        let offer = |id: &str, direction: &str| {
            format!(
                "m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\n{id}a={direction}\r\n\
                 a=ice-ufrag:user\r\na=ice-pwd:0123456789012345678901\r\n",
                print()
            )
        };
        let (one, two) = ("a=tls-id:0123456789abcdef0123\r\n", "a=tls-id:0123456789abcdef4567\r\n");
        let offers = [
            offer(one, "sendonly"),
            offer(one, "sendonly"),
            offer(two, "sendonly"),
            offer(two, "inactive"),
            offer(two, "inactive"),
            offer(two, "sendonly"),
            offer(two, "sendonly"),
            offer("", "sendonly"),
        ];
        let steps = check(&offers.each_ref().map(String::as_str));
        let of = |step: usize, start: &str| {
            steps[step].1.iter().find(|l| l.starts_with(start)).cloned().unwrap_or_default()
        };
        let ids: Vec<_> = (0..8).map(|n| of(n, "a=tls-id:")).collect();
        assert_eq!(ids[0].len(), "a=tls-id:".len() + 24, "{ids:?}");
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[1], ids[2], "the client begins another");
        assert_eq!((&ids[2], &ids[2]), (&ids[3], &ids[4]), "on hold there are no ports");
        assert_ne!(ids[4], ids[5], "others than before the hold");
        assert_eq!(ids[5], ids[6]);
        assert_eq!(ids[7], "", "who names none is told none");
        let users: Vec<_> = (0..8).map(|n| of(n, "a=ice-ufrag:")).collect();
        assert!(users[..5].iter().all(|u| *u == users[0]), "{users:?}");
        assert_ne!(users[4], users[5]);
        assert!(users[5..].iter().all(|u| *u == users[5]), "{users:?}");
    }

    #[test]
    fn what_brings_no_key_awaits_it_where_the_trunk_says_so() {
        let media = format!(
            "m=audio 5000 RTP/SAVP 0\r\n\
             m=audio 5002 RTP/SAVP 0\r\na=crypto:2 F8_128_HMAC_SHA1_80 {KEY}\r\n\
             m=audio 5004 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n\
             m=audio 5006 RTP/AVP 0\r\n\
             m=audio 5008 UDP/TLS/RTP/SAVP 0\r\na=fingerprint:sha-256 {}\r\n",
            print()
        );
        let read = |by| {
            let [(protections, said)] = &check_by(by, &[&media])[..] else { panic!() };
            let name = |p: &Option<Protection>| match p {
                None => "refused",
                Some(Protection::None) => "plain",
                Some(Protection::Awaited) => "awaited",
                Some(Protection::Srtp { .. }) => "sdes",
                Some(Protection::Dtls(_)) => "dtls",
                Some(Protection::Given(_)) => "given",
            };
            let keys = said.iter().filter(|l| l.starts_with("a=crypto")).count();
            (protections.iter().map(name).collect::<Vec<_>>().join(" "), keys)
        };
        assert_eq!(read(KeysBy::Signalling), ("refused refused sdes plain dtls".to_owned(), 1));
        assert_eq!(read(KeysBy::Interface), ("awaited awaited sdes plain dtls".to_owned(), 1));
        assert_eq!(read(KeysBy::InterfaceAlways), ("awaited awaited sdes awaited dtls".to_owned(), 1));
    }

    #[test]
    fn refusals_say_why() {
        let by = KeysBy::Signalling;
        let line = |media: &str| sdp::read(format!("v=0\r\n{media}").as_bytes()).unwrap().media.remove(0);
        let unknown = line(&format!("m=audio 5000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n"));
        let without = line("m=audio 5000 RTP/SAVP 0\r\n");
        let good = line(&format!("m=audio 5000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"));
        assert!(why_not(&unknown, by, Some(&own())).unwrap().contains("not known"));
        assert!(why_not(&without, by, Some(&own())).unwrap().contains("gives neither"));
        assert_eq!(why_not(&good, by, Some(&own())), None);
        assert_eq!(why_not(&line("m=audio 5000 RTP/AVP 0\r\n"), by, Some(&own())), None);
        assert_eq!(why_not(&line("m=audio 0 RTP/SAVP 0\r\n"), by, Some(&own())), None);
    }
}

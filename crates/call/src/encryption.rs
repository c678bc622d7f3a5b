//! How the media of an m-line are encrypted: which of the offered ways is taken, and by which keys of ours it is
//! answered.
//!
//! A profile that says so (`RTP/SAVP`) is encrypted or refused. With the plain profile, keys are taken where they are
//! offered (RFC 8643), and the line is plain where none of them can be used. A key of ours stays as long as its line
//! and cipher do, so that a re-INVITE that changes nothing is answered with nothing new.

use media::sdp::{Crypto, MediaLine, Security};
use media::srtp::Entropy;
use model::{Keys, Protection};

/// Whether a line can be received: it is plain, or there is a way to open it.
pub(crate) fn can_open(media: &MediaLine, has_entropy: bool) -> bool {
    !media.is_encrypted() || (has_entropy && !media.security.crypto.is_empty())
}

/// Why a line is refused for how it is encrypted, if it is.
pub(crate) fn why_not(media: &MediaLine, has_entropy: bool) -> Option<&'static str> {
    if media.is_off() || can_open(media, has_entropy) {
        None
    } else if media.security.unknown_crypto {
        Some(
            "its client offers to encrypt it by ciphers or parameters that are not known here; have it offer \
             AES_CM_128_HMAC_SHA1_80 or AEAD_AES_128_GCM without KDR and FEC",
        )
    } else {
        Some(
            "its client wants it encrypted and gives no key; have it send keys in SDP (SDES, a=crypto), or media \
             in the clear",
        )
    }
}

/// How the line is protected, and the keys of ours that the answer says. `known` are those that it had before.
pub(crate) fn agree(
    media: &MediaLine,
    known: &[Crypto],
    entropy: Option<&mut Entropy>,
) -> (Protection, Vec<Crypto>) {
    let plain = (Protection::None, Vec::new());
    let (Some(offered), Some(entropy)) = (media.security.crypto.first(), entropy) else { return plain };
    let suite = offered.keys.suite;
    let same = known.iter().find(|ours| ours.keys.suite == suite).map(|ours| ours.keys.clone());
    let Some(keys) = same.or_else(|| entropy.keys(suite)) else { return plain };
    // Whether something stays in the clear is agreed for both directions (RFC 4568 section 6.3).
    let Keys { plain_rtp, plain_rtcp, .. } = offered.keys;
    let outbound = Keys { plain_rtp, plain_rtcp, ..keys };
    let ours = vec![Crypto { tag: offered.tag, keys: outbound.clone() }];
    (Protection::Srtp { inbound: offered.keys.clone(), outbound }, ours)
}

/// What our description says.
pub(crate) fn said(ours: &[Crypto]) -> Security {
    if ours.is_empty() { Security::None } else { Security::Sdes(ours.to_vec()) }
}

#[cfg(test)]
mod tests {
    use media::sdp::{self, Origin};
    use model::peer::Flowing;
    use model::{IdGenerator, Mono, NodeNumber, Now, WallTime};

    use super::*;
    use crate::describe::KnownSides;
    use crate::lines::{self, Addresses, Line, Reading};

    const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
    const OTHER: &str = "inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj";

    /// Offers m-lines one after the other in one dialog; for each the protection of its streams and our answer.
    fn check(offers: &[&str]) -> Vec<(Vec<Option<Protection>>, Vec<String>)> {
        let now = Now { mono: Mono(0), wall: WallTime::from_millis(1_795_000_000_000) };
        let (mut ids, mut entropy) = (IdGenerator::new(NodeNumber::SINGLE, 0), Entropy::new([1; 32]));
        let local = "192.0.2.9".parse().unwrap();
        let addresses = Addresses { v4: Some(local), v6: None };
        let sides = KnownSides::new(crate::AgentSide::default());
        let reading = Reading { sides: &sides, inactive: Flowing::Held, addresses, video: true };
        let origin = Origin { username: "-".into(), session_id: 1, version: 1, address: local };
        let mut before: Vec<Line> = Vec::new();
        let each = offers.iter().map(|media| {
            let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n{media}");
            let offer = sdp::read(text.as_bytes()).unwrap();
            before = lines::read(&offer, &before, &reading, &mut ids, Some(&mut entropy), now);
            let answer = lines::answer(&offer, &before, &origin, addresses);
            let answer = String::from_utf8(answer.to_vec()).unwrap();
            let said = |l: &&str| l.starts_with("m=") || l.starts_with("a=crypto");
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
    fn refusals_say_why() {
        let line = |media: &str| sdp::read(format!("v=0\r\n{media}").as_bytes()).unwrap().media.remove(0);
        let unknown = line(&format!("m=audio 5000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 {KEY}\r\n"));
        let without = line("m=audio 5000 RTP/SAVP 0\r\n");
        let good = line(&format!("m=audio 5000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n"));
        assert!(why_not(&unknown, true).unwrap().contains("not known"));
        assert!(why_not(&without, true).unwrap().contains("gives no key"));
        assert_eq!(why_not(&good, true), None);
        assert_eq!(why_not(&line("m=audio 5000 RTP/AVP 0\r\n"), true), None);
        assert_eq!(why_not(&line("m=audio 0 RTP/SAVP 0\r\n"), true), None);
    }
}

//! Connectivity checks as they come to the port of a stream.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use media::stun::{ANSWER_MAX, answer, check, is_stun};
use model::Secret;
use model::protection::Ice;

use crate::Input;

const PASSWORD: &[u8] = b"a password of this target";

/// A message of a stranger, or attributes to which somebody who has our password adds the proof and the fingerprint.
///
/// Octet 0 says which: even, the rest is a message; odd, it is attributes. Noise proves nothing; a check that is
/// answered is one no more when a bit of what is proved is changed; an answer is as long as it says.
pub fn stun(data: &[u8]) {
    let ice = Ice { user: "evtj".to_owned(), password: Secret::new(PASSWORD.to_vec()) };
    let mut input = Input(data);
    let is_proved = input.octet() % 2 == 1;
    let rest = input.take(usize::MAX);
    if !is_proved {
        assert_eq!(check(rest, &ice), None, "nobody guesses a proof");
        return;
    }
    let message = prove(rest);
    let Some(read) = check(&message, &ice) else { return };
    assert!(is_stun(&message));
    for from in ["192.0.2.1:4000", "[2001:db8::1]:4000"] {
        let from: SocketAddr = from.parse().unwrap();
        let mut out = [0; ANSWER_MAX];
        let length = answer(&read, from, &ice, &mut out);
        assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])) + 20, length);
        assert_eq!(out[8..20], message[8..20], "it names the check");
        assert_eq!(check(&out[..length], &ice), None, "an answer is no check");
    }
    // What is in front of the proof is what it proves.
    for at in [0, 1, 3, 4, 19, 20, 20 + rest.len() / 2] {
        let mut changed = message.clone();
        if at < 20 + rest.len() {
            changed[at] ^= 1;
            assert_eq!(check(&changed, &ice), None, "octet {at}");
        }
    }
}

/// A binding request with these attributes, the proof behind them (RFC 8489 section 14.5).
fn prove(attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len() + 24).unwrap_or(u16::MAX);
    let mut message = vec![0, 1];
    message.extend(length.to_be_bytes());
    message.extend([0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    message.extend(attributes);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PASSWORD);
    let tag = hmac::sign(&key, &message);
    message.extend([0, 8, 0, 20]);
    message.extend(tag.as_ref());
    message
}

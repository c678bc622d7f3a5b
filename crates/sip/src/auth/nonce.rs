//! Nonces that cost no memory until they are used: when and as which they were given, under a MAC.
//!
//! ```text
//!  16 digits      16 digits   32 digits
//!  milliseconds   number      HMAC-SHA-256 of both, of the scope and of the address, its first 16 octets
//! ```
//!
//! A nonce holds for the scope that it was given in and for the address that asked, so that nobody can have an
//! address locked out but those who receive what is sent to it.

use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use model::Mono;
use sha2::Sha256;

use super::hex;

/// Long enough for a client to answer, and to use one nonce for some requests; short enough that what was
/// overheard is soon worth nothing.
pub(super) const NONCE_LIFE: Duration = Duration::from_secs(300);
/// 128 bits: nobody guesses one.
const MAC_BYTES: usize = 16;

pub(super) struct Nonces {
    secret: [u8; 32],
    last: u64,
}

/// A nonce of ours that still holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fresh {
    /// Its number: later ones are higher.
    pub(super) number: u64,
    /// When it ends.
    pub(super) ends: Mono,
}

impl Nonces {
    pub(super) const fn new(secret: [u8; 32]) -> Self {
        Self { secret, last: 0 }
    }

    /// A nonce that was never given before.
    pub(super) fn issue(&mut self, now: Mono, scope: &str, source: IpAddr) -> String {
        self.last += 1;
        let head = head(millis(now), self.last);
        let mac = self.mac(&head, scope, source).finalize().into_bytes();
        hex(&head) + &hex(mac.get(..MAC_BYTES).unwrap_or_default())
    }

    /// Whether it is one of ours that still holds.
    pub(super) fn check(&self, now: Mono, text: &str, scope: &str, source: IpAddr) -> Option<Fresh> {
        let bytes = unhex(text)?;
        let (head, mac) = bytes.split_at_checked(16)?;
        if mac.len() != MAC_BYTES || self.mac(head, scope, source).verify_truncated_left(mac).is_err() {
            return None;
        }
        let (given, number) = head.split_at_checked(8)?;
        let given = u64::from_be_bytes(given.try_into().ok()?);
        let number = u64::from_be_bytes(number.try_into().ok()?);
        let ends = Mono(given.saturating_mul(1_000_000)) + NONCE_LIFE;
        (now < ends).then_some(Fresh { number, ends })
    }

    fn mac(&self, head: &[u8], scope: &str, source: IpAddr) -> Hmac<Sha256> {
        let source = match source.to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        // RFC 2104: a key shorter than a block is one with zeros behind.
        let mut key = [0; 64];
        key.iter_mut().zip(self.secret).for_each(|(to, from)| *to = from);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(head);
        mac.update(&source.octets());
        mac.update(scope.as_bytes());
        mac
    }
}

const fn millis(at: Mono) -> u64 {
    at.0 / 1_000_000
}

fn head(millis: u64, number: u64) -> [u8; 16] {
    ((u128::from(millis) << 64) | u128::from(number)).to_be_bytes()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * (16 + MAC_BYTES) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_holds_for_its_time_its_scope_and_its_address() {
        let mut nonces = Nonces::new([1; 32]);
        let (here, there) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let now = Mono(7_000_000_000);
        let nonce = nonces.issue(now, "sbc", here);
        assert_ne!(nonce, nonces.issue(now, "sbc", here));
        let fresh = nonces.check(now, &nonce, "sbc", here).unwrap();
        assert_eq!((fresh.number, fresh.ends), (1, now + NONCE_LIFE));
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        assert!(nonces.check(now, &nonce, "sbc", mapped).is_some(), "the same address by another socket");
        assert!(nonces.check(now + NONCE_LIFE, &nonce, "sbc", here).is_none());
        assert!(nonces.check(now, &nonce, "sbc2", here).is_none());
        assert!(nonces.check(now, &nonce, "sbc", there).is_none());
        assert!(Nonces::new([2; 32]).check(now, &nonce, "sbc", here).is_none());
        for at in 0..nonce.len() {
            let mut spoiled = nonce.clone().into_bytes();
            spoiled[at] = if spoiled[at] == b'0' { b'1' } else { b'0' };
            let spoiled = String::from_utf8(spoiled).unwrap();
            assert!(nonces.check(now, &spoiled, "sbc", here).is_none(), "{spoiled}");
        }
        for bad in ["", "00", &nonce[2..], &"é".repeat(32)] {
            assert!(nonces.check(now, bad, "sbc", here).is_none(), "{bad}");
        }
    }
}

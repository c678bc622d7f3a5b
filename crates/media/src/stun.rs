//! Connectivity checks of ICE (RFC 8445) as a lite agent answers them: STUN binding requests (RFC 8489) in, binding
//! responses out.
//!
//! ```text
//!  octets 0..4   type (0x0001 request, 0x0101 success) and length of the attributes
//!         4..8   the magic cookie 0x2112A442
//!         8..20  the transaction
//!        20..    attributes: type, length, value, padded to 4 octets
//! ```
//!
//! A request is answered only when its USERNAME names us and its MESSAGE-INTEGRITY proves that whoever sends it has
//! our password from the description. Everything else is ignored: a server that answers whoever asks is of use to
//! attackers. Nothing is sent by itself and nothing is remembered here.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;
use model::protection::Ice;

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
/// What the CRC of a fingerprint is combined with (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Octets of an HMAC-SHA1.
const TAG: usize = 20;
/// Attributes that are looked at: a check has about eight.
const ATTRIBUTES_MAX: usize = 32;
/// Octets of our answer: header, address of IPv6, integrity, fingerprint, rounded up.
pub const ANSWER_MAX: usize = 96;

/// A check that is to be answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Check {
    transaction: [u8; 12],
    /// The pair that it came by is to be used (USE-CANDIDATE).
    pub nominates: bool,
}

/// Whether a datagram is STUN, as told from RTP and DTLS on one port (RFC 7983).
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// Reads a check by whoever has our password.
#[must_use]
pub fn check(datagram: &[u8], ice: &Ice) -> Option<Check> {
    let header = datagram.first_chunk::<HEADER>()?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if kind != BINDING_REQUEST || header[4..8] != COOKIE || datagram.len() != HEADER + length {
        return None;
    }
    let (mut named, mut proved, mut nominates) = (false, false, false);
    let mut at = HEADER;
    for _ in 0..ATTRIBUTES_MAX {
        if at == datagram.len() {
            break;
        }
        let (attribute, value, next) = attribute(datagram, at)?;
        match attribute {
            // What stands behind the integrity is not covered by it, but for the fingerprint.
            FINGERPRINT => {
                let given = u32::from_be_bytes(value.try_into().ok()?);
                if fingerprint(datagram.get(..at)?) != given {
                    return None;
                }
                break;
            }
            _ if proved => {}
            USERNAME => named = is_ours(value, ice),
            USE_CANDIDATE => nominates = true,
            // Who does not name us is not computed for. The name stands in front in each check (RFC 8489 section 14.5).
            MESSAGE_INTEGRITY if !named => return None,
            MESSAGE_INTEGRITY => {
                let ours = integrity(datagram.get(..at)?, ice.password.expose())?;
                aws_lc_rs::constant_time::verify_slices_are_equal(ours.as_ref(), value).ok()?;
                proved = true;
            }
            _ => {}
        }
        at = next;
    }
    let transaction = header.last_chunk::<12>()?;
    (named && proved).then_some(Check { transaction: *transaction, nominates })
}

/// The answer to a check that came from there; how many octets of `out` it has.
#[must_use]
pub fn answer(check: &Check, from: SocketAddr, ice: &Ice, out: &mut [u8; ANSWER_MAX]) -> usize {
    let mut writer = Writer { out, length: HEADER };
    writer.head(&check.transaction);
    let (address, octets) = mapped(from, &check.transaction);
    if let Some(address) = address.get(..octets) {
        writer.attribute(XOR_MAPPED_ADDRESS, address);
    }
    // Both are computed over a header that counts them already.
    if let Some(tag) = integrity(writer.written(), ice.password.expose()) {
        writer.attribute(MESSAGE_INTEGRITY, tag.as_ref());
    }
    let crc = fingerprint(writer.written());
    writer.attribute(FINGERPRINT, &crc.to_be_bytes());
    writer.length
}

struct Writer<'a> {
    out: &'a mut [u8; ANSWER_MAX],
    length: usize,
}

impl Writer<'_> {
    fn head(&mut self, transaction: &[u8; 12]) {
        self.out.fill(0);
        self.out[..2].copy_from_slice(&BINDING_SUCCESS.to_be_bytes());
        self.out[4..8].copy_from_slice(&COOKIE);
        self.out[8..20].copy_from_slice(transaction);
    }

    /// Values of 4, 8 or 20 octets: none needs padding.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let end = self.length + 4 + value.len();
        let Some(place) = self.out.get_mut(self.length..end) else { return };
        let octets = u16::try_from(value.len()).unwrap_or(0);
        place[..2].copy_from_slice(&kind.to_be_bytes());
        place[2..4].copy_from_slice(&octets.to_be_bytes());
        place[4..].copy_from_slice(value);
        self.length = end;
        let counted = u16::try_from(end - HEADER).unwrap_or(0);
        self.out[2..4].copy_from_slice(&counted.to_be_bytes());
    }

    fn written(&self) -> &[u8] {
        self.out.get(..self.length).unwrap_or_default()
    }
}

/// Type and value of the attribute at `at`, and where the next one is.
fn attribute(message: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let head = message.get(at..)?.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let value = message.get(at + 4..at + 4 + length)?;
    Some((u16::from_be_bytes([head[0], head[1]]), value, at + 4 + length.next_multiple_of(4)))
}

/// `ours:theirs`; theirs is as they say it.
fn is_ours(name: &[u8], ice: &Ice) -> bool {
    let ours = ice.user.as_bytes();
    name.strip_prefix(ours).is_some_and(|rest| rest.first() == Some(&b':'))
}

/// The HMAC over what is before the attribute, with a length that ends behind it (RFC 8489 section 14.5).
fn integrity(before: &[u8], password: &[u8]) -> Option<hmac::Tag> {
    signed(before, 4 + TAG, |parts| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
        let mut context = hmac::Context::with_key(&key);
        parts.iter().for_each(|part| context.update(part));
        context.sign()
    })
}

/// The CRC over what is before the attribute, likewise.
fn fingerprint(before: &[u8]) -> u32 {
    let crc = signed(before, 8, |parts| {
        let mut crc = crc32fast::Hasher::new();
        parts.iter().for_each(|part| crc.update(part));
        crc.finalize()
    });
    crc.unwrap_or(0) ^ FINGERPRINT_XOR
}

/// Computes over a message whose length is to end `more` octets behind what there is.
fn signed<T>(before: &[u8], more: usize, compute: impl FnOnce(&[&[u8]; 3]) -> T) -> Option<T> {
    let length = u16::try_from(before.len().checked_sub(HEADER)? + more).ok()?.to_be_bytes();
    Some(compute(&[before.get(..2)?, &length, before.get(4..)?]))
}

/// The value of XOR-MAPPED-ADDRESS, and its octets (RFC 8489 section 14.2).
fn mapped(from: SocketAddr, transaction: &[u8; 12]) -> ([u8; 20], usize) {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(transaction);
    let mut out = [0; 20];
    let port = from.port() ^ u16::from_be_bytes([COOKIE[0], COOKIE[1]]);
    out[2..4].copy_from_slice(&port.to_be_bytes());
    let mut hide = |octets: &[u8], family| {
        out[1] = family;
        out[4..].iter_mut().zip(octets).zip(mask).for_each(|((to, octet), mask)| *to = octet ^ mask);
        4 + octets.len()
    };
    let length = match from.ip().to_canonical() {
        IpAddr::V4(ip) => hide(&ip.octets(), 1),
        IpAddr::V6(ip) => hide(&ip.octets(), 2),
    };
    (out, length)
}

#[cfg(test)]
mod tests {
    use model::Secret;
    use proptest::prelude::*;

    use super::*;

    /// RFC 5769 section 2.1.
    const SAMPLE: &str = "00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c \
        69656e74 00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020 00080014 \
        9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |c: &[u8]| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    fn ice(user: &str, password: &str) -> Ice {
        Ice { user: user.to_owned(), password: Secret::new(password.as_bytes().to_vec()) }
    }

    fn ours() -> Ice {
        ice("evtj", "VOkJxbRl1RmTxUk/WvJxBt")
    }

    #[test]
    fn the_sample_of_rfc_5769_is_read_by_who_has_the_password() {
        let sample = hex(SAMPLE);
        assert!(is_stun(&sample));
        let check = super::check(&sample, &ours()).unwrap();
        assert_eq!((check.transaction.to_vec(), check.nominates), (hex("b7e7a701bc34d686fa87dfae"), false));
        assert_eq!(super::check(&sample, &ice("evtj", "another")), None);
        assert_eq!(super::check(&sample, &ice("evtk", "VOkJxbRl1RmTxUk/WvJxBt")), None);
    }

    #[test]
    fn every_octet_counts() {
        let sample = hex(SAMPLE);
        for at in 0..sample.len() {
            let mut changed = sample.clone();
            changed[at] ^= 1;
            // What the last attribute is, nothing says; as a fingerprint it would be checked.
            let is_none = super::check(&changed, &ours()).is_none() || (100..102).contains(&at);
            assert!(is_none, "octet {at}");
            assert_eq!(super::check(&sample[..at], &ours()), None, "cut at {at}");
        }
    }

    /// RFC 5769 sections 2.2 and 2.3 give the mapped addresses of this transaction.
    #[test]
    fn addresses_are_hidden_as_in_rfc_5769() {
        let transaction = hex("b7e7a701bc34d686fa87dfae").try_into().unwrap();
        let (value, length) = mapped("192.0.2.1:32853".parse().unwrap(), &transaction);
        assert_eq!(value[..length], hex("0001a147e112a643"));
        let from = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let (value, length) = mapped(from, &transaction);
        assert_eq!(value[..length], hex("0002a1470113a9faa5d3f179bc25f4b5bed2b9d9"));
    }

    #[test]
    fn an_answer_proves_that_we_have_the_password_too() {
        let check = Check { transaction: [7; 12], nominates: false };
        for from in ["192.0.2.1:32853", "[2001:db8::1]:4000"] {
            let mut out = [0; ANSWER_MAX];
            let length = answer(&check, from.parse().unwrap(), &ours(), &mut out);
            let answer = &out[..length];
            assert_eq!(answer[..2], [1, 1]);
            assert_eq!(usize::from(answer[3]) + HEADER, length);
            let (kind, _, next) = attribute(answer, HEADER).unwrap();
            assert_eq!(kind, XOR_MAPPED_ADDRESS);
            let (kind, tag, end) = attribute(answer, next).unwrap();
            assert_eq!(kind, MESSAGE_INTEGRITY);
            assert_eq!(integrity(&answer[..next], ours().password.expose()).unwrap().as_ref(), tag);
            let (kind, crc, last) = attribute(answer, end).unwrap();
            assert_eq!((kind, last), (FINGERPRINT, length));
            assert_eq!(fingerprint(&answer[..end]).to_be_bytes(), crc);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_survived_and_prove_nothing(
            noise in proptest::collection::vec(any::<u8>(), 0..200),
            mutations in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..4),
        ) {
            prop_assert_eq!(super::check(&noise, &ours()), None);
            let (mut message, sample) = (hex(SAMPLE), hex(SAMPLE));
            for (at, with) in mutations {
                let at = usize::from(at) % message.len();
                message[at] ^= with;
            }
            if super::check(&message, &ours()).is_some() {
                prop_assert_eq!(&message[..100], &sample[..100]);
            }
        }
    }
}

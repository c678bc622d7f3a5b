//! Connectivity checks as a full agent of ICE sends them (RFC 8445 section 7), written anew here so that client and
//! recorder share no mistake.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;

use super::messages::Media;
use super::rtp::Mouth;
use super::{PATIENCE, wait_until};

const COOKIE: u32 = 0x2112_a442;

/// Whom checks are for: the credentials of its description.
pub struct Peer {
    user: String,
    password: String,
    at: SocketAddr,
}

impl Peer {
    /// By an m-line of its answer, at its one candidate of RTP.
    pub fn of(media: &Media) -> Self {
        let value = |name| media.value(name).unwrap_or_else(|| panic!("no {name} in {media:?}")).to_owned();
        let candidate = value("candidate");
        let words: Vec<&str> = candidate.split(' ').collect();
        let at = SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap());
        assert_eq!((words[1], words[7]), ("1", "host"), "{candidate}");
        Self { user: value("ice-ufrag"), password: value("ice-pwd"), at }
    }

    /// The same peer behind another password.
    pub fn with_password(&self, password: &str) -> Self {
        Self { user: self.user.clone(), password: password.to_owned(), at: self.at }
    }

    /// A check from there; `nominates` chooses the pair.
    pub fn check(&self, transaction: u8, nominates: bool) -> Vec<u8> {
        let mut attributes = Vec::new();
        let name = format!("{}:them", self.user);
        attribute(&mut attributes, 0x0006, name.as_bytes());
        attribute(&mut attributes, 0x0024, &0x6e00_01ff_u32.to_be_bytes());
        attribute(&mut attributes, 0x802a, &[7; 8]);
        if nominates {
            attribute(&mut attributes, 0x0025, &[]);
        }
        let mut message = vec![0, 1, 0, 0];
        message.extend(COOKIE.to_be_bytes());
        message.extend([transaction; 12]);
        message.extend(attributes);
        set_length(&mut message, 24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.password.as_bytes());
        let tag = hmac::sign(&key, &message);
        attribute(&mut message, 0x0008, tag.as_ref());
        set_length(&mut message, 8);
        let crc = crc32(&message) ^ 0x5354_554e;
        attribute(&mut message, 0x8028, &crc.to_be_bytes());
        message
    }

    /// Checks from this mouth until it is answered, which says where it was seen.
    pub fn reach(&self, mouth: &Mouth, nominates: bool) -> SocketAddr {
        let check = self.check(9, nominates);
        wait_until("an answer to a check", PATIENCE, || {
            mouth.send(self.at, &check);
            let answer = mouth.receive().ok_or_else(|| "nothing".to_owned())?;
            mapped(&answer, 9).ok_or_else(|| format!("{answer:?}"))
        })
    }
}

fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    into.extend(kind.to_be_bytes());
    into.extend((value.len() as u16).to_be_bytes());
    into.extend(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// The length as if so many octets were behind what there is.
fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - 20 + more) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The address in a success response to this transaction.
fn mapped(answer: &[u8], transaction: u8) -> Option<SocketAddr> {
    if answer.get(..2)? != [1, 1] || answer.get(8..20)? != [transaction; 12] {
        return None;
    }
    let mut at = 20;
    while let Some(head) = answer.get(at..at + 4) {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = answer.get(at + 4..at + 4 + length)?;
        if head[..2] == [0, 0x20] {
            let port = u16::from_be_bytes([value[2], value[3]]) ^ (COOKIE >> 16) as u16;
            let ip = u32::from_be_bytes(value[4..8].try_into().unwrap()) ^ COOKIE;
            return Some(SocketAddr::new(IpAddr::from(ip.to_be_bytes()), port));
        }
        at += 4 + length.next_multiple_of(4);
    }
    None
}

/// Bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, octet| (0..8).fold(crc ^ u32::from(*octet), |crc, _| step(crc)))
}

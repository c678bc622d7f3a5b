//! SRTP and SRTCP (RFC 3711): opening what a sender protected, protecting what we send.
//!
//! ```text
//!  Keys ──► Srtp ── open_rtp(datagram) ──► the packet as it was, or why not
//!                   open_rtcp(datagram)
//!                   seal_rtcp(report)  ──► what goes out
//!
//!  Keys ──► Outbound ── seal_once(packet) ──► what is handed on
//! ```
//!
//! AES in counter mode with HMAC-SHA1 (RFC 3711, RFC 6188) and AES-GCM (RFC 7714), identifiers of master keys,
//! any number of sources for a key, and the rollover counter, which no packet carries: whoever joins late or comes
//! back after a break finds it by trying, because a packet is authentic with the right one only. What is opened is
//! copied into a buffer of the stream's own and changed there: nothing is allocated for a packet. Nothing is kept of
//! a packet that is not authentic, so whoever sends noise makes nothing grow.
//!
//! The ciphers are those of `aws-lc-rs`. Keys arrive from outside ([`model::Keys`]); so does [`Entropy`] for ours.

mod cipher;
mod entropy;
mod handshake;
mod inbound;
mod index;
mod onward;
mod outbound;

use model::{Keys, WallTime};

use self::cipher::Scratch;
pub use self::entropy::Entropy;
pub use self::handshake::{fingerprint, is_certificate_of, keys_of};
use self::inbound::Inbound;
pub use self::onward::Unsealed;
pub use self::outbound::Outbound;

/// Octets of a datagram that is looked at: more than an Ethernet frame holds. A longer one is refused.
pub const PACKET_MAX: usize = 2_048;
/// How long (nanoseconds) the keys before still open packets, from the first that the new ones opened: what was on
/// its way when the sender changed them.
const BEFORE_KEPT_NS: i64 = 2_000_000_000;

/// How long (nanoseconds) they do at most, when the new ones open nothing: twice the time that a transaction takes.
const BEFORE_MAX_NS: i64 = 64_000_000_000;
/// Packets in a second for which a rollover count is searched: four times what a stream of audio brings. What noise
/// brings beyond costs nothing more.
const SEARCHES_MAX: u32 = 200;

/// Why a packet is not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// It is no RTP or RTCP packet.
    Malformed,
    /// It was opened before.
    Replayed,
    /// It is authentic, and so far behind the newest that nobody knows whether it was opened before (RFC 3711
    /// section 3.3.2).
    Old,
    /// It is not authentic: another key, no protection, not by the sender.
    Unauthentic,
}

/// The two directions of a stream.
pub struct Srtp {
    inbound: Inbound,
    /// The keys before, and when they may go: not known before the new ones have opened a packet.
    before: Option<(Inbound, Option<WallTime>)>,
    /// Searches that are left in the second that began then.
    searches: (WallTime, u32),
    outbound: Outbound,
    keys: (Keys, Keys),
    scratch: Box<Scratch>,
}

impl Srtp {
    /// `inbound` is what the sender protects its packets by, `outbound` what ours are protected by. None when a key
    /// has not the length that its suite wants.
    #[must_use]
    pub fn new(inbound: &Keys, outbound: &Keys) -> Option<Self> {
        Some(Self {
            inbound: Inbound::new(inbound)?,
            before: None,
            searches: (WallTime(0), SEARCHES_MAX),
            outbound: Outbound::new(outbound)?,
            keys: (inbound.clone(), outbound.clone()),
            scratch: Box::new([0; PACKET_MAX]),
        })
    }

    /// Signalling says which keys there are now; those that are there already go on where they are. Keys of another
    /// length than their suite wants change nothing.
    pub fn update(&mut self, inbound: &Keys, outbound: &Keys) {
        if self.keys.0 != *inbound
            && let Some(new) = Inbound::new(inbound)
        {
            self.before = Some((std::mem::replace(&mut self.inbound, new), None));
            self.keys.0 = inbound.clone();
        }
        if self.keys.1 != *outbound
            && let Some(new) = Outbound::new(outbound)
        {
            self.outbound = new;
            self.keys.1 = outbound.clone();
        }
    }

    /// Opens an SRTP packet.
    ///
    /// # Errors
    /// It cannot be opened; nothing has changed by it.
    pub fn open_rtp(&mut self, now: WallTime, packet: &[u8]) -> Result<&[u8], Closed> {
        let known = self.before.as_ref().map(|(before, _)| before);
        if now.nanos_since(self.searches.0).unsigned_abs() >= 1_000_000_000 {
            self.searches = (now, SEARCHES_MAX);
        }
        let opened = self.inbound.open_rtp(packet, known, &mut self.searches.1, &mut self.scratch);
        let opened = self.or_before(now, opened, |before, scratch| {
            // What goes on does so where it was: nothing is searched.
            before.open_rtp(packet, None, &mut 0, scratch)
        });
        self.scratch.get(..opened?).ok_or(Closed::Malformed)
    }

    /// Opens an SRTCP packet.
    ///
    /// # Errors
    /// It cannot be opened; nothing has changed by it.
    pub fn open_rtcp(&mut self, now: WallTime, packet: &[u8]) -> Result<&[u8], Closed> {
        let opened = self.inbound.open_rtcp(packet, &mut self.scratch);
        let opened = self.or_before(now, opened, |before, scratch| before.open_rtcp(packet, scratch));
        self.scratch.get(..opened?).ok_or(Closed::Malformed)
    }

    /// Protects the RTCP packet in `packet`. False when it is none: then it must not be sent. See
    /// [`Outbound::seal_rtcp`] for what `now` must be.
    pub fn seal_rtcp(&mut self, now: WallTime, packet: &mut Vec<u8>) -> bool {
        self.outbound.seal_rtcp(now, packet)
    }

    /// Protects the RTP packet in `packet`. False when it is none: then it must not be sent.
    pub fn seal_rtp(&mut self, packet: &mut Vec<u8>) -> bool {
        self.outbound.seal_rtp(packet)
    }

    /// What the new keys do not open, those before may.
    fn or_before(
        &mut self,
        now: WallTime,
        opened: Result<usize, Closed>,
        open: impl FnOnce(&mut Inbound, &mut Scratch) -> Result<usize, Closed>,
    ) -> Result<usize, Closed> {
        let Some((before, until)) = &mut self.before else { return opened };
        let end = until.get_or_insert(WallTime(now.0.saturating_add(BEFORE_MAX_NS)));
        if opened.is_ok() {
            *end = (*end).min(WallTime(now.0.saturating_add(BEFORE_KEPT_NS)));
        }
        if now >= *end {
            self.before = None;
            return opened;
        }
        match opened {
            Err(Closed::Unauthentic) => open(before, &mut self.scratch),
            _ => opened,
        }
    }
}

impl std::fmt::Debug for Srtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Srtp").field("suite", &self.keys.0.suite).finish_non_exhaustive()
    }
}

/// What of an RTP header is needed here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
    /// Octets of the header, its contributing sources and its extension, which stay in the clear.
    pub(crate) length: usize,
}

impl Head {
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<12>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut length = 12 + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words = packet.get(length..)?.first_chunk::<4>()?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([words[2], words[3]]));
        }
        let sequence = u16::from_be_bytes([fixed[2], fixed[3]]);
        let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
        (length <= packet.len()).then_some(Self { sequence, ssrc, length })
    }
}

#[cfg(test)]
mod tests;

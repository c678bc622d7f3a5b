//! One direction, from us: reports, the packets of test callers, and those of others that are handed on.

use model::{Keys, WallTime};

use super::Head;
use super::cipher::Cipher;
use super::index::{at, nearest};
use super::onward::{Onward, Unsealed};

/// Seconds at the beginning of 2025: SRTCP indices, of 31 bits, count from there.
const EPOCH_S: i64 = 1_735_689_600;

/// Protects what goes out, by the first of the master keys.
pub struct Outbound {
    cipher: Cipher,
    mki: Vec<u8>,
    plain_rtcp: bool,
    /// The last SRTCP index.
    index: u32,
    /// The source and the highest index of RTP.
    rtp: Option<(u32, u64)>,
    /// Where each source is of which packets are handed on.
    onward: Onward,
}

impl Outbound {
    /// None when the key has not the length that its suite wants.
    #[must_use]
    pub fn new(keys: &Keys) -> Option<Self> {
        let master = keys.masters.first()?;
        let cipher = Cipher::new(keys.suite, master, keys.plain_rtp)?;
        let (mki, plain_rtcp) = (master.mki.clone(), keys.plain_rtcp);
        Some(Self { cipher, mki, plain_rtcp, index: 0, rtp: None, onward: Onward::default() })
    }

    /// Protects the RTCP packet in `packet`. False when it is none.
    ///
    /// An index must never come twice under one key (RFC 3711 section 9.1), and a key lives as long as the dialog,
    /// which is longer than a segment: so it is the time in seconds, or one more than the last. `now` must be of a clock
    /// that never goes back while a key lives: with GCM an index that comes twice gives the key of authentication away.
    pub fn seal_rtcp(&mut self, now: WallTime, packet: &mut Vec<u8>) -> bool {
        let seconds = (now.0 / 1_000_000_000).saturating_sub(EPOCH_S).clamp(0, 0x7fff_fffe);
        self.index = u32::try_from(seconds).unwrap_or(0).max(self.index + 1) & 0x7fff_ffff;
        self.cipher.seal_rtcp(packet, &self.mki, self.index, self.plain_rtcp).is_some()
    }

    /// Protects the RTP packet in `packet`, of one source at a time. False when it is none.
    pub fn seal_rtp(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some(head) = Head::read(packet) else { return false };
        let index = match self.rtp {
            Some((ssrc, highest)) if ssrc == head.ssrc => nearest(highest, head.sequence),
            _ => at(0, head.sequence),
        };
        let highest = self.rtp.filter(|(ssrc, _)| *ssrc == head.ssrc).map_or(index, |(_, h)| h.max(index));
        self.rtp = Some((head.ssrc, highest));
        self.cipher.seal_rtp(packet, head.length, &self.mki, (head.ssrc, index)).is_some()
    }

    /// Protects the RTP packet in `packet`, which somebody else made: `sender` says who, as two may use one source. No index
    /// is used twice, whatever they send, but for as long as this object lives only. Says the SSRC that it has now, which is
    /// another one where its own cannot be used again.
    ///
    /// # Errors
    /// It must not be sent.
    pub fn seal_once(&mut self, sender: u8, packet: &mut Vec<u8>) -> Result<u32, Unsealed> {
        let head = Head::read(packet).ok_or(Unsealed::Malformed)?;
        let Self { cipher, onward, mki, .. } = self;
        let (name, index) = onward.place(sender, head.ssrc, head.sequence, |n| cipher.name(n))?;
        packet.get_mut(8..12).ok_or(Unsealed::Malformed)?.copy_from_slice(&name.to_be_bytes());
        cipher.seal_rtp(packet, head.length, mki, (name, index)).ok_or(Unsealed::Malformed)?;
        Ok(name)
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

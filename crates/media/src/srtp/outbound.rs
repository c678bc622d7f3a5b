//! One direction, from us: reports, the packets of test callers, and those of others that are handed on.

use model::{Keys, WallTime};

use super::Head;
use super::cipher::Cipher;
use super::index::{Fresh, Window, at, nearest};

/// Seconds at the beginning of 2025: SRTCP indices, of 31 bits, count from there.
const EPOCH_S: i64 = 1_735_689_600;

/// Sources that one key protects packets of, when they are handed on. None is ever forgotten, for that would begin its
/// indices anew; a call has two or three, and a few more where its phones change.
const SOURCES_MAX: usize = 64;

/// Why a packet is not protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsealed {
    /// It is no RTP packet.
    Malformed,
    /// One of its index was protected by this key before, or it is so far behind that nobody knows.
    Repeated,
    /// The key has protected packets of as many sources as it may.
    Sources,
}

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
    handed_on: Vec<(u32, Window)>,
}

impl Outbound {
    /// None when the key has not the length that its suite wants.
    #[must_use]
    pub fn new(keys: &Keys) -> Option<Self> {
        let master = keys.masters.first()?;
        let cipher = Cipher::new(keys.suite, master, keys.plain_rtp)?;
        let (mki, plain_rtcp) = (master.mki.clone(), keys.plain_rtcp);
        Some(Self { cipher, mki, plain_rtcp, index: 0, rtp: None, handed_on: Vec::new() })
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

    /// Protects the RTP packet in `packet`, which somebody else made, whatever sources there are.
    ///
    /// Whoever sends to us in the clear chooses its number, and may send another payload under it again. An index that
    /// comes twice under one key gives both payloads away, and with GCM the key of authentication (RFC 3711 section 9.1):
    /// so the second one is refused. A sender that begins anew at a lower number is refused until it is above.
    ///
    /// # Errors
    /// It must not be sent.
    pub fn seal_once(&mut self, packet: &mut Vec<u8>) -> Result<(), Unsealed> {
        let head = Head::read(packet).ok_or(Unsealed::Malformed)?;
        let place = match self.handed_on.iter().position(|(ssrc, _)| *ssrc == head.ssrc) {
            Some(place) => place,
            None if self.handed_on.len() >= SOURCES_MAX => return Err(Unsealed::Sources),
            None => {
                self.handed_on.push((head.ssrc, Window::new(at(0, head.sequence))));
                self.handed_on.len() - 1
            }
        };
        let (_, window) = self.handed_on.get_mut(place).ok_or(Unsealed::Sources)?;
        let index = nearest(window.highest(), head.sequence);
        // Before the first there is nothing: what seems half a round ahead is from there.
        let is_behind = index > window.highest() + 0x8000;
        if is_behind || window.fresh(index) != Fresh::Yes {
            return Err(Unsealed::Repeated);
        }
        window.take(index);
        let sealed = self.cipher.seal_rtp(packet, head.length, &self.mki, (head.ssrc, index));
        sealed.ok_or(Unsealed::Malformed)
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

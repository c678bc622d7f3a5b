//! Which index a packet is protected by that somebody else made.
//!
//! Who sends in the clear chooses source and number of a packet, and may use both again, by accident or not. An index
//! that comes twice under one key gives both payloads away, and with GCM the key of authentication (RFC 3711 section
//! 9.1). So each is used once:
//!
//! ```text
//!  a number a little ahead or behind, for the first time   ─► its index
//!  again                                                   ─► refused
//!  far from the others, alone                              ─► refused: a stray
//!  far ahead, the second in a row                          ─► its index: a hole
//!  behind, the second in a row                             ─► the sender began anew: under another SSRC
//! ```
//!
//! A packet that is made up costs no more than one that is not, therefore, and a sender that begins anew loses one. A
//! source is known by who sends it, so that two legs that use one SSRC do not get in each other's way. An SSRC that must
//! not be used again is replaced by one that follows from the key, which no sender can foretell.

use super::index::{Fresh, Window, at, nearest};

/// Sources whose numbers are followed under one key. The one that was heard longest ago gives way; from then on each new
/// one is renamed, as after any renaming, because nobody knows any more whether its name was used.
const SOURCES_MAX: usize = 32;
/// How far ahead a single packet is believed: a minute of 50 packets a second (`MAX_DROPOUT` of RFC 3550 appendix A.1).
const AHEAD_MAX: u64 = 3_000;
/// Names that one key gives: beyond it is no call but somebody who changes source with every packet.
const NAMES_MAX: u32 = 1 << 16;

/// Why a packet is not protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsealed {
    /// It is no RTP packet.
    Malformed,
    /// One of its index was protected by this key before.
    Repeated,
    /// Its number is far from those before it; the next one after it shows whether its sender is there now.
    Stray,
    /// The key has given more names than any call needs.
    Sources,
}

/// The packets of one SSRC by one sender.
#[derive(Debug)]
struct Source {
    sender: u8,
    ssrc: u32,
    /// What it is called.
    name: u32,
    window: Window,
    /// The number that shows that the sender is where the last packet was.
    awaited: Option<u16>,
}

/// All sources of a key; the one that was heard last is the last.
#[derive(Debug, Default)]
pub(super) struct Onward {
    sources: Vec<Source>,
    /// Names that were given so far, and whether there are used ones that no source has any more.
    names: u32,
    forgot: bool,
}

impl Onward {
    /// The name and the index for a packet. `secret` makes the names that nobody can foretell.
    pub(super) fn place(
        &mut self,
        sender: u8,
        ssrc: u32,
        sequence: u16,
        secret: impl Fn(u32) -> Option<u32>,
    ) -> Result<(u32, u64), Unsealed> {
        let found = self.sources.iter().rposition(|s| (s.sender, s.ssrc) == (sender, ssrc));
        let Some(place) = found else {
            let is_used = self.sources.iter().any(|s| s.name == ssrc);
            let name = if is_used || self.forgot { self.name(&secret)? } else { ssrc };
            if self.sources.len() >= SOURCES_MAX {
                self.sources.remove(0);
                self.forgot = true;
            }
            let mut window = Window::new(at(0, sequence));
            window.take(at(0, sequence));
            self.sources.push(Source { sender, ssrc, name, window, awaited: None });
            return Ok((name, at(0, sequence)));
        };
        if place + 1 < self.sources.len()
            && let Some(tail) = self.sources.get_mut(place..)
        {
            tail.rotate_left(1);
        }
        let source = self.sources.last_mut().ok_or(Unsealed::Sources)?;
        let (highest, mut index) = (source.window.highest(), nearest(source.window.highest(), sequence));
        // Before the first there is nothing: what seems half a round ahead is from there.
        let is_before = index > highest + 0x8000;
        let fresh = if is_before { Fresh::Old } else { source.window.fresh(index) };
        if fresh == Fresh::Taken {
            return Err(Unsealed::Repeated);
        }
        if fresh == Fresh::Old || index > highest + AHEAD_MAX {
            if source.awaited.replace(sequence.wrapping_add(1)) != Some(sequence) {
                return Err(Unsealed::Stray);
            }
            if fresh == Fresh::Old {
                let name = self.name(&secret)?;
                index = at(0, sequence);
                // Its name until now is nobody's, and must not be anybody's.
                self.forgot = true;
                let source = self.sources.last_mut().ok_or(Unsealed::Sources)?;
                (source.name, source.window) = (name, Window::new(index));
            }
        }
        let source = self.sources.last_mut().ok_or(Unsealed::Sources)?;
        source.window.take(index);
        source.awaited = None;
        Ok((source.name, index))
    }

    /// A name that no source has or had.
    fn name(&mut self, secret: impl Fn(u32) -> Option<u32>) -> Result<u32, Unsealed> {
        loop {
            if self.names >= NAMES_MAX {
                return Err(Unsealed::Sources);
            }
            self.names += 1;
            let name = secret(self.names).ok_or(Unsealed::Sources)?;
            if !self.sources.iter().any(|s| s.name == name) {
                return Ok(name);
            }
        }
    }
}

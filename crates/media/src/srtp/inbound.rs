//! One direction, towards us: master keys, and where each source is.

use model::Keys;
use model::protection::MASTER_KEYS_MAX;

use super::cipher::{Cipher, RTCP_HEADER, Scratch};
use super::index::{Fresh, Window, at, nearest};
use super::{Closed, Head, PACKET_MAX};

/// Sources whose state is kept, for RTP and for RTCP: a stream has one at a time, and some after changes. The one
/// that was heard longest ago gives way, and is found again by trying.
const SOURCES_MAX: usize = 16;
/// Rollover counts that are tried in turn for a source that is not known: at 50 packets a second, two weeks.
const ROLLOVERS_MAX: u64 = 1_024;
/// How many of them in turn for one packet, and how many by its number: each costs an authentication of the whole
/// packet. Whoever sends noise between moves the turn along, but not the numbers.
const TRIED_AT_ONCE: u64 = 2;
/// Packets in a row of a known source that are not authentic, after which others counts than its own are tried.
const MISSES_MAX: u8 = 16;

/// See the module.
pub(super) struct Inbound {
    masters: Vec<Master>,
    /// Octets of identifier in each packet.
    mki: usize,
    rtp: Vec<Source>,
    rtcp: Vec<Source>,
    /// The next rollover count to try for sources that are not known.
    tried: u64,
    /// The rollover count of sources that are not known, as whoever gave the keys says.
    told: Option<u32>,
}

struct Master {
    mki: Vec<u8>,
    cipher: Cipher,
}

/// A source of which a packet was authentic; the one that was heard last is the last.
struct Source {
    ssrc: u32,
    window: Window,
    misses: u8,
}

impl Inbound {
    pub(super) fn new(keys: &Keys) -> Option<Self> {
        let master = |m: &model::MasterKey| {
            let cipher = Cipher::new(keys.suite, m, keys.plain_rtp)?;
            Some(Master { mki: m.mki.clone(), cipher })
        };
        let masters: Vec<_> = keys.masters.iter().take(MASTER_KEYS_MAX).map(master).collect::<Option<_>>()?;
        let mki = masters.first()?.mki.len();
        Some(Self { masters, mki, rtp: Vec::new(), rtcp: Vec::new(), tried: 0, told: keys.rollovers })
    }

    /// Opens a packet into `out`. `before` may know its source by other keys: the count goes on under new ones.
    pub(super) fn open_rtp(
        &mut self,
        packet: &[u8],
        before: Option<&Self>,
        searches: &mut u32,
        out: &mut Scratch,
    ) -> Result<usize, Closed> {
        let head = Head::read(packet).filter(|_| packet.len() <= PACKET_MAX).ok_or(Closed::Malformed)?;
        let known = self.rtp.iter().rposition(|s| s.ssrc == head.ssrc);
        let Some(source) = known.and_then(|at| self.rtp.get(at)) else {
            let hint = before.and_then(|b| b.rtp.iter().find(|s| s.ssrc == head.ssrc));
            let hint = hint.map(|s| nearest(s.window.highest(), head.sequence));
            spend(searches)?;
            let (length, index) = self.search(packet, head, hint, 0, out)?;
            push(&mut self.rtp, head.ssrc, index);
            return Ok(length);
        };
        let (highest, misses) = (source.window.highest(), source.misses);
        let index = nearest(highest, head.sequence);
        let fresh = source.window.fresh(index);
        let found = if fresh == Fresh::Taken && misses < MISSES_MAX {
            Err(Closed::Replayed)
        } else {
            match self.try_rtp(packet, head, index, out) {
                Some(length) => refuse(fresh).map(|()| (length, index)),
                // Half a round or more was missed. Only what is above all that was taken is new: packets of an
                // earlier rollover are authentic too, and whoever kept some could play them again.
                None if misses >= MISSES_MAX => spend(searches)
                    .and_then(|()| self.search(packet, head, Some(index + 0x1_0000), highest + 1, out)),
                None => Err(Closed::Unauthentic),
            }
        };
        let source = known.and_then(|at| self.rtp.get_mut(at)).ok_or(Closed::Unauthentic)?;
        match found {
            Ok((length, found)) => {
                if found != index {
                    source.window = Window::new(found);
                }
                source.window.take(found);
                source.misses = 0;
                touch(&mut self.rtp, known);
                Ok(length)
            }
            Err(why) => {
                source.misses = source.misses.saturating_add(1);
                Err(why)
            }
        }
    }

    /// Opens an RTCP packet into `out`.
    pub(super) fn open_rtcp(&mut self, packet: &[u8], out: &mut Scratch) -> Result<usize, Closed> {
        let head = packet.first_chunk::<RTCP_HEADER>().filter(|h| h[0] >> 6 == 2);
        let head = head.filter(|_| packet.len() <= PACKET_MAX).ok_or(Closed::Malformed)?;
        let ssrc = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let known = self.rtcp.iter().rposition(|s| s.ssrc == ssrc);
        let mut opened = None;
        for (master, mki) in candidates(&self.masters, self.mki, |m, len| m.cipher.rtcp_mki(packet, len)) {
            let Some(index) = master.cipher.rtcp_index(packet, mki).map(u64::from) else { continue };
            if let Some(length) = master.cipher.open_rtcp(packet, mki, ssrc, out) {
                let seen = known.and_then(|at| self.rtcp.get(at));
                refuse(seen.map_or(Fresh::Yes, |s| s.window.fresh(index)))?;
                opened = Some((length, index));
                break;
            }
        }
        let (length, index) = opened.ok_or(Closed::Unauthentic)?;
        match known.and_then(|at| self.rtcp.get_mut(at)) {
            Some(source) => source.window.take(index),
            None => push(&mut self.rtcp, ssrc, index),
        }
        touch(&mut self.rtcp, known);
        Ok(length)
    }

    /// Tries rollover counts for a source whose own is not known: the likely ones, then some of all of them. An index
    /// below `least` is none.
    fn search(
        &mut self,
        packet: &[u8],
        head: Head,
        likely: Option<u64>,
        least: u64,
        out: &mut Scratch,
    ) -> Result<(usize, u64), Closed> {
        let first = self.tried;
        self.tried = (first + TRIED_AT_ONCE) % ROLLOVERS_MAX;
        let by_number = u64::from(head.sequence) * TRIED_AT_ONCE;
        let some = |from: u64| (from..from + TRIED_AT_ONCE).map(|n| n % ROLLOVERS_MAX);
        // What is said may be a round old, and the packet of a round before.
        let told = self.told.into_iter().flat_map(|roc| [roc, roc.saturating_add(1), roc.saturating_sub(1)]);
        let counts = told.map(u64::from).chain([0, 1]).chain(some(first)).chain(some(by_number));
        let counts = counts.map(|roc| at(roc, head.sequence));
        for index in likely.into_iter().chain(counts).filter(|index| *index >= least) {
            if let Some(length) = self.try_rtp(packet, head, index, out) {
                return Ok((length, index));
            }
        }
        Err(Closed::Unauthentic)
    }

    fn try_rtp(&self, packet: &[u8], head: Head, index: u64, out: &mut Scratch) -> Option<usize> {
        let name = (head.ssrc, index);
        candidates(&self.masters, self.mki, |m, len| m.cipher.rtp_mki(packet, len))
            .find_map(|(master, mki)| master.cipher.open_rtp(packet, head.length, mki, name, out))
    }

    /// How many sources are remembered, of RTP and of RTCP.
    #[cfg(test)]
    pub(super) fn sources(&self) -> (usize, usize) {
        (self.rtp.len(), self.rtcp.len())
    }
}

/// The master keys to try, each with the octets of identifier that it expects: the one that the packet names. Some
/// senders agree on identifiers and send none: if the packet names none of ours, all are tried without.
fn candidates<'a>(
    masters: &'a [Master],
    mki: usize,
    named: impl Fn(&Master, usize) -> Option<&'a [u8]>,
) -> impl Iterator<Item = (&'a Master, usize)> {
    let by_name = masters.iter().find(|m| mki > 0 && named(m, mki).is_some_and(|n| n == m.mki));
    let rest = if by_name.is_some() { &[][..] } else { masters };
    by_name.into_iter().map(move |m| (m, mki)).chain(rest.iter().map(|m| (m, 0)))
}

/// Why an authentic packet of this index is not taken.
const fn refuse(fresh: Fresh) -> Result<(), Closed> {
    match fresh {
        Fresh::Yes => Ok(()),
        Fresh::Taken => Err(Closed::Replayed),
        Fresh::Old => Err(Closed::Old),
    }
}

/// Takes a search out of the budget, or fails.
fn spend(searches: &mut u32) -> Result<(), Closed> {
    *searches = searches.checked_sub(1).ok_or(Closed::Unauthentic)?;
    Ok(())
}

fn push(sources: &mut Vec<Source>, ssrc: u32, index: u64) {
    if sources.len() >= SOURCES_MAX {
        sources.remove(0);
    }
    let mut window = Window::new(index);
    window.take(index);
    sources.push(Source { ssrc, window, misses: 0 });
}

/// This one was heard last.
fn touch(sources: &mut [Source], known: Option<usize>) {
    if let Some(at) = known
        && at + 1 < sources.len()
        && let Some(tail) = sources.get_mut(at..)
    {
        tail.rotate_left(1);
    }
}

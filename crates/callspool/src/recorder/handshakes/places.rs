//! Which handshakes are under way, and which gives way when there is no place for another.
//!
//! Whoever can send in the name of any address can begin handshakes that nobody ends. So strangers have places of
//! their own at each port, apart from those of whom signalling names; among them, who has not yet shown that it gets
//! our answers (by returning the cookie of RFC 6347 section 4.2.1) gives way first, once it has had the time for that.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use model::protection::Handshake;
use model::{Keys, SegmentId};

use super::{Door, LINGER, STRANGERS_MAX, Whence};
use crate::dtls::Association;

/// Handshakes at a time, of all ports: each takes some 20 KiB. New ones wait for the next repetition of their hello.
const ALL_MAX: usize = 4_096;
/// Of addresses that signalling names, with one port: the peer's of RTP and RTCP, and where it has moved.
const NAMED_PER_PORT: usize = 4;
/// Of others, with one port: a client behind NAT, and as many who make believe to be.
const ELSEWHERE_PER_PORT: usize = 8;
/// How long a stranger may take to return the cookie: a round trip half around the earth, and one that is lost.
const COOKIE_WITHIN: Duration = Duration::from_secs(1);

/// A peer at a door.
pub(super) type Key = (Door, SocketAddr);

/// A handshake that is under way, or was made not long ago.
pub(super) struct Standing {
    pub(super) association: Association,
    pub(super) terms: Handshake,
    /// Which segment has the port.
    pub(super) segment: SegmentId,
    pub(super) whence: Whence,
    began: Instant,
    /// Since when its keys are known where they are needed.
    pub(super) done: Option<Instant>,
    /// Its keys, until the media thread has them.
    pub(super) untold: Option<Box<(Keys, Keys)>>,
    /// The random number of the hello that it goes by.
    pub(super) random: Option<[u8; 32]>,
    /// It was told that the peer is there.
    pub(super) has_told: bool,
    /// Another one by this peer, which takes its place when the peer has returned our cookie; and by which hello.
    pub(super) next: Option<(Option<[u8; 32]>, Box<Association>)>,
}

/// Why one gives way to another; the first does so first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gives {
    /// Nothing shows that it is there at all.
    MayNotExist,
    /// It has its keys, and stays for repetitions only.
    IsDone,
    /// It is a stranger, and who comes is none.
    IsStranger,
    /// It is where the peer was before.
    WasThere,
}

impl Standing {
    pub(super) const fn new(
        association: Association,
        terms: Handshake,
        segment: SegmentId,
        whence: Whence,
        began: Instant,
    ) -> Self {
        Self {
            association,
            terms,
            segment,
            whence,
            began,
            done: None,
            untold: None,
            random: None,
            has_told: false,
            next: None,
        }
    }

    /// When it wants to be woken.
    fn due(&self) -> Instant {
        // At each look, while it has something that nobody took.
        if self.untold.is_some() { self.began } else { self.association.due() }
    }

    /// Whether it gives way to who comes now, at its own port or where all places are taken.
    fn gives_way(&self, to: Whence, at_port: bool, now: Instant) -> Option<Gives> {
        let has_had_time = now.saturating_duration_since(self.began) >= COOKIE_WITHIN;
        if self.done.is_some() {
            return Some(Gives::IsDone);
        }
        match (self.whence, to) {
            (Whence::Elsewhere, _) if !self.association.is_answered() && has_had_time => {
                Some(Gives::MayNotExist)
            }
            (Whence::Elsewhere, Whence::Named) => Some(Gives::IsStranger),
            (Whence::Named, Whence::Named) if at_port => Some(Gives::WasThere),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Places {
    standing: BTreeMap<Key, Standing>,
    /// Strangers who have begun in the second that began then.
    strangers: Option<(Instant, u32)>,
}

impl Places {
    pub(super) fn get(&mut self, key: Key) -> Option<&mut Standing> {
        self.standing.get_mut(&key)
    }

    pub(super) fn insert(&mut self, key: Key, standing: Standing) {
        self.standing.insert(key, standing);
    }

    pub(super) fn remove_if(&mut self, key: Key, is_over: impl FnOnce(&Standing) -> bool) {
        if self.standing.get(&key).is_some_and(is_over) {
            self.standing.remove(&key);
        }
    }

    /// Another segment has the port now.
    pub(super) fn moved(&mut self, door: Door, segment: SegmentId) {
        let of_door = self.standing.range_mut((door, LEAST)..).take_while(|((d, _), _)| *d == door);
        of_door.for_each(|(_, s)| s.segment = segment);
    }

    /// Makes a place for who comes to a port now; false when there is none.
    pub(super) fn make_room(&mut self, door: Door, whence: Whence, now: Instant) -> bool {
        let most = match whence {
            Whence::Named => NAMED_PER_PORT,
            Whence::Elsewhere => ELSEWHERE_PER_PORT,
        };
        let at_port = || self.standing.range((door, LEAST)..).take_while(|((d, _), _)| *d == door);
        let alike = || at_port().filter(|(_, s)| s.whence == whence);
        let mut gone = None;
        if alike().count() >= most {
            gone = first_to_give(alike(), |s| s.gives_way(whence, true, now));
            if gone.is_none() {
                return false;
            }
        } else if self.standing.len() >= ALL_MAX {
            gone = first_to_give(self.standing.iter(), |s| s.gives_way(whence, false, now));
            if gone.is_none() {
                return false;
            }
        }
        gone.iter().for_each(|key| drop(self.standing.remove(key)));
        true
    }

    /// Whether one more may begin in this second.
    pub(super) fn admits(&mut self, whence: Whence, now: Instant) -> bool {
        if whence == Whence::Named {
            return true;
        }
        let (since, count) = self.strangers.get_or_insert((now, 0));
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= STRANGERS_MAX
    }

    /// When the next wants to be woken.
    pub(super) fn due(&self) -> Option<Instant> {
        self.standing.values().map(Standing::due).min()
    }

    /// Those whose time has come. Those that are through are gone.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Key> {
        self.standing.retain(|_, s| s.done.is_none_or(|done| now.saturating_duration_since(done) < LINGER));
        self.standing.iter().filter(|(_, s)| s.due() <= now).map(|(k, _)| *k).collect()
    }

    #[cfg(test)]
    pub(super) fn count(&self, whence: Whence) -> usize {
        self.standing.values().filter(|s| s.whence == whence).count()
    }
}

/// Before every address of a door.
const LEAST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Of those that give way, the first by reason, then by age.
fn first_to_give<'a>(
    of: impl Iterator<Item = (&'a Key, &'a Standing)>,
    gives: impl Fn(&Standing) -> Option<Gives>,
) -> Option<Key> {
    let ready = of.filter_map(|(key, s)| Some((gives(s)?, s.began, *key)));
    ready.min_by_key(|(why, began, _)| (*why, *began)).map(|(_, _, key)| key)
}

//! Packets that no key opens yet, of a stream whose keys come beside signalling: they are kept as they came,
//! encrypted, in memory alone, until keys come that open them, or for so long.
//!
//! ```text
//!  no key opens it ──► keep ──┬─► keys come: each is tried, and goes on as if it came now, at its own time
//!                             └─► 20 s, or no room: counted as not opened
//! ```
//!
//! Only those of one sender wait, so that whoever else sends to the port pushes none of them out: of the addresses that
//! the stream expects, or, while nothing came from there and nothing was ever opened, of the first that sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{Mono, WallTime};

/// 20 s: whoever plays a recording finds a block that stands up to 30 s behind its place in the file.
const KEPT_FOR: Duration = Duration::from_secs(20);
/// How long a packet may wait before somebody hears of it: keys that come by a program come within a second or two.
const OVERDUE_AFTER: Duration = Duration::from_secs(5);
/// 256 KiB of a stream: 20 s of G.711 at 50 packets a second, with some room.
const OCTETS_MAX: usize = 256 << 10;
/// 64 MiB of all streams: 300 of them for as long as may be, or all of 2,500 calls for a second.
const ROOM: usize = 64 << 20;
/// Octets of an RTP header; less is none.
const HEADER: usize = 12;

/// What all streams together may keep. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    fn take(&self, octets: usize) -> bool {
        let more = |taken: usize| taken.checked_add(octets).filter(|taken| *taken <= ROOM);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, octets: usize) {
        self.0.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// Which packet the next octets are.
struct Head {
    at: WallTime,
    came: Mono,
    from: SocketAddr,
    length: usize,
}

/// Who sent a packet that is to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sender {
    /// Where signalling or what was opened before says that it is.
    Expected,
    /// Another, and nothing was opened yet: it may be behind NAT.
    Possible,
}

/// See the module.
#[derive(Default)]
pub(super) struct Waiting {
    heads: VecDeque<Head>,
    /// Where all of them are from, if that is not where they are expected from.
    possible: Option<SocketAddr>,
    octets: VecDeque<u8>,
    /// What is taken of the room of all, once anything was kept.
    room: Option<Room>,
}

impl Waiting {
    /// Keeps a packet. How many are given up for it, the oldest first; it is one of them itself where there is no
    /// room, or when it is none of RTP.
    pub(super) fn keep(
        &mut self,
        room: &Room,
        (at, came): (WallTime, Mono),
        (from, sender): (SocketAddr, Sender),
        bytes: &[u8],
    ) -> u64 {
        let is_rtp = bytes.len() >= HEADER && bytes.first().is_some_and(|first| first >> 6 == 2);
        if !is_rtp || bytes.len() > OCTETS_MAX {
            return 1;
        }
        let mut given_up = self.expire(came);
        match sender {
            Sender::Expected if self.possible.take().is_some() => given_up += self.give_up_all(),
            Sender::Possible if self.heads.is_empty() => self.possible = Some(from),
            Sender::Possible if self.possible != Some(from) => return given_up + 1,
            Sender::Expected | Sender::Possible => {}
        }
        let room = self.room.get_or_insert_with(|| room.clone()).clone();
        while self.octets.len() + bytes.len() > OCTETS_MAX || !room.take(bytes.len()) {
            if !self.give_up_oldest() {
                return given_up + 1;
            }
            given_up += 1;
        }
        self.heads.push_back(Head { at, came, from, length: bytes.len() });
        self.octets.extend(bytes);
        given_up
    }

    /// Gives up what has waited for too long; how many packets that is.
    pub(super) fn expire(&mut self, now: Mono) -> u64 {
        let mut given_up = 0;
        while self.heads.front().is_some_and(|head| now.since(head.came) > KEPT_FOR) {
            given_up += u64::from(self.give_up_oldest());
        }
        given_up
    }

    /// Gives up what came before then; how many packets that is.
    pub(super) fn leave(&mut self, before: WallTime) -> u64 {
        let mut given_up = 0;
        while self.heads.front().is_some_and(|head| head.at < before) {
            given_up += u64::from(self.give_up_oldest());
        }
        given_up
    }

    fn give_up_all(&mut self) -> u64 {
        let mut given_up = 0;
        while self.give_up_oldest() {
            given_up += 1;
        }
        given_up
    }

    fn give_up_oldest(&mut self) -> bool {
        let Some(head) = self.heads.pop_front() else { return false };
        self.octets.drain(..head.length.min(self.octets.len()));
        if let Some(room) = &self.room {
            room.give_back(head.length);
        }
        true
    }

    /// Packets that wait.
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Those of them that somebody should hear of.
    pub(super) fn overdue(&self, now: Mono) -> usize {
        self.heads.partition_point(|head| now.since(head.came) > OVERDUE_AFTER)
    }

    /// When the last one came.
    pub(super) fn last(&self) -> Option<WallTime> {
        self.heads.back().map(|head| head.at)
    }

    /// Shows each, oldest first; those that `opens` does not take wait on.
    pub(super) fn open(&mut self, mut opens: impl FnMut(WallTime, SocketAddr, &[u8]) -> bool) {
        let (heads, mut octets) = (std::mem::take(&mut self.heads), std::mem::take(&mut self.octets));
        let (all, mut at) = (octets.make_contiguous(), 0);
        for head in heads {
            let bytes = all.get(at..at + head.length).unwrap_or_default();
            at += head.length;
            if !opens(head.at, head.from, bytes) {
                self.octets.extend(bytes);
                self.heads.push_back(head);
            } else if let Some(room) = &self.room {
                room.give_back(head.length);
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.octets.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(n: u8, length: usize) -> Vec<u8> {
        let mut packet = vec![n; length];
        packet[0] = 0x80;
        packet
    }

    fn keep(waiting: &mut Waiting, room: &Room, ms: u64, bytes: &[u8]) -> u64 {
        let at = WallTime::from_millis(1_795_000_000_000) + Duration::from_millis(ms);
        let sender = ("192.0.2.7:4000".parse().unwrap(), Sender::Expected);
        waiting.keep(room, (at, Mono::ZERO + Duration::from_millis(ms)), sender, bytes)
    }

    fn kept(waiting: &mut Waiting) -> Vec<u8> {
        let mut seen = Vec::new();
        waiting.open(|_, _, bytes| {
            seen.push(bytes[1]);
            false
        });
        seen
    }

    #[test]
    fn what_no_key_opens_waits_on_and_what_one_opens_goes() {
        let (mut waiting, room) = (Waiting::default(), Room::default());
        for n in 0..5 {
            assert_eq!(keep(&mut waiting, &room, n * 20, &packet(u8::try_from(n).unwrap(), 200)), 0);
        }
        let mut times = Vec::new();
        waiting.open(|at, _, bytes| {
            times.push(at.0 % 1_000_000_000 / 1_000_000);
            bytes[1] % 2 == 0
        });
        assert_eq!(times, [0, 20, 40, 60, 80]);
        assert_eq!((kept(&mut waiting), waiting.len()), (vec![1, 3], 2));
        assert_eq!(room.0.load(Ordering::Relaxed), 400);
        drop(waiting);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_oldest_give_way_after_a_time_and_where_there_is_no_room() {
        let (mut waiting, room) = (Waiting::default(), Room::default());
        for n in 0..4 {
            assert_eq!(
                keep(&mut waiting, &room, n * 7_000, &packet(u8::try_from(n).unwrap(), 1_000)),
                u64::from(n == 3)
            );
        }
        assert_eq!(kept(&mut waiting), [1, 2, 3]);
        let at = |ms| Mono::ZERO + Duration::from_millis(ms);
        assert_eq!((waiting.overdue(at(12_000)), waiting.overdue(at(12_001))), (0, 1));
        assert_eq!((waiting.expire(at(27_000)), waiting.expire(at(27_001))), (0, 1));
        // More than a stream may keep.
        let given_up: u64 = (0..300).map(|_| keep(&mut waiting, &room, 27_000, &packet(9, 1_000))).sum();
        assert_eq!(given_up, 302 - 262);
        assert!(waiting.octets.len() <= OCTETS_MAX);
        // All that there is room for is others'.
        let other = Room(Arc::clone(&room.0));
        assert!(other.take(ROOM - waiting.octets.len()));
        let before = waiting.len();
        assert_eq!(keep(&mut waiting, &room, 27_000, &packet(10, 1_000)), 1);
        assert_eq!((waiting.len(), kept(&mut waiting).pop()), (before, Some(10)));
        let mut none = Waiting::default();
        assert_eq!((keep(&mut none, &room, 0, &packet(1, 200)), none.len()), (1, 0));
    }

    #[test]
    fn strangers_push_nothing_out_and_the_first_waits_where_nobody_is_expected() {
        let (mut waiting, room) = (Waiting::default(), Room::default());
        let mut keep = |from: &str, sender, n| {
            let from = (from.parse().unwrap(), sender);
            let given_up = waiting.keep(&room, (WallTime(1), Mono::ZERO), from, &packet(n, 200));
            (given_up, kept(&mut waiting))
        };
        assert_eq!(keep("192.0.2.1:1", Sender::Possible, 1), (0, vec![1]));
        assert_eq!(keep("192.0.2.2:1", Sender::Possible, 2), (1, vec![1]));
        assert_eq!(keep("192.0.2.1:1", Sender::Possible, 3), (0, vec![1, 3]));
        // Now it is known who sends.
        assert_eq!(keep("192.0.2.7:1", Sender::Expected, 4), (2, vec![4]));
        assert_eq!(keep("192.0.2.1:1", Sender::Possible, 5), (1, vec![4]));
        assert_eq!(keep("192.0.2.7:2", Sender::Expected, 6), (0, vec![4, 6]));
        assert_eq!(room.0.load(Ordering::Relaxed), 400);
    }

    #[test]
    fn what_is_no_rtp_is_not_kept() {
        let (mut waiting, room) = (Waiting::default(), Room::default());
        for bytes in [&[0x80; 11][..], &[0x16; 100], &[], &[0x80; OCTETS_MAX + 1]] {
            assert_eq!((keep(&mut waiting, &room, 0, bytes), waiting.len()), (1, 0));
        }
    }
}

//! Copies of what comes to an end, for a recorder at another address.
//!
//! ```text
//!            first packet              caught up
//!  Replaying ────────────► Replaying ───────────► Following
//!            what the ring holds, oldest first,   each packet as it comes
//!            a few at a time
//! ```
//!
//! What comes while it replays goes into the ring and is sent from there, so the recorder gets everything in the order
//! in which it came. Copies are of the packets as their sender made them; source and number say which is which.

use std::net::SocketAddr;
use std::ops::Range;

use model::{Keys, WallTime};

use super::ring::Ring;
use super::sends::Sends;
use super::{Which, is_sendable};
use crate::srtp::Outbound;

/// Packets of a replay that are sent at once: with a call each [`REPLAY_EVERY_NS`] that is 16 times as fast as a stream
/// of 50 packets a second, and two seconds of it are there in 130 ms. A recorder's socket holds some 250.
const REPLAYED_AT_ONCE: usize = 8;
/// Between pieces of a replay (nanoseconds).
pub const REPLAY_EVERY_NS: i64 = 10_000_000;

/// Where copies go.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP; none: nobody wants it. The same when multiplexed.
    pub rtcp: Option<SocketAddr>,
    /// What they are protected by; none: not at all.
    pub keys: Option<Keys>,
}

/// What a new recorder is sent first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// What comes from now on.
    Now,
    /// What came in the last two seconds, as far as the end [remembers](super::OpenEnd::remembers) it.
    Remembered,
}

/// What is replayed to a recorder: it cannot tell from packets that come all at once when they came first, so it is to be
/// told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// How many packets.
    pub packets: u64,
    /// When the first of them arrived here, its source and its number.
    pub first: (WallTime, u32, u16),
}

/// Copies to one recorder.
pub(super) struct Tee {
    rtp: SocketAddr,
    rtcp: Option<SocketAddr>,
    keys: Option<Outbound>,
    /// The next number of the ring to send, and when; none: it has caught up.
    replaying: Option<(u64, WallTime)>,
    /// Packets that left the ring before they were sent.
    pub(super) missed: u64,
}

impl Tee {
    /// None when a key has not the length that its suite wants, or an address is none to send to.
    pub(super) fn new(recorder: &Recorder) -> Option<Self> {
        let keys = match &recorder.keys {
            Some(keys) => Some(Outbound::new(keys)?),
            None => None,
        };
        let sendable = is_sendable(recorder.rtp) && recorder.rtcp.is_none_or(is_sendable);
        let Recorder { rtp, rtcp, .. } = *recorder;
        sendable.then_some(Self { rtp, rtcp, keys, replaying: None, missed: 0 })
    }

    /// Begins with what the ring holds, and says what that is.
    pub(super) fn replay(&mut self, now: WallTime, ring: &Ring) -> Option<Replayed> {
        let numbers = ring.since(now);
        self.replaying = Some((numbers.start, now)).filter(|_| !numbers.is_empty());
        let mut replayed = None;
        ring.walk(numbers.start, |at, (front, back)| {
            let (mut head, mut octets) = ([0; 12], front.iter().chain(back));
            head.iter_mut().zip(&mut octets).for_each(|(to, from)| *to = *from);
            let [_, _, high, low, _, _, _, _, ssrc @ ..] = head;
            let first = (at, u32::from_be_bytes(ssrc), u16::from_be_bytes([high, low]));
            replayed = Some(Replayed { packets: numbers.end - numbers.start, first });
            false
        });
        replayed
    }

    /// Sends the next piece of a replay, if it is time.
    pub(super) fn poll(&mut self, now: WallTime, ring: &Ring, out: &mut Sends) {
        let Some((number, due)) = self.replaying else { return };
        let early = due.nanos_since(now);
        // Further away than ever planned: the clock was set back.
        if early > 0 && early <= REPLAY_EVERY_NS {
            return;
        }
        let from = ring.at_or_after(number);
        self.missed += from - number;
        let mut sent = 0;
        ring.walk(from, |at, pieces| {
            let octets = out.put_both(pieces);
            self.send(at, Which::Rtp, octets, out);
            sent += 1;
            sent < REPLAYED_AT_ONCE
        });
        let next = from + sent as u64;
        let due = WallTime(now.0.saturating_add(REPLAY_EVERY_NS));
        self.replaying = (next < ring.end()).then_some((next, due));
    }

    /// There is nothing to replay from any more.
    pub(super) const fn go_on(&mut self) {
        self.replaying = None;
    }

    /// When it wants to go on.
    pub(super) fn due(&self) -> Option<WallTime> {
        self.replaying.map(|(_, due)| due)
    }

    /// A packet has come, and was put into `out`. If there is a ring, it is in that too.
    #[inline]
    pub(super) fn came(&mut self, now: WallTime, which: Which, octets: Range<usize>, out: &mut Sends) {
        if which == Which::Rtcp || self.replaying.is_none() {
            self.send(now, which, octets, out);
        }
    }

    fn send(&mut self, now: WallTime, which: Which, octets: Range<usize>, out: &mut Sends) {
        let to = match which {
            Which::Rtp => Some(self.rtp),
            Which::Rtcp => self.rtcp,
        };
        let Some(to) = to else { return };
        let octets = match (&mut self.keys, which) {
            (None, _) => Ok(octets),
            (Some(keys), Which::Rtp) => out.sealed(octets, |packet| keys.seal_once(packet)),
            (Some(keys), Which::Rtcp) => out.sealed(octets, |packet| {
                keys.seal_rtcp(now, packet).then_some(()).ok_or(crate::srtp::Unsealed::Malformed)
            }),
        };
        match octets {
            Ok(octets) => out.tee(to, octets),
            Err(_) => self.missed += 1,
        }
    }
}

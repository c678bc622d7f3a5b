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
//! in which it came. Copies are of the packets as their sender made them; source and number say which is which. Behind each may
//! stand a [mark](model::route), which says how long ago it came.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use model::{Keys, Mark, WallTime};

use super::Which;
use super::ring::Ring;
use super::sealing::Sealing;
use super::sends::Sends;

/// Packets of a replay that are sent at once, beside as many as came since the last time, so that it ends however fast
/// the stream is: with a call each [`REPLAY_EVERY_NS`] two seconds of speech are there in 130 ms. A recorder's socket holds
/// some 250.
const REPLAYED_AT_ONCE: u64 = 8;
/// The same of a long one: this part of what is left.
const REPLAYED_PART: u64 = 8;
/// Between pieces of a replay (nanoseconds).
pub const REPLAY_EVERY_NS: i64 = 10_000_000;

/// Where copies go.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// RTP.
    pub rtp: SocketAddr,
    /// RTCP; none: nobody wants it. The same when multiplexed.
    pub rtcp: Option<SocketAddr>,
    /// What they are protected by; none: not at all. A key is of one recorder at a time: who takes over has another.
    pub keys: Option<Keys>,
    /// What each of them ends with, and how long ago it came; none: they are as they came.
    pub mark: Option<Mark>,
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
    pub(super) sealing: Option<Sealing>,
    mark: Option<Mark>,
    replaying: Option<Replaying>,
    /// It has had the last report of the sender.
    reported: bool,
    /// Packets that left the ring before they were sent, or could not be protected.
    pub(super) missed: u64,
    /// That was told.
    pub(super) told: bool,
}

/// How far it has caught up.
#[derive(Clone, Copy)]
struct Replaying {
    /// The next number of the ring to send.
    next: u64,
    /// When.
    due: WallTime,
    /// Where the ring ended the last time.
    end: u64,
}

impl Tee {
    pub(super) const fn new(recorder: &Recorder, sealing: Option<Sealing>) -> Self {
        let Recorder { rtp, rtcp, mark, .. } = *recorder;
        Self { rtp, rtcp, sealing, mark, replaying: None, reported: false, missed: 0, told: false }
    }

    /// Begins with what the ring holds, and says what that is.
    pub(super) fn replay(&mut self, now: WallTime, ring: &Ring) -> Option<Replayed> {
        let numbers = ring.since(now);
        let replaying = Replaying { next: numbers.start, due: now, end: numbers.end };
        self.replaying = Some(replaying).filter(|_| !numbers.is_empty());
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

    /// Sends the next piece of a replay, if it is time and there is room. The last report of the sender comes first: it ties
    /// what is replayed to the sender's clock.
    pub(super) fn poll(&mut self, now: WallTime, sender: u8, ring: &Ring, report: &[u8], out: &mut Sends) {
        let Some(Replaying { next, due, end }) = self.replaying else { return };
        let early = due.nanos_since(now);
        // Further away than ever planned: the clock was set back.
        if (early > 0 && early <= REPLAY_EVERY_NS) || out.is_full() {
            return;
        }
        if !std::mem::replace(&mut self.reported, true) && !report.is_empty() {
            let octets = out.put(report);
            self.send((now, Duration::ZERO), sender, Which::Rtcp, octets, out);
        }
        let mut at = ring.at_or_after(next);
        self.missed += at.saturating_sub(next);
        // Some of it may have been forgotten since.
        let left = ring.end().saturating_sub(at);
        let until = at + ring.end().saturating_sub(end) + REPLAYED_AT_ONCE.max(left / REPLAYED_PART);
        ring.walk(at, |arrived, pieces| {
            let octets = out.put_both(pieces);
            self.send((arrived, now.since(arrived)), sender, Which::Rtp, octets, out);
            at += 1;
            at < until && !out.is_full()
        });
        let due = WallTime(now.0.saturating_add(REPLAY_EVERY_NS));
        let end = ring.end();
        self.replaying = (at < end).then_some(Replaying { next: at, due, end });
    }

    /// There is nothing to replay from any more.
    pub(super) const fn go_on(&mut self) {
        self.replaying = None;
    }

    /// The number of the ring that it wants next.
    pub(super) fn next(&self) -> Option<u64> {
        self.replaying.map(|replaying| replaying.next)
    }

    /// When it wants to go on.
    pub(super) fn due(&self) -> Option<WallTime> {
        self.replaying.map(|replaying| replaying.due)
    }

    /// A packet has come, and was put into `out`. If there is a ring, it is in that too.
    #[inline]
    pub(super) fn came(
        &mut self,
        now: WallTime,
        sender: u8,
        which: Which,
        octets: Range<usize>,
        out: &mut Sends,
    ) {
        if which == Which::Rtcp || self.replaying.is_none() {
            self.send((now, Duration::ZERO), sender, which, octets, out);
        }
    }

    /// Sends what came then, so long ago.
    fn send(
        &mut self,
        (came, age): (WallTime, Duration),
        sender: u8,
        which: Which,
        octets: Range<usize>,
        out: &mut Sends,
    ) {
        let to = match which {
            Which::Rtp => Some(self.rtp),
            Which::Rtcp => self.rtcp,
        };
        let Some(to) = to else { return };
        let octets = match &mut self.sealing {
            None => Some(octets),
            Some(sealing) => sealing.seal(came, sender, which, octets, out),
        };
        match (octets, self.mark) {
            (Some(octets), None) => out.tee(to, octets),
            (Some(octets), Some(mark)) => {
                let marked = out.put_again(octets, &mark.trailer(age));
                out.tee(to, marked);
            }
            (None, _) => self.missed += 1,
        }
    }
}

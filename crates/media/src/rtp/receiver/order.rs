//! Packets of the stream's source in their order: which goes on, which waits for others, which is late or given up.

use model::WallTime;
use model::peer::Flowing;

use super::StreamReceiver;
use crate::rtp::packet::Packet;
use crate::rtp::reorder::{Pace, WAIT_NS, WINDOW};
use crate::rtp::sequence::Arrived;
use crate::rtp::source::Belongs;
use crate::rtp::{FrameKind, FrameSink};

impl StreamReceiver {
    #[inline]
    pub(super) fn take_in<S: FrameSink>(&mut self, packet: &Packet<'_>, sink: &mut S) {
        match self.sources.belongs(packet) {
            Belongs::Current => self.take_current(packet, sink),
            Belongs::Straggler(index) => self.take_straggler(index, packet, sink),
            Belongs::Change => {
                self.release_all(sink);
                if self.sources.change_to(packet) {
                    self.first_of_source(packet, sink);
                } else {
                    self.take_current(packet, sink);
                }
            }
        }
    }

    #[inline]
    fn take_current<S: FrameSink>(&mut self, packet: &Packet<'_>, sink: &mut S) {
        let clock = self.clock_of(packet);
        let Some(source) = self.sources.current() else { return };
        match source.sequence.take(packet, clock) {
            Arrived::Ahead(number) | Arrived::Behind(number) => {
                self.count(packet);
                self.numbered(packet, number, sink);
            }
            Arrived::Again => self.aside.counted.duplicate += 1,
            Arrived::Anew => {
                self.release_all(sink);
                self.sources.restart(packet);
                self.first_of_source(packet, sink);
            }
        }
    }

    fn first_of_source<S: FrameSink>(&mut self, packet: &Packet<'_>, sink: &mut S) {
        self.count(packet);
        if let Some(number) = self.sources.current().map(|s| s.next) {
            self.numbered(packet, number, sink);
        }
    }

    /// A packet of an earlier source, soon after the change: it is late, whatever its number.
    fn take_straggler<S: FrameSink>(&mut self, index: usize, packet: &Packet<'_>, sink: &mut S) {
        let clock = self.clock_of(packet);
        let Some(source) = self.sources.get(index) else { return };
        match source.sequence.take(packet, clock) {
            Arrived::Ahead(number) | Arrived::Behind(number) => {
                source.next = source.next.max(number + 1);
                source.handed_on = source.handed_on.max(Some(number));
                self.count(packet);
                if let Some(source) = self.sources.get(index)
                    && self.flowing == Flowing::Active
                    && !source.passed_while_held(number)
                {
                    let kept = self.delivery.late(&source.timeline, packet, number, sink);
                    self.aside.counted.late += u64::from(kept);
                } else {
                    self.aside.counted.discarded += 1;
                }
            }
            Arrived::Again => self.aside.counted.duplicate += 1,
            Arrived::Anew => self.aside.counted.invalid += 1,
        }
    }

    /// A packet whose number in the current source is known, for the first time.
    #[inline]
    fn numbered<S: FrameSink>(&mut self, packet: &Packet<'_>, number: u64, sink: &mut S) {
        if self.flowing != Flowing::Active {
            self.discard(packet, number, sink);
            return;
        }
        let Some(source) = self.sources.current() else { return };
        if number == source.next && self.reorder.is_empty() {
            let missing = source.missing_before(number);
            if self.delivery.next(&mut source.timeline, packet, number, missing, sink) {
                source.next = number + 1;
                source.handed_on = Some(number);
            } else {
                self.reorder.hold(number, packet.arrival, packet.from, packet.bytes);
            }
        } else if number < source.next {
            self.behind(packet, number, sink);
        } else {
            self.aside.counted.reordered += u64::from(number < source.sequence.highest());
            self.wait(packet, number, sink);
        }
    }

    fn behind<S: FrameSink>(&mut self, packet: &Packet<'_>, number: u64, sink: &mut S) {
        let Some(source) = self.sources.current() else { return };
        if source.passed_while_held(number) {
            self.aside.counted.discarded += 1;
            return;
        }
        let kept = self.delivery.late(&source.timeline, packet, number, sink);
        self.aside.counted.late += u64::from(kept);
    }

    fn wait<S: FrameSink>(&mut self, packet: &Packet<'_>, number: u64, sink: &mut S) {
        while let Some(next) = self.sources.current().map(|s| s.next)
            && number >= next + WINDOW
        {
            match self.reorder.lowest() {
                Some(lowest) if lowest < number => self.give_up_before(lowest, sink),
                _ => self.skip_to(number + 1 - WINDOW),
            }
        }
        self.reorder.hold(number, packet.arrival, packet.from, packet.bytes);
        self.hand_on_ready(Some(packet.arrival), sink);
    }

    /// Held or paused: the packet is counted and not kept, and its number is not missed later.
    fn discard<S: FrameSink>(&mut self, packet: &Packet<'_>, number: u64, sink: &mut S) {
        self.release_all(sink);
        self.aside.counted.discarded += 1;
        let Some(source) = self.sources.current() else { return };
        if self.flowing == Flowing::Paused && number >= source.next {
            self.delivery.watch(&mut source.timeline, packet, number);
        }
        let from = match source.discarded {
            Some((from, before)) if before == source.next => from.min(number),
            _ => source.next.min(number),
        };
        let before = source.next.max(number + 1);
        source.discarded = Some((from, before));
        source.next = before;
        source.handed_on = Some(before - 1);
    }

    /// Hands on what has waited for 100 ms.
    pub(super) fn release_old<S: FrameSink>(&mut self, now: WallTime, sink: &mut S) {
        while let Some(oldest) = self.reorder.oldest()
            && now.nanos_since(oldest) >= WAIT_NS
            && let Some(lowest) = self.reorder.lowest()
        {
            self.give_up_before(lowest, sink);
            self.hand_on_ready(Some(now), sink);
        }
    }

    pub(super) fn release_all<S: FrameSink>(&mut self, sink: &mut S) {
        while let Some(lowest) = self.reorder.lowest() {
            self.give_up_before(lowest, sink);
        }
    }

    /// Nothing is missed any more before that number, which waits: it is handed on, and what follows it.
    fn give_up_before<S: FrameSink>(&mut self, number: u64, sink: &mut S) {
        self.skip_to(number);
        self.hand_on_ready(None, sink);
    }

    fn skip_to(&mut self, number: u64) {
        if let Some(source) = self.sources.current() {
            source.next = source.next.max(number);
        }
    }

    /// Hands on packets as long as the next number is here. One whose place in time only the packet after it
    /// shows goes on waiting, but not when there is no `now` to wait by.
    fn hand_on_ready<S: FrameSink>(&mut self, now: Option<WallTime>, sink: &mut S) {
        while let Some(source) = self.sources.current()
            && let Some(held) = self.reorder.take(source.next)
        {
            let number = held.number;
            // It was read when it came.
            if let Some(packet) = Packet::read(held.arrival, held.from, &held.bytes) {
                let missing = source.missing_before(number);
                if !self.delivery.next(&mut source.timeline, &packet, number, missing, sink) {
                    match self.reorder.pace_after(&held, self.delivery.clock()) {
                        Some(Pace::Burst) => source.timeline.catch_up(),
                        None if now.is_some_and(|now| now.nanos_since(held.arrival) < WAIT_NS) => {
                            self.reorder.put_back(held);
                            return;
                        }
                        Some(Pace::Own) | None => source.timeline.must_jump(),
                    }
                    self.delivery.next(&mut source.timeline, &packet, number, missing, sink);
                }
            }
            source.next = number + 1;
            source.handed_on = Some(number);
            self.reorder.recycle(held);
        }
    }

    #[inline]
    fn count(&mut self, packet: &Packet<'_>) {
        self.received += 1;
        self.payload_bytes += packet.payload.len() as u64;
    }

    /// The clock that the packet's timestamp tells time by; none for telephone events and unknown types.
    #[inline]
    fn clock_of(&self, packet: &Packet<'_>) -> Option<u32> {
        let meaning = self.delivery.types.meaning(packet.payload_type);
        match meaning.kind {
            FrameKind::Media | FrameKind::ComfortNoise => Some(meaning.clock),
            FrameKind::TelephoneEvent | FrameKind::Unknown => None,
        }
    }
}

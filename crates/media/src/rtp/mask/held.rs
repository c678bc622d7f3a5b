//! The delay line: frames that wait until it is known whether they hold a tone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use model::{Codec, WallTime};

use super::Placed;
use crate::rtp::packet::Packet;

/// 24 frames: 60 ms of guard and search are 12 frames of 5 ms, the shortest that are sent.
const FRAMES_MAX: usize = 24;
/// 6 buffers of 256 octets are there from the beginning: 60 ms of G.711 in packets of 20 ms, with room.
const FRAMES_FIRST: usize = 6;
const OCTETS_FIRST: usize = 256;
/// A buffer that once held a giant is not kept.
const BUFFER_KEPT: usize = 2_048;

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) arrival: WallTime,
    pub(super) source: SocketAddr,
    pub(super) placed: Placed,
    pub(super) codec: Option<Arc<Codec>>,
    /// Its samples, as they are counted.
    pub(super) from: u64,
    pub(super) until: u64,
    /// It is not to go on.
    pub(super) masked: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    frames: VecDeque<Held>,
    spare: Vec<Vec<u8>>,
}

impl Default for Line {
    fn default() -> Self {
        let mut spare = Vec::with_capacity(FRAMES_MAX);
        spare.resize_with(FRAMES_FIRST, || Vec::with_capacity(OCTETS_FIRST));
        Self { frames: VecDeque::with_capacity(FRAMES_MAX), spare }
    }
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_MAX
    }

    /// When the newest frame arrived.
    pub(super) fn newest(&self) -> Option<WallTime> {
        self.frames.back().map(|held| held.arrival)
    }

    /// Adds a frame; there is a place for it.
    pub(super) fn push(
        &mut self,
        packet: &Packet<'_>,
        placed: Placed,
        codec: Option<&Arc<Codec>>,
        from: u64,
        until: u64,
        masked: bool,
    ) {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(packet.bytes);
        let (arrival, source, codec) = (packet.arrival, packet.from, codec.cloned());
        self.frames.push_back(Held { bytes, arrival, source, placed, codec, from, until, masked });
    }

    /// Frames with any of these samples are not to go on.
    pub(super) fn mark(&mut self, from: u64, until: u64) {
        for held in &mut self.frames {
            held.masked |= held.from < until && from < held.until;
        }
    }

    /// The oldest frame.
    pub(super) fn pop(&mut self) -> Option<Held> {
        self.frames.pop_front()
    }

    /// The oldest frame, if it ends there or before.
    #[inline]
    pub(super) fn pop_until(&mut self, until: u64) -> Option<Held> {
        if self.frames.front().is_some_and(|held| held.until <= until) { self.pop() } else { None }
    }

    /// Gives a frame's buffer back. What was in it is overwritten: it may have been a digit.
    pub(super) fn recycle(&mut self, held: Held) {
        let mut bytes = held.bytes;
        bytes.fill(0);
        if self.spare.len() < FRAMES_MAX && bytes.capacity() <= BUFFER_KEPT {
            self.spare.push(bytes);
        }
    }
}

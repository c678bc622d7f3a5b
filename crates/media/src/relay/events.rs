//! What signalling may want to know of what passes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use model::WallTime;

use super::{DigitBy, EndId};

/// Events that wait to be taken, of a call. The caller takes them after each batch; what comes beyond is of somebody who
/// changes with every packet, and is counted.
const EVENTS_MAX: usize = 64;

/// Something changed at an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Its packets come from another address, or from one for the first time. It is sent to there now.
    Moved {
        /// The address before; none: it is the first.
        from: Option<SocketAddr>,
        /// The one now.
        to: SocketAddr,
    },
    /// Its packets come from another address that nothing shows to be its peer's: they are heard, and the peer is sent to
    /// where it was. Signalling that names the address, or the same source going on there, moves it.
    Elsewhere {
        /// The address.
        at: SocketAddr,
    },
    /// A recorder was not sent a copy, for the first time: see [`Relay::missed`](super::Relay::missed).
    Missed {
        /// The first or the second.
        place: usize,
    },
    /// Its source is another.
    Source {
        /// The SSRC before; none: it is the first.
        from: Option<u32>,
        /// The one now.
        to: u32,
    },
    /// Its media are of another payload type.
    PayloadType {
        /// The one before.
        from: u8,
        /// The one now.
        to: u8,
    },
    /// Its source said goodbye (RTCP BYE). That went on.
    Goodbye {
        /// The source.
        ssrc: u32,
    },
    /// A key was pressed: `0` to `9`, `*`, `#`, `A` to `D`. A tone is sure 25 ms after it began.
    Pressed {
        /// Which.
        key: char,
        /// How that is known.
        by: DigitBy,
    },
    /// It was released, or nothing more came of it.
    Released {
        /// Which.
        key: char,
        /// How that is known.
        by: DigitBy,
        /// How long it was pressed, as its sender says or as it was heard.
        lasted: Duration,
    },
}

/// An event, with where and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// The end.
    pub end: EndId,
    /// When the packet arrived that told it.
    pub at: WallTime,
    /// What happened.
    pub event: Event,
}

/// The events of a relay, as one end sees them.
pub(super) struct Events<'a> {
    pub(super) end: EndId,
    pub(super) at: WallTime,
    pub(super) queue: &'a mut VecDeque<Told>,
    pub(super) untold: u64,
}

impl Events<'_> {
    pub(super) fn push(&mut self, event: Event) {
        if self.queue.len() < EVENTS_MAX {
            self.queue.push_back(Told { end: self.end, at: self.at, event });
        } else {
            self.untold += 1;
        }
    }
}

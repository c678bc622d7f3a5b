//! One recording dialog: which call it belongs to, its m-lines, and where its negotiation stands.
//!
//! ```text
//!            INVITE                 ports                 all lines held
//!   (new) ───────────► Opening ───────────► Recording ───────────────────► Held
//!                         ▲  refused: gone   │   ▲  ports                   │
//!                         │                  ▼   │                          │
//!                         │               Changing (re-INVITE)              │
//!                         └────────────────────── a line is active again ───┘
//! ```
//!
//! A segment that cannot be written any more leads back to Opening: the next one takes over from it.
//!
//! A leg remembers; [`crate::Front`] decides.

use std::sync::Arc;

use bytes::Bytes;
use media::sdp::{Origin, Sdp};
use model::{CallId, Metadata, SegmentId, TakeOver};
use sip::SessionId;

use crate::describe::KnownSides;
use crate::lines::{self, Addresses, Line};
use crate::trunk::Trunk;

/// Metadata bodies kept while there is no segment: a hold brings one or two.
const WAITING_MAX: usize = 16;

/// What the request that is being worked on needs when the ports are known.
#[derive(Debug)]
pub(crate) enum Pending {
    /// It carried this offer: answer it.
    Answer(Box<Sdp>),
    /// It carried none: offer.
    Offer,
    /// There is none: we re-offer the ports ourselves.
    Reoffer,
    /// It is answered already.
    Nothing,
}

/// Where the negotiation stands.
#[derive(Debug)]
pub(crate) enum Phase {
    /// A segment was ordered; its ports are awaited. It may take over from another, which then ends.
    Opening { segment: SegmentId, pending: Pending, from: Option<TakeOver> },
    /// A segment records.
    Recording { segment: SegmentId },
    /// The streams of the segment change; their ports are awaited.
    Changing { segment: SegmentId, pending: Pending },
    /// No segment: on hold, or nothing was offered yet.
    Held,
}

/// Whether the segment is to keep what arrives, as far as it was told.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: bool,
    /// The number of the last order.
    ordered: u64,
    /// The number of an order that waits until the segment is open.
    reserved: Option<u64>,
    /// The number of the last that was carried out.
    carried_out: u64,
}

impl Gate {
    /// The gate of a segment that begins: open, or closed.
    pub(crate) fn begin(closed: bool) -> Self {
        Self { closed, ..Self::default() }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) const fn set(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// An order of this number will be given when the segment is open; one that waits already stays.
    pub(crate) fn reserve(&mut self, order: u64) {
        let order = *self.reserved.get_or_insert(order);
        self.ordered = order;
    }

    pub(crate) const fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// An order is given: its number, the reserved one if there is one.
    pub(crate) fn order(&mut self, next: u64) -> u64 {
        self.ordered = self.reserved.take().unwrap_or(next);
        self.ordered
    }

    pub(crate) fn carried_out(&mut self, order: u64) {
        self.carried_out = self.carried_out.max(order);
    }

    /// The order that is still to be carried out before the gate stands as told.
    pub(crate) fn awaited(&self) -> Option<u64> {
        (self.carried_out < self.ordered).then_some(self.ordered)
    }
}

/// One recording dialog.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) session: SessionId,
    pub(crate) call: CallId,
    /// The trunk that it came by; it stays with that one.
    pub(crate) trunk: Arc<Trunk>,
    pub(crate) lines: Vec<Line>,
    pub(crate) sides: KnownSides,
    pub(crate) addresses: Addresses,
    /// A request of it was answered with 200: there is a dialog, whatever becomes of a later request.
    pub(crate) is_answered: bool,
    /// Metadata that came while there was no segment to take them; the next one does.
    waiting: Vec<Metadata>,
    pub(crate) phase: Phase,
    /// Whether its segment keeps what arrives.
    pub(crate) gate: Gate,
    /// A re-INVITE of ours, with an offer, is under way.
    pub(crate) is_offering: bool,
    pub(crate) origin: Origin,
    last_sdp: Option<Bytes>,
}

impl Leg {
    pub(crate) fn new(
        session: SessionId,
        call: CallId,
        trunk: Arc<Trunk>,
        origin: Origin,
        addresses: Addresses,
    ) -> Self {
        Self {
            session,
            call,
            sides: KnownSides::new(trunk.agent_side.clone()),
            trunk,
            lines: Vec::new(),
            addresses,
            is_answered: false,
            waiting: Vec::new(),
            phase: Phase::Held,
            gate: Gate::default(),
            is_offering: false,
            origin,
            last_sdp: None,
        }
    }

    /// Keeps metadata for the next segment; beyond the limit the oldest give way.
    pub(crate) fn keep(&mut self, metadata: Vec<Metadata>) {
        self.waiting.extend(metadata);
        let over = self.waiting.len().saturating_sub(WAITING_MAX);
        self.waiting.drain(..over);
    }

    /// Gives what was kept.
    pub(crate) fn take_kept(&mut self) -> Vec<Metadata> {
        std::mem::take(&mut self.waiting)
    }

    /// The segment that records, or is about to.
    pub(crate) fn segment(&self) -> Option<SegmentId> {
        match &self.phase {
            Phase::Opening { segment, .. }
            | Phase::Recording { segment }
            | Phase::Changing { segment, .. } => Some(*segment),
            Phase::Held => None,
        }
    }

    /// The answer to `offer` from the lines as they are. The version of the origin line grows only when the
    /// description changes (RFC 3264 section 8).
    pub(crate) fn answer(&mut self, offer: &Sdp) -> Bytes {
        let addresses = self.addresses;
        self.versioned(|lines, origin| lines::answer(offer, lines, origin, addresses))
    }

    /// Our offer from the lines as they are.
    pub(crate) fn offer(&mut self) -> Bytes {
        let addresses = self.addresses;
        self.versioned(|lines, origin| lines::offer(lines, origin, addresses))
    }

    fn versioned(&mut self, build: impl Fn(&[Line], &Origin) -> Bytes) -> Bytes {
        let same = build(&self.lines, &self.origin);
        let sdp = match &self.last_sdp {
            Some(last) if *last != same => {
                self.origin.version += 1;
                build(&self.lines, &self.origin)
            }
            _ => same,
        };
        self.last_sdp = Some(sdp.clone());
        sdp
    }
}

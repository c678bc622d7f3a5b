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
//! A leg remembers; [`crate::Front`] decides.

use bytes::Bytes;
use media::sdp::{Origin, Sdp};
use model::{CallId, SegmentId};
use sip::SessionId;

use crate::describe::KnownSides;
use crate::lines::{self, Line};

/// What the request that is being worked on needs when the ports are known.
#[derive(Debug)]
pub(crate) enum Pending {
    /// It carried this offer: answer it.
    Answer(Box<Sdp>),
    /// It carried none: offer.
    Offer,
    /// It is answered already.
    Nothing,
}

/// Where the negotiation stands.
#[derive(Debug)]
pub(crate) enum Phase {
    /// A segment was ordered; its ports are awaited.
    Opening { segment: SegmentId, pending: Pending },
    /// A segment records.
    Recording { segment: SegmentId },
    /// The streams of the segment change; their ports are awaited.
    Changing { segment: SegmentId, pending: Pending },
    /// No segment: on hold, or nothing was offered yet.
    Held,
}

/// One recording dialog.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) session: SessionId,
    pub(crate) call: CallId,
    pub(crate) lines: Vec<Line>,
    pub(crate) sides: KnownSides,
    pub(crate) phase: Phase,
    pub(crate) origin: Origin,
    last_sdp: Option<Bytes>,
}

impl Leg {
    pub(crate) fn new(session: SessionId, call: CallId, origin: Origin) -> Self {
        Self {
            session,
            call,
            lines: Vec::new(),
            sides: KnownSides::default(),
            phase: Phase::Held,
            origin,
            last_sdp: None,
        }
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
        self.versioned(|lines, origin| lines::answer(offer, lines, origin))
    }

    /// Our offer from the lines as they are.
    pub(crate) fn offer(&mut self) -> Bytes {
        self.versioned(lines::offer)
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

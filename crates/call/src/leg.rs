//! One recording dialog: which call it belongs to, its m-lines, and where its negotiation stands.
//!
//! ```text
//!            INVITE                 ports                 all lines held
//!   (new) ───────────► Waiting ───────────► Recording ───────────────────► Held
//!                        ▲  ▲  refused: gone    │                            │
//!                        │  └── re-INVITE ──────┘                            │
//!                        └───────────────────────── a line is active again ──┘
//! ```
//!
//! The segment that its streams are in is the call's ([`crate::live_call`]): other legs of the call may have streams in
//! it too. A segment that cannot be written any more leads back to Waiting: the next one takes over from it.
//!
//! A leg remembers; [`crate::Front`] decides.

mod form;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use media::sdp::{Origin, Sdp};
use model::peer::Flowing;
use model::{CallId, Metadata, OpenStream, Route, SegmentId};
use sip::SessionId;

pub(crate) use self::form::LegForm;
use crate::asking::Asking;
use crate::bridge::End;
use crate::describe::{Absorbed, KnownSides};
use crate::indication::Indication;
use crate::lines::{self, Addresses, Line};
use crate::trunk::Trunk;

/// Metadata bodies kept while there is no segment: a hold brings one or two.
const WAITING_MAX: usize = 16;

/// Slots of a segment that each leg has for its m-lines: four times the streams of a dialog, so that streams of two
/// legs never have the same.
pub const SLOTS_PER_LEG: u16 = 64;

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

/// Whether media are offered on any line of a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    Media,
    Nothing,
}

/// Where the negotiation stands.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its streams are to be in this segment, which is ordered; their ports are awaited.
    Waiting {
        segment: SegmentId,
        pending: Pending,
        /// Who waits longest has the lowest.
        since: u64,
    },
    /// The segment has its streams.
    Recording { segment: SegmentId },
    /// No segment: on hold, or nothing was offered yet.
    Held,
}

/// What an offer of ours that is under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offering {
    /// None is.
    Nothing,
    /// It says what has become of the recording, and nothing depends on it.
    Indication,
    /// It says that ports have changed in mid-call. Whoever refuses it is recorded on.
    Telling,
    /// It says what is wanted from now on.
    Ports,
}

/// What a leg was before an offer that is being answered: that is refused, and then it is so again (RFC 3261 section
/// 14.1).
#[derive(Debug)]
pub(crate) struct Before {
    lines: Vec<Line>,
    unanswered: Option<Offered>,
    was_recording: bool,
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
    /// Whether the client is to be asked for its metadata.
    pub(crate) asking: Asking,
    pub(crate) addresses: Addresses,
    /// A request of it was answered with 200: there is a dialog, whatever becomes of a later request.
    pub(crate) is_answered: bool,
    /// Metadata that came while there was no segment to take them; the next one does.
    waiting: Vec<Metadata>,
    pub(crate) phase: Phase,
    /// While an offer is being answered.
    before: Option<Before>,
    /// Its streams' places in a segment that other legs have streams in too begin here.
    slots_from: u16,
    /// Its record server was told that nothing of its streams is kept, whatever becomes of the rest of the call.
    pub(crate) is_apart: bool,
    /// Of a phone's bridge: whose voice it brings.
    pub(crate) bridge: Option<End>,
    /// Whether whoever is on the way can read its signalling, as of its last request.
    pub(crate) is_in_clear: bool,
    /// By which way its media come, as long as it lasts.
    pub(crate) route: Route,
    /// Where its client signals from.
    pub(crate) client: IpAddr,
    /// What its peer is told of the recording; none where it is not told.
    pub(crate) indication: Option<Indication>,
    /// It asked for an offer of ours and has not answered it yet: what it offered before. Until it answers its lines are
    /// what we should like, and say nothing of a pause.
    pub(crate) unanswered: Option<Offered>,
    /// A re-INVITE of ours is under way.
    pub(crate) offering: Offering,
    /// On hold, it was offered to send again; its answer is awaited.
    pub(crate) may_resume: bool,
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
            asking: Asking::default(),
            trunk,
            lines: Vec::new(),
            addresses,
            is_answered: false,
            waiting: Vec::new(),
            phase: Phase::Held,
            before: None,
            slots_from: 0,
            is_apart: false,
            bridge: None,
            is_in_clear: false,
            route: Route::Direct,
            client: origin.address,
            indication: None,
            unanswered: None,
            offering: Offering::Nothing,
            may_resume: false,
            origin,
            last_sdp: None,
        }
    }

    /// What the metadata of a request leave open is to be asked for.
    pub(crate) fn ask_about(&mut self, absorbed: &Absorbed) {
        match absorbed.lack {
            Some(lack) => self.asking.want(lack),
            None if absorbed.is_whole => self.asking.satisfied(),
            None => {}
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

    /// An offer came, which may be refused.
    pub(crate) fn note_before(&mut self) {
        let was_recording = matches!(self.phase, Phase::Recording { .. });
        self.before = Some(Before { lines: self.lines.clone(), unanswered: self.unanswered, was_recording });
    }

    /// Its offer was answered.
    pub(crate) fn forget_before(&mut self) {
        self.before = None;
    }

    /// What it wanted of this segment cannot be had: it is as it was before, and is left out where that was nothing. What
    /// is still to be answered.
    pub(crate) fn fall_back(&mut self, segment: SegmentId) -> Pending {
        let pending = self.take_pending();
        let goes_on = match self.before.take() {
            Some(Before { lines, unanswered, was_recording }) => {
                (self.lines, self.unanswered) = (lines, unanswered);
                was_recording
            }
            None => {
                lines::give_up(&mut self.lines);
                self.lines.iter().any(|line| line.ports.is_some())
            }
        };
        if goes_on {
            self.phase = Phase::Recording { segment };
        } else {
            lines::close(&mut self.lines);
        }
        pending
    }

    /// The segment that has its streams, or is about to.
    pub(crate) fn segment(&self) -> Option<SegmentId> {
        match &self.phase {
            Phase::Waiting { segment, .. } | Phase::Recording { segment } => Some(*segment),
            Phase::Held => None,
        }
    }

    /// Leaves the segment that it was in; what is still to be answered.
    pub(crate) fn release(&mut self) -> Pending {
        lines::close(&mut self.lines);
        self.take_pending()
    }

    /// The same, but keeps its ports: another segment takes them over.
    pub(crate) fn take_pending(&mut self) -> Pending {
        match std::mem::replace(&mut self.phase, Phase::Held) {
            Phase::Waiting { pending, .. } => pending,
            Phase::Recording { .. } | Phase::Held => Pending::Nothing,
        }
    }

    /// Whether nothing is expected on any of its lines.
    pub(crate) fn is_held(&self) -> bool {
        lines::all_held(&self.lines)
    }

    /// Whether its client has it on hold: there is a dialog, no segment, and nothing is expected.
    pub(crate) fn is_on_hold(&self) -> bool {
        self.is_answered && matches!(self.phase, Phase::Held) && self.is_held()
    }

    /// Whether its client has media on its way, as far as it has offered.
    pub(crate) fn offered(&self) -> Offered {
        if self.lines.iter().any(Line::is_active) { Offered::Media } else { Offered::Nothing }
    }

    /// Its client has answered our offer, or refused it: it has heard of those ports. What the offer was for.
    pub(crate) fn take_offering(&mut self) -> Offering {
        let offering = std::mem::replace(&mut self.offering, Offering::Nothing);
        if let Offering::Telling | Offering::Ports = offering {
            lines::tell_offered(&mut self.lines);
        }
        offering
    }

    /// Whether its client sends to other ports than it has, and nothing is under way that says so.
    pub(crate) fn is_misled(&self) -> bool {
        let is_idle = matches!(self.phase, Phase::Recording { .. }) && self.offering == Offering::Nothing;
        self.is_answered && is_idle && self.lines.iter().any(Line::is_misled)
    }

    /// Its streams in the segment, with their places there.
    pub(crate) fn streams(&self) -> impl Iterator<Item = OpenStream> {
        self.streams_of(|_| true)
    }

    /// Those of them that have ports.
    pub(crate) fn streams_with_ports(&self) -> impl Iterator<Item = OpenStream> {
        self.streams_of(|line| line.ports.is_some())
    }

    fn streams_of(&self, wanted: fn(&Line) -> bool) -> impl Iterator<Item = OpenStream> {
        let (from, is_apart) = (self.slots_from, self.is_apart);
        let (may_share, route) = (self.trunk.sends_as_announced, self.route);
        let flowing = move |wanted: Flowing| match wanted {
            Flowing::Active if is_apart => Flowing::Paused,
            wanted => wanted,
        };
        let placed = move |s: &OpenStream| OpenStream {
            slot: from.saturating_add(s.slot),
            flowing: flowing(s.flowing),
            may_share,
            route,
            ..s.clone()
        };
        self.lines.iter().filter(move |l| wanted(l)).filter_map(|l| l.stream.as_ref()).map(placed)
    }

    /// The first leg of a segment has the slots of its m-lines, those that come later others.
    pub(crate) const fn set_slots_from(&mut self, ordinal: u16) {
        self.slots_from = ordinal.saturating_mul(SLOTS_PER_LEG);
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

    /// Our offer to send again, on hold. There are no ports yet: those come when the client does.
    pub(crate) fn offer_to_resume(&mut self) -> Bytes {
        let addresses = self.addresses;
        self.versioned(|lines, origin| lines::offer_to_resume(lines, origin, addresses))
    }

    fn versioned(&mut self, build: impl Fn(&[Line], &Origin) -> Bytes) -> Bytes {
        let told = |sdp: Bytes| self.indication.map_or_else(|| sdp.clone(), |told| told.put_into(&sdp));
        let same = told(build(&self.lines, &self.origin));
        let sdp = match &self.last_sdp {
            Some(last) if *last != same => {
                self.origin.version += 1;
                told(build(&self.lines, &self.origin))
            }
            _ => same,
        };
        self.last_sdp = Some(sdp.clone());
        sdp
    }
}

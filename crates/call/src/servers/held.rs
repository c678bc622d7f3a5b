//! A segment as far as it must be known which record server has it, and what becomes of it when that one is gone.
//!
//! ```text
//!   Opening ──opened──► Live ──told to end──────────────────────────► Ending ──ended──► (forgotten)
//!      │                  └──its server is gone──► Lost ──told to end──┘ └──nobody says so──► presumed
//!      └──refused everywhere, or nobody says──► (forgotten)
//! ```
//!
//! One whose media went through another proxy is lost from the beginning: that one has its ports.

use model::state::Respondent;
use model::{
    CallData, CallId, EndReason, Failure, Mono, OpenSegment, Order, PeerName, RecordingState, SegmentId,
    SegmentRecord, StartTrigger, TakeOver, TenantId, WallTime, total,
};

use super::peer::Identity;

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    /// The record server that has it, or was asked last.
    pub(super) at: PeerName,
    /// Who that was then.
    pub(super) by: Identity,
    pub(super) about: About,
    pub(super) stage: Stage,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// A record server was asked.
    Opening(Box<Opening>),
    /// It is recorded.
    Live(Failing),
    /// Its record server is gone, and `Front` was told that it fails.
    Lost {
        since: WallTime,
        /// How it ended, if that is known: told when `Front` has done with it.
        record: Option<Box<SegmentRecord>>,
        /// Whether media of it come all the same.
        fed: Fed,
    },
    /// It was told to end.
    Ending {
        /// By this order.
        end: Order,
        /// When its record server was lost since.
        lost: Option<WallTime>,
    },
}

/// Whether media come to a segment that `Front` takes for lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    No,
    /// By the proxy that had it before, until its client sends to another: it ends when `Front` says so.
    ByAnother,
}

/// Whether its record server has said that it cannot be written any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failing {
    No,
    Yes,
}

/// One that is being opened.
#[derive(Debug)]
pub(super) struct Opening {
    /// The order as `Front` gave it.
    pub(super) order: OpenSegment,
    /// When the first record server was asked.
    pub(super) since: Mono,
    /// Record servers that were asked, the last is being waited for.
    pub(super) tried: Vec<PeerName>,
    /// Whether the last was told what it takes over.
    pub(super) kin: Kin,
    /// It is to end as soon as it is opened, or not to be opened at all.
    pub(super) end: Option<Order>,
}

/// Whether a segment that takes over is at the record server of the one that failed, which then ends that itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    Same,
    Other,
}

/// What a record says of a segment whose own nobody has.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) id: SegmentId,
    pub(super) call: CallId,
    pub(super) tenant: TenantId,
    pub(super) number: u16,
    pub(super) total: u16,
    pub(super) respondent: Respondent,
    pub(super) started: WallTime,
    pub(super) trigger: StartTrigger,
    pub(super) dtmf: model::Dtmf,
}

impl Held {
    /// One that a record server is asked to open.
    pub(super) fn asked(at: PeerName, by: Identity, opening: Box<Opening>) -> Self {
        let open = &opening.order;
        let about = About {
            id: open.segment,
            call: open.call,
            tenant: open.tenant.clone(),
            number: open.number,
            total: open.total,
            respondent: open.respondent,
            started: open.started,
            trigger: open.trigger.clone(),
            dtmf: open.dtmf,
        };
        Self { at, by, about, stage: Stage::Opening(opening) }
    }

    pub(super) const fn call(&self) -> CallId {
        self.about.call
    }

    /// Its record server records it, or did: what it was to take over, and where, if it was being opened until now.
    pub(super) fn opened(&mut self) -> Option<(Option<TakeOver>, Kin)> {
        let Stage::Opening(opening) = &mut self.stage else { return None };
        let (from, kin) = (opening.order.takes_over.take(), opening.kin);
        self.stage = match opening.end.take() {
            None => Stage::Live(Failing::No),
            Some(end) => Stage::Ending { end, lost: None },
        };
        Some((from, kin))
    }

    /// Its record, as far as it is known here: it ended then, for this reason.
    pub(super) fn presumed(&self, at: WallTime, reason: EndReason) -> SegmentRecord {
        let About { id, call, tenant, number, total, respondent, started, trigger, dtmf } =
            self.about.clone();
        let begun = RecordingState::begin(respondent);
        SegmentRecord {
            id,
            call,
            tenant,
            number,
            total: total::at_end(number, total, &reason),
            node: self.by.node,
            volume: model::VolumeName::default(),
            state: begun.apply(reason.transition()).unwrap_or(RecordingState::PartialInternalError),
            respondent,
            started,
            ended: Some(at.max(started)),
            trigger,
            end: Some(reason),
            stopped_by: None,
            pauses: Vec::new(),
            pauses_unlisted: 0,
            dtmf,
            encryption: model::segment::Encryption::None,
            data: CallData::default(),
            metadata: Vec::new(),
            streams: Vec::new(),
            parts: Vec::new(),
            sidecar: None,
        }
    }
}

/// Why a segment ended of which nobody says that it came to the end that it was told: that was an end by a failure inside
/// already, or is one now.
pub(super) fn failed(end: &Order) -> EndReason {
    match end {
        Order::End { reason: EndReason::Internal(why), .. } => EndReason::Internal(why.clone()),
        _ => EndReason::Internal(Failure::Process),
    }
}

//! Calls whose media go through this proxy: which ports of ours they come to, and which record server gets them.
//!
//! It stands between [`Front`](crate::Front) and [`RecordServers`](crate::RecordServers), and to either looks like the other:
//!
//! ```text
//!  Front ──Order──► Anchors ──Order──► RecordServers ──► record servers
//!    ▲                │  ▲                                    ▲
//!    └──── Report ────┘  └── Report                           │ copies of what comes
//!                     └──────► the relay ─────────────────────┘
//!  clients ── media ──────────►
//! ```
//!
//! Of a stream that is [`Route::Anchored`] a record server is told that it comes by the relay, and `Front` is told ports of
//! ours. They stay as they are as long as the stream is in a segment that is not told to end, whichever record servers have
//! it one after the other: so where another takes over, `Front` finds nothing to tell its client. The one that takes over is
//! sent what the relay remembers first; how long ago that came stands behind each packet.
//!
//! What comes in a pause, or on a line on hold, goes to record servers, who drop it, and is not remembered. Lines with ICE or a
//! DTLS handshake go straight to a record server: the relay answers neither. All else passes through untouched.
//!
//! Where two copies are wanted, a second record server has the same segment ([`CopyEvent`]) and is sent the same. Either may be
//! lost and the segment goes on.
//!
//! A call that another proxy carries on comes to ports of ours until its client sends to that one: it is
//! [handed on](handing_on).
//!
//! It has no socket, waits for nobody, and knows record servers only by what they say.

mod handing_on;
mod line;
mod segment;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use media::relay::{Beginning, OpenEnd, Recorder, Recording};
use media::srtp::Entropy;
use model::peer::Family;
use model::{
    EndReason, Failure, Mono, Now, OpenPause, OpenSegment, OpenStream, Order, PauseSource, Report, Route,
    SegmentId, StreamId, StreamPorts,
};

use self::line::{Line, is_anchored};
use self::segment::Anchored;
use crate::servers::CopyEvent;

/// The relay, as far as it must be told: in order, at once, and without waiting.
pub trait RelayPorts {
    /// Opens a pair of ports for a stream, and relays what comes to them.
    ///
    /// # Errors
    /// There are none, or nobody who would.
    fn open(&mut self, stream: StreamId, family: Family, end: OpenEnd) -> Result<StreamPorts, Failure>;

    /// Has this done with a stream that is open.
    ///
    /// # Errors
    /// Nobody takes the order.
    fn carry_out(&mut self, stream: StreamId, order: LineOrder) -> Result<(), NotRelayed>;
}

/// What is to be done with a stream at the relay.
#[derive(Debug, Clone)]
pub enum LineOrder {
    /// Signalling says otherwise of it.
    Change(Box<OpenEnd>),
    /// Copies go there from now on.
    Tee(Recorder, Beginning),
    /// The same for a second record server, or for none.
    TeeSecond(Option<(Recorder, Beginning)>),
    /// Whether what comes from now on may be replayed.
    Record(Recording),
    /// Its record server failed: nothing is forgotten of what is remembered.
    Hold,
    /// Another one has it.
    Release,
    /// It is over.
    Close,
}

/// Why the relay does not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRelayed {
    /// Not now, and later it may.
    #[error("the relay takes no orders: {0}")]
    Busy(String),
    /// Nor will it later: it has no such stream, or has ended, and its ports with it.
    #[error("the relay takes no orders: {0}")]
    Never(String),
}

/// Streams that are tried to be closed again at a time: it is tried with each order, and each takes a microsecond.
const CLOSED_AT_A_TIME: usize = 16;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum AnchorStep {
    /// An order for [`RecordServers`](crate::RecordServers).
    Order(Order),
    /// A report for `Front`.
    Report(Report),
    /// For `Front`: nobody said in time whether this is opened.
    Unanswered(Box<OpenSegment>),
    /// For [`RecordServers`](crate::RecordServers): this is to have a second copy.
    Copy(Box<OpenSegment>),
    /// For it too: it need not have one any more, for this reason.
    EndCopy(SegmentId, EndReason),
}

/// How many record servers record what goes through the proxy, at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copies {
    /// One.
    #[default]
    One,
    /// Two.
    Two,
}

/// See the module.
pub struct Anchors<R> {
    relay: R,
    entropy: Entropy,
    lines: BTreeMap<StreamId, Line>,
    /// Streams that are over, and that the relay did not close yet: no more than have ports.
    closing: VecDeque<StreamId>,
    /// All segments that were ordered and not told to end.
    segments: BTreeMap<SegmentId, Anchored>,
    /// Those of them that another proxy has, and until when media are waited for that come to ports of ours.
    handed_on: BTreeMap<SegmentId, Mono>,
    /// Segments of which nobody said in time whether they are opened.
    unanswered: Vec<SegmentId>,
    copies: Copies,
    steps: VecDeque<AnchorStep>,
}

impl<R: RelayPorts> Anchors<R> {
    /// Without calls. Marks of streams are drawn from `entropy`.
    pub fn new(relay: R, entropy: Entropy) -> Self {
        let (lines, segments, steps) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let (closing, unanswered, copies) = (VecDeque::new(), Vec::new(), Copies::One);
        let handed_on = BTreeMap::new();
        Self { relay, entropy, lines, closing, segments, handed_on, unanswered, copies, steps }
    }

    /// The same with so many copies of each segment of which all streams come to ports of ours.
    #[must_use]
    pub fn with_copies(mut self, copies: Copies) -> Self {
        self.copies = copies;
        self
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<AnchorStep> {
        self.steps.pop_front()
    }

    /// The relay.
    pub const fn relay(&mut self) -> &mut R {
        &mut self.relay
    }

    /// Streams that were to be closed and are not are tried again. It is done with each order too.
    pub fn close_again(&mut self) {
        self.let_unanswered_go();
        self.try_closing();
    }

    fn try_closing(&mut self) {
        for _ in 0..self.closing.len().min(CLOSED_AT_A_TIME) {
            if let Some(stream) = self.closing.pop_front() {
                self.close(stream);
            }
        }
    }

    /// Streams that come to ports of ours, or came and are not closed yet, and segments that were ordered.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        (self.lines.len() + self.closing.len(), self.segments.len())
    }

    /// `Front` orders.
    pub fn order(&mut self, now: Now, order: Order) {
        self.try_closing();
        self.carry_out(now, order);
        self.let_unanswered_go();
    }

    fn let_unanswered_go(&mut self) {
        for segment in std::mem::take(&mut self.unanswered) {
            self.let_go(segment);
        }
    }

    fn carry_out(&mut self, now: Now, order: Order) {
        match order {
            Order::Open(open) => return self.open(now, open),
            Order::Change { segment, streams } => return self.change(segment, streams),
            Order::End { segment, .. } => self.let_go(segment),
            Order::Pause { segment, ref by, .. } => self.gate(now, segment, Some(by)),
            Order::Resume { segment, .. } => self.gate(now, segment, None),
            Order::Annotate { .. }
            | Order::Withdraw { .. }
            | Order::Keys { .. }
            | Order::Conclude(_)
            | Order::Join(_) => {}
        }
        self.pass(order);
    }

    /// A record server reports.
    pub fn reported(&mut self, now: Now, report: Report) {
        match report {
            Report::Opened { segment, ports } => return self.opened(segment, ports),
            Report::Refused { segment, .. } => self.refused(segment),
            Report::Failing { segment, ref why } => self.is_failing(now, segment, why),
            Report::Withdrawn { segment } => self.let_go(segment),
            Report::Ended { ref record } => self.let_go(record.id),
            Report::CarriedOut { .. } | Report::MediaTimedOut { .. } => {}
        }
        self.tell(report);
    }

    /// Nobody said in time whether a segment is opened: it is not waited for any more. `Front` may order the same streams anew
    /// at once, and they are to find their ports: they leave it behind the next order.
    pub fn unanswered(&mut self, open: Box<OpenSegment>) {
        self.unanswered.push(open.segment);
        self.steps.push_back(AnchorStep::Unanswered(open));
    }

    fn pass(&mut self, order: Order) {
        self.steps.push_back(AnchorStep::Order(order));
    }

    fn tell(&mut self, report: Report) {
        self.steps.push_back(AnchorStep::Report(report));
    }

    fn open(&mut self, now: Now, mut open: Box<OpenSegment>) {
        let segment = open.segment;
        if let Some(failed) = open.takes_over.as_ref().and_then(|failed| self.segments.get(&failed.segment))
            && open.streams.iter().any(is_anchored)
        {
            // What is replayed to it was said before.
            open.started = open.started.min(failed.replayed_from(now.wall));
        }
        self.segments.insert(segment, Anchored::new(open.started, open.pause.is_some()));
        match self.want(segment, &mut open.streams) {
            Ok(()) => {
                let is_copied = self.copies == Copies::Two
                    && open.streams.iter().all(|stream| stream.route.mark().is_some());
                if let Some(anchored) = self.segments.get_mut(&segment).filter(|_| is_copied) {
                    anchored.to_copy = Some(open.clone());
                }
                self.pass(Order::Open(open));
            }
            Err(why) => {
                self.let_go(segment);
                self.tell(Report::Refused { segment, why });
            }
        }
    }

    fn change(&mut self, segment: SegmentId, mut streams: Vec<OpenStream>) {
        match self.want(segment, &mut streams) {
            Ok(()) => {
                self.copy_changes(segment, &streams);
                self.pass(Order::Change { segment, streams });
            }
            Err(why) => {
                self.settle(segment);
                self.tell(Report::Refused { segment, why });
            }
        }
    }

    /// A second copy has the same streams. One of a line that comes to a record server directly it could not have.
    fn copy_changes(&mut self, segment: SegmentId, streams: &[OpenStream]) {
        let Some(anchored) = self.segments.get_mut(&segment).filter(|_| self.copies == Copies::Two) else {
            return;
        };
        if streams.iter().any(|stream| stream.route.mark().is_none()) {
            anchored.to_copy = None;
            let why = Failure::Resources("a line of it does not go through the proxy".to_owned());
            self.steps.push_back(AnchorStep::EndCopy(segment, EndReason::Internal(why)));
        } else if let Some(to_copy) = &mut anchored.to_copy {
            to_copy.streams = streams.to_vec();
        }
    }

    /// These are the streams of a segment. Those that are anchored have ports of ours then, and are as the record server is to
    /// see them.
    fn want(&mut self, segment: SegmentId, streams: &mut [OpenStream]) -> Result<(), Failure> {
        if !self.segments.contains_key(&segment) {
            // It was told to end: nobody is told of ports any more.
            return Ok(());
        }
        let mut wanted = BTreeSet::new();
        for stream in streams.iter_mut().filter(|stream| stream.route == Route::Anchored) {
            if is_anchored(stream) {
                self.claim(segment, stream)?;
                wanted.insert(stream.stream);
            } else {
                stream.route = Route::Direct;
            }
        }
        wanted.iter().for_each(|stream| self.remember(*stream));
        if let Some(anchored) = self.segments.get_mut(&segment) {
            anchored.ordered(wanted);
        }
        Ok(())
    }

    /// A stream is to be in a segment: it has ports of ours, or gets some.
    fn claim(&mut self, segment: SegmentId, stream: &mut OpenStream) -> Result<(), Failure> {
        let id = stream.stream;
        let end = line::end_of(stream);
        match self.lines.get_mut(&id) {
            Some(line) => {
                if line.open != *stream {
                    self.relay.carry_out(id, LineOrder::Change(Box::new(end))).map_err(failure)?;
                    line.open = stream.clone();
                }
                line.segments.insert(segment);
            }
            None => {
                self.close_before(id)?;
                let ports = self.relay.open(id, stream.family, end)?;
                let line = Line::new(stream.clone(), ports, line::mark(&mut self.entropy), segment);
                self.lines.insert(id, line);
            }
        }
        if let (Some(line), Some(anchored)) = (self.lines.get(&id), self.segments.get_mut(&segment)) {
            anchored.claimed.insert(id);
            line.show(stream);
        }
        Ok(())
    }

    /// A record server has a segment, or other streams of it.
    fn opened(&mut self, segment: SegmentId, mut ports: Vec<StreamPorts>) {
        let mut lost: Option<Failure> = None;
        if let Some(is_first) = self.segments.get_mut(&segment).map(Anchored::opened) {
            for ports in &mut ports {
                let Some(line) = self.lines.get_mut(&ports.stream).filter(|line| line.is_of(segment)) else {
                    continue;
                };
                if is_first || line.owner.is_none() {
                    line.owner = Some(segment);
                    // Of the one before there may have been two copies.
                    lost = lost.or(line.tee_second(&mut self.relay, None).err());
                }
                if line.owner == Some(segment) {
                    lost = lost.or(line.tee_to(&mut self.relay, ports.rtp).err());
                }
                *ports = line.told();
            }
            self.settle(segment);
            if let Some(to_copy) = self.segments.get_mut(&segment).and_then(|a| a.to_copy.take()) {
                self.steps.push_back(AnchorStep::Copy(to_copy));
            }
        }
        self.tell(Report::Opened { segment, ports });
        if let Some(why) = lost {
            // It would record nothing.
            self.tell(Report::Failing { segment, why });
        }
    }

    /// What becomes of the second copy of a segment.
    pub fn copy_changed(&mut self, event: &CopyEvent) {
        let (CopyEvent::Opened { segment, .. } | CopyEvent::Lost { segment } | CopyEvent::Moved { segment }) =
            *event;
        for stream in self.streams_of(segment) {
            let Some(line) = self.lines.get_mut(&stream).filter(|line| line.owner == Some(segment)) else {
                continue;
            };
            let done = match event {
                CopyEvent::Opened { ports, .. } => match ports.iter().find(|ports| ports.stream == stream) {
                    Some(ports) => line.tee_second(&mut self.relay, Some(ports.rtp)),
                    None => Ok(()),
                },
                CopyEvent::Lost { .. } => line.tee_second(&mut self.relay, None),
                CopyEvent::Moved { .. } => line.second_is_first(&mut self.relay),
            };
            match (done, event) {
                (Ok(()), _) => {}
                (Err(why), CopyEvent::Moved { .. }) => return self.tell(Report::Failing { segment, why }),
                (Err(why), _) => {
                    let why = EndReason::Internal(why);
                    return self.steps.push_back(AnchorStep::EndCopy(segment, why));
                }
            }
        }
    }

    /// It is not opened, or has no other streams than before.
    fn refused(&mut self, segment: SegmentId) {
        let Some(anchored) = self.segments.get_mut(&segment) else { return };
        if anchored.answered() {
            self.settle(segment);
        } else {
            self.let_go(segment);
        }
    }

    /// A segment cannot be written any more: until another takes over, what comes is remembered.
    fn is_failing(&mut self, now: Now, segment: SegmentId, why: &Failure) {
        let Some(anchored) = self.segments.get_mut(&segment) else { return };
        anchored.failing.get_or_insert(now.wall);
        for stream in &anchored.claimed {
            if let Some(line) = self.lines.get_mut(stream).filter(|line| line.owner == Some(segment)) {
                line.hold(&mut self.relay, why);
            }
        }
    }

    /// A segment is paused by somebody, or goes on.
    fn gate(&mut self, now: Now, segment: SegmentId, by: Option<&PauseSource>) {
        let Some(anchored) = self.segments.get_mut(&segment) else { return };
        anchored.is_paused = by.is_some();
        if let Some(to_copy) = &mut anchored.to_copy {
            to_copy.pause = by.map(|by| OpenPause { since: now.wall, by: by.clone() });
        }
        self.streams_of(segment).into_iter().for_each(|stream| self.remember(stream));
    }

    /// Whether what comes of a stream may be replayed: not what came in a pause, or on hold.
    fn remember(&mut self, stream: StreamId) {
        let Some(line) = self.lines.get_mut(&stream) else { return };
        let is_paused = |segment| self.segments.get(segment).is_some_and(|s| s.is_paused);
        let is_paused = line.segments.iter().any(is_paused);
        line.record(&mut self.relay, is_paused);
    }

    /// When all that was ordered of a segment is answered, streams that are not wanted in it any more leave it.
    fn settle(&mut self, segment: SegmentId) {
        let Some(anchored) = self.segments.get(&segment).filter(|anchored| anchored.is_settled()) else {
            return;
        };
        let mut leaving = self.streams_of(segment);
        leaving.retain(|stream| !anchored.wants(*stream));
        leaving.into_iter().for_each(|stream| self.leave(segment, stream));
    }

    /// A segment is over, or never was.
    fn let_go(&mut self, segment: SegmentId) {
        let streams = self.streams_of(segment);
        self.handed_on.remove(&segment);
        if self.segments.remove(&segment).is_some() {
            streams.into_iter().for_each(|stream| self.leave(segment, stream));
        }
    }

    /// Those that are in a segment, or leave it when that is answered.
    fn streams_of(&self, segment: SegmentId) -> Vec<StreamId> {
        let of_it = self.segments.get(&segment).map(|anchored| anchored.claimed.iter().copied().collect());
        of_it.unwrap_or_default()
    }

    /// A stream leaves a segment. Its ports are closed when no other has it.
    fn leave(&mut self, segment: SegmentId, stream: StreamId) {
        if let Some(anchored) = self.segments.get_mut(&segment) {
            anchored.claimed.remove(&stream);
        }
        let Some(line) = self.lines.get_mut(&stream) else { return };
        line.segments.remove(&segment);
        line.owner.take_if(|owner| *owner == segment);
        if line.segments.is_empty() {
            self.lines.remove(&stream);
            self.close(stream);
        } else {
            self.remember(stream);
        }
    }

    /// Until it is closed it has ports, and is copied.
    fn close(&mut self, stream: StreamId) {
        if let Err(NotRelayed::Busy(_)) = self.relay.carry_out(stream, LineOrder::Close) {
            self.closing.push_back(stream);
        }
    }

    /// One that was to be closed is opened again: it is closed first, or not opened.
    fn close_before(&mut self, stream: StreamId) -> Result<(), Failure> {
        if let Some(at) = self.closing.iter().position(|closing| *closing == stream) {
            match self.relay.carry_out(stream, LineOrder::Close) {
                Err(why @ NotRelayed::Busy(_)) => return Err(failure(why)),
                Ok(()) | Err(NotRelayed::Never(_)) => _ = self.closing.remove(at),
            }
        }
        Ok(())
    }
}

fn failure(why: NotRelayed) -> Failure {
    Failure::Resources(why.to_string())
}

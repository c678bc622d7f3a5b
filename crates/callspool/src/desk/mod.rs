//! The desk of the record server of this node: it takes orders of proxies on other nodes, and brings each report of the
//! recorder to whoever ordered the segment: such a proxy, or the front of this process.
//!
//! ```text
//!  links of proxies ──Order──► desk ──────► Recorder ◄────── the front of this process
//!        ▲                      │ ▲            │
//!        └──── Hello, Beat, ────┘ └── Report ──┘
//!              Report, Probed
//! ```
//!
//! It never waits for a proxy: a link that does not take what it is told is closed, and what its proxy misses is
//! [kept](call::Book). A new segment that this record server has no room for is refused here, whoever placed it; one that
//! is not the first of its call is opened as long as it can be written.

mod cares;
mod load;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use call::{Book, KeeperStep, Whose, refusal};
use model::beat::{Resource, Thresholds};
use model::custody::{FromKeeper, ToKeeper};
use model::{
    Beat, Conclusion, Copy, CopyOf, EndReason, Failure, Hello, Incident, Location, NodeNumber, Order,
    PeerName, Report, SegmentId, Standing, TenantId,
};
use peers::{Came, FromServer, Link, LinkId, Listener};
use tokio::sync::{mpsc, watch};

use crate::clock::{mono, wall};
use crate::pulse::Pulse;
use crate::recorder::{Recorder, Teller};
pub(crate) use cares::Cares;
pub(crate) use load::Loads;

/// How often it says how it is: three that are missed, and a proxy asks whether it is still there.
pub(crate) const BEAT: Duration = Duration::from_millis(100);
/// How long threads have to leave, when all that they did is done.
const LEAVE_GRACE: Duration = Duration::from_secs(2);
/// How long proxies may take to have others take over what is live here, when it stops.
const HAND_OVER_GRACE: Duration = Duration::from_secs(3);
/// How long what links are told last may take to leave.
pub(crate) const SEND_GRACE: Duration = Duration::from_millis(300);
/// How long segments of proxies may take to be sealed after they were ended at a stop.
const SEAL_GRACE: Duration = Duration::from_secs(10);

/// How often it is told at most that states of calls find no room: a proxy at its limits tells some each second.
const UNKEPT_TOLD: Duration = Duration::from_secs(60);

/// What this node says of itself.
#[derive(Clone)]
pub(crate) struct Introduction {
    pub(crate) name: PeerName,
    pub(crate) node: NodeNumber,
    /// Another one after each start.
    pub(crate) run: u64,
}

impl Introduction {
    pub(crate) fn hello(&self, segments: Vec<SegmentId>) -> Hello {
        Hello { name: self.name.clone(), node: self.node, run: self.run, segments }
    }
}

/// See the module.
pub(crate) struct Desk {
    pub(crate) recorder: Arc<Recorder>,
    /// All that the recorder reports.
    pub(crate) reports: mpsc::Receiver<Report>,
    /// The front of this process, if it has one.
    pub(crate) front: Option<mpsc::Sender<Report>>,
    /// Told how the record server is, where the front of this process has others to choose from.
    pub(crate) beats: Option<mpsc::Sender<Beat>>,
    /// By what calls of the front of this process are recognized.
    pub(crate) told: mpsc::Receiver<ToKeeper>,
    /// Told which of them proxies on other nodes have calls in common with.
    pub(crate) answer: mpsc::Sender<FromKeeper>,
    pub(crate) introduction: Introduction,
    /// Who has which call, and what is kept of the calls of proxies.
    pub(crate) cares: Cares,
    pub(crate) teller: Teller,
    /// Who is told what concerns no single call.
    pub(crate) tenant: TenantId,
    pub(crate) loads: Loads,
    /// Where proxies come in.
    pub(crate) doors: Vec<Listener>,
    /// How long segments of proxies may go on after a stop was asked for.
    pub(crate) grace: Duration,
    pub(crate) stop: watch::Receiver<bool>,
    /// Whether an operator wants no new segments.
    pub(crate) drained: watch::Receiver<bool>,
    /// Told how many segments of proxies there are.
    pub(crate) busy: watch::Sender<usize>,
    pub(crate) pulse: Pulse,
}

/// The desk as an operator has it.
pub(crate) struct DeskLink {
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) busy: watch::Receiver<usize>,
}

enum Input {
    Report(Report),
    Link(Door, LinkId, PeerName, Came),
    Told(ToKeeper),
    Beat,
}

/// The index of a listener: each has numbers of its own for its links.
type Door = usize;

struct Running {
    desk: Desk,
    book: Book,
    /// When it was told last that there is no room for what is to be kept.
    unkept_told: Option<Instant>,
    links: BTreeMap<PeerName, (Door, LinkId, Link)>,
    /// Orders that have come by each of them.
    heard: BTreeMap<PeerName, u64>,
    thresholds: Thresholds,
    over: Vec<Resource>,
    number: u64,
    beat: tokio::time::Interval,
    is_stopping: bool,
    /// Proxies were told that their segments cannot stay.
    is_handed_over: bool,
}

impl Desk {
    /// Runs until the record server may stop: the front of this process has ended, whose calls should be sealed by then
    /// (`front_done`), and so have the segments of proxies. Then it stops the record server.
    pub(crate) async fn run(self, front_done: impl Future<Output = Instant> + Send) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = self.stop.clone();
        let mut running = Running {
            unkept_told: None,
            desk: self,
            book: Book::default(),
            links: BTreeMap::new(),
            heard: BTreeMap::new(),
            thresholds: Thresholds::default(),
            over: Vec::new(),
            number: 0,
            beat,
            is_stopping: false,
            is_handed_over: false,
        };
        running.go_on_until(async { _ = stop.wait_for(|stop| *stop).await }).await;
        running.is_stopping = true;
        let grace = running.desk.grace;
        running.let_segments_end(grace).await;
        running.hand_over_segments();
        running.let_segments_end(HAND_OVER_GRACE).await;
        running.end_segments();
        running.let_segments_end(SEAL_GRACE).await;
        let sealed_by = running.go_on_until(front_done).await;
        if !running.links.is_empty() {
            // What they were told last is on its way.
            running.go_on_until(tokio::time::sleep(SEND_GRACE)).await;
        }
        running.close(sealed_by).await;
    }
}

impl Running {
    /// Does its work until then.
    async fn go_on_until<T>(&mut self, end: impl Future<Output = T>) -> T {
        tokio::pin!(end);
        loop {
            let input = tokio::select! {
                biased;
                ended = &mut end => return ended,
                input = self.select() => input,
            };
            self.apply(input).await;
        }
    }

    async fn let_segments_end(&mut self, limit: Duration) {
        let end = tokio::time::Instant::now() + limit;
        while !self.book.is_empty() {
            let input = tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                input = self.select() => input,
            };
            self.apply(input).await;
        }
    }

    async fn select(&mut self) -> Input {
        let Desk { reports, doors, told, .. } = &mut self.desk;
        tokio::select! {
            biased;
            _ = self.beat.tick() => Input::Beat,
            Some(report) = reports.recv() => Input::Report(report),
            Some(said) = told.recv() => Input::Told(said),
            (door, (link, name, came)) = any_of(doors) => Input::Link(door, link, name, came),
        }
    }

    async fn apply(&mut self, input: Input) {
        self.desk.pulse.goes_on();
        match input {
            Input::Report(report) => self.report(report).await,
            Input::Link(door, link, name, came) => self.came(door, link, name, came),
            Input::Told(said) => {
                let own = &self.desk.introduction.name;
                self.desk.cares.look().keeper.handle(mono(), own, said);
            }
            Input::Beat => {
                self.desk.cares.look().keeper.handle_timeout(mono());
                self.tell_of_unkept();
                self.tell_how_it_is();
            }
        }
        self.hand_on_calls().await;
        while let Some((name, segment)) = self.book.poll_over() {
            self.tell(&name, &FromServer::Custody(FromKeeper::Over { segment }));
        }
        let count = self.book.len();
        self.desk.busy.send_if_modified(|busy| std::mem::replace(busy, count) != count);
    }

    async fn report(&mut self, report: Report) {
        // What is opened when all were handed over cannot stay either.
        let is_late = |s: &SegmentId| self.is_handed_over && !self.book.opened().contains(s);
        let late = Some(&report).filter(|r| matches!(r, Report::Opened { .. })).map(Report::segment);
        let late = late.filter(is_late);
        match self.book.whose(report) {
            Whose::Own(report) => {
                if let Some(front) = &self.desk.front {
                    if let Report::Ended { record } = &report {
                        self.desk.cares.look().care.is_own(record.call);
                    }
                    // One that has ended has no calls any more.
                    let _ = front.send(report).await;
                }
            }
            Whose::Of(name, report) => self.tell(&name, &FromServer::Report(report)),
            Whose::Kept => {}
            Whose::End(segment, reason) => self.end(segment, reason),
        }
        if let Some(segment) = late {
            self.hand_over(segment);
        }
    }

    fn came(&mut self, door: Door, link: LinkId, name: PeerName, came: Came) {
        match came {
            Came::Up(new) => {
                tracing::info!(proxy = %name, "a proxy is linked");
                self.heard.insert(name.clone(), 0);
                self.links.insert(name.clone(), (door, link, new));
                self.desk.cares.look().care.arrived(&name);
                self.book.linked(&name);
                let segments = self.book.segments_of(&name);
                self.tell(&name, &FromServer::Hello(self.desk.introduction.hello(segments)));
            }
            // What an older link of a proxy says is of before.
            _ if self.links.get(&name).is_none_or(|(d, l, _)| (*d, *l) != (door, link)) => {}
            Came::Order(order) => {
                *self.heard.entry(name.clone()).or_default() += 1;
                self.order(&name, order);
            }
            Came::Probe => self.tell(&name, &FromServer::Probed),
            Came::Custody(said) => self.heed(&name, said),
            Came::Closed(why) => {
                tracing::warn!(proxy = %name, "a proxy is gone: {why}; what it ordered goes on");
                self.links.remove(&name);
                self.heard.remove(&name);
                let mut cares = self.desk.cares.look();
                cares.care.left(&name);
                cares.keeper.left(mono(), &name);
                drop(cares);
                for (segment, reason) in self.book.left(&name) {
                    self.end(segment, reason);
                }
            }
        }
    }

    /// A proxy says something of whose calls are; first of all which process it is.
    fn heed(&mut self, name: &PeerName, said: ToKeeper) {
        match said {
            ToKeeper::Present { run } => {
                self.desk.cares.look().care.present(name, run);
                for report in self.book.here(name, Some(run)) {
                    self.tell(name, &FromServer::Report(report));
                }
            }
            ToKeeper::Return { call, epoch } => self.book.given_back(call, name, epoch),
            ToKeeper::Leaving {} => {
                tracing::info!(proxy = %name, "a proxy stops: its calls are offered to others");
            }
            _ => {}
        }
        self.desk.cares.look().keeper.handle(mono(), name, said);
    }

    /// Calls go from one proxy to another, and what is recorded of them with them.
    async fn hand_on_calls(&mut self) {
        loop {
            let step = self.desk.cares.look().keeper.poll_step();
            let Some(step) = step else { return };
            match step {
                KeeperStep::Tell(name, said) if name == self.desk.introduction.name => {
                    // One that has ended has no calls any more.
                    let _ = self.desk.answer.send(said).await;
                }
                KeeperStep::Tell(name, said) => self.tell(&name, &FromServer::Custody(said)),
                KeeperStep::Move { call, to, epoch } => {
                    let said = match self.book.moved(call, &to, epoch) {
                        Some((segments, missed)) => {
                            self.desk.cares.look().care.moved(call, &to);
                            if !segments.is_empty() {
                                tracing::info!(proxy = %to, %call, "a call is carried on by another proxy");
                            }
                            FromKeeper::Adopted { call, epoch, segments, missed }
                        }
                        // A later owner has what is recorded of it here.
                        None => FromKeeper::Denied { call, epoch },
                    };
                    self.tell(&to, &FromServer::Custody(said));
                }
            }
        }
    }

    fn order(&mut self, by: &PeerName, order: Order) {
        if let Order::Open(open) = &order
            && let Some(why) = refusal(&self.standing(), open)
        {
            let report = Report::Refused { segment: open.segment, why };
            return self.tell(by, &FromServer::Report(report));
        }
        self.desk.cares.look().care.ordered(by, &order);
        if let Order::Conclude(Conclusion { call, tenant, state: Some(state), .. }) = &order {
            // The proxy tells its own catalog.
            let at = Location::Node(self.desk.introduction.node);
            self.desk.teller.copy(tenant, *call, Copy { of: CopyOf::Call(*call), at, state: *state });
        }
        if self.book.ordered(by, &order) {
            self.desk.recorder.order(order);
        } else {
            // It hears, or has heard, that the call is another's.
            tracing::debug!(proxy = %by, "an order of a segment that another proxy has is not carried out");
        }
    }

    /// States of calls that found no room: told at most each [`UNKEPT_TOLD`].
    fn tell_of_unkept(&mut self) {
        if self.unkept_told.is_some_and(|told| told.elapsed() < UNKEPT_TOLD) {
            return;
        }
        let unkept = self.desk.cares.look().keeper.take_unkept();
        if unkept > 0 {
            self.unkept_told = Some(Instant::now());
            let text = format!(
                "states of calls of other nodes are not kept here ({unkept}), as too many are already: should their proxies fail,                  nobody carries on those calls"
            );
            self.desk.teller.alarm(&self.desk.tenant, Incident::InternalFailure, None, None, text);
        }
    }

    fn standing(&self) -> Standing {
        match (self.is_draining(), self.over.is_empty()) {
            (true, _) => Standing::Draining,
            (false, true) => Standing::Taking,
            (false, false) => Standing::Over(self.over.clone()),
        }
    }

    fn is_draining(&self) -> bool {
        self.is_stopping || *self.desk.drained.borrow()
    }

    fn tell_how_it_is(&mut self) {
        let loads = self.desk.loads.look();
        self.over = self.thresholds.look(&loads);
        self.number += 1;
        let standing = self.standing();
        let recordings = self.desk.loads.recordings();
        let beat = Beat { number: self.number, at: wall(), recordings, loads, standing, heard: None };
        if let Some(beats) = &self.desk.beats {
            // The next one says more.
            let _ = beats.try_send(beat.clone());
        }
        for (name, (_, _, link)) in &self.links {
            let heard = self.heard.get(name).copied();
            // One that does not take it is closed, which is told.
            let _ = link.send(&FromServer::Beat(Beat { heard, ..beat.clone() }));
        }
    }

    fn tell(&self, name: &PeerName, message: &FromServer) {
        let Some((_, _, link)) = self.links.get(name) else { return };
        if let Err(e) = link.send(message) {
            tracing::debug!(proxy = %name, "a proxy is not told: {e}");
        }
    }

    /// Proxies are told that their segments cannot stay: others take over, and the calls go on.
    fn hand_over_segments(&mut self) {
        self.is_handed_over = true;
        for segment in self.book.opened() {
            self.hand_over(segment);
        }
    }

    fn hand_over(&mut self, segment: SegmentId) {
        let failing = Report::Failing { segment, why: Failure::Process };
        if let Whose::Of(name, report) = self.book.whose(failing) {
            self.tell(&name, &FromServer::Report(report));
        }
    }

    fn end_segments(&self) {
        let left = self.book.segments();
        if !left.is_empty() {
            tracing::warn!("{} segments of proxies are ended because callspool stops", left.len());
        }
        for segment in left {
            self.end(segment, EndReason::Internal(Failure::Process));
        }
    }

    fn end(&self, segment: SegmentId, reason: EndReason) {
        self.desk.recorder.order(Order::End { segment, at: wall(), reason, by: None });
    }

    /// Stops the record server.
    async fn close(self, sealed_by: Instant) {
        let Desk { recorder, mut reports, doors, pulse, .. } = self.desk;
        pulse.waits();
        drop((self.links, doors));
        let left = sealed_by.saturating_duration_since(Instant::now()).max(LEAVE_GRACE);
        let Some(recorder) = Arc::into_inner(recorder) else {
            tracing::error!("the record server is still in use; the next start repairs what it had open");
            return;
        };
        let stopping = tokio::task::spawn_blocking(move || recorder.stop(left));
        // Threads that report must not wait for a reader that is gone; one that hangs keeps its end of the
        // channel, so the channel's end is not what is waited for.
        let drain = async {
            while reports.recv().await.is_some() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = stopping => {}
            () = drain => {}
        }
    }
}

/// What comes first at any of the doors; waits for ever where there is none.
async fn any_of(doors: &mut [Listener]) -> (Door, (LinkId, PeerName, Came)) {
    let each = doors
        .iter_mut()
        .enumerate()
        .map(|(door, listener)| Box::pin(async move { (door, listener.came().await) }));
    let each: Vec<_> = each.collect();
    if each.is_empty() {
        return std::future::pending().await;
    }
    futures_util::future::select_all(each).await.0
}

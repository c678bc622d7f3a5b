//! The record servers as the signalling task has them: the machine that knows which of them has which segment, the one
//! in this process, and the links to the others.
//!
//! ```text
//!  Front ──Order──► RecordServers ──Send──► the Recorder of this process
//!    ▲                │      ▲         └──► a link to another node
//!    └────Report──────┘      └── what comes from either
//! ```
//!
//! Where there are several, [what knows of the relay](crate::anchoring) stands before the machine.
//!
//! Orders never wait: what a link cannot take closes it, and its record server is taken for gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use call::{
    AnchorStep, Custody, Front, PeerEvent, PeerStanding, PeerView, RecordServers, Room, ServersConfig, Step,
};
use model::custody::{FromKeeper, ToKeeper};
use model::{
    Beat, CallId, ChangeKind, Failure, Hello, Mono, Now, Occurrence, OpenSegment, Order, PeerName, Report,
    SegmentId, Standing, TenantId,
};
use peers::{Dialer, Heard, NotSent, ToServer};
use tokio::sync::mpsc;

use crate::anchoring::{Anchoring, Relayed};
use crate::recorder::Recorder;

/// What is to be done that the record servers do not do themselves.
pub(crate) enum Outcome {
    Report(Report),
    Unanswered(Box<OpenSegment>),
    Tell(TenantId, ChangeKind),
    Alarm(Occurrence),
}

/// The record server of this process.
pub(crate) struct Local {
    pub(crate) name: PeerName,
    pub(crate) recorder: Arc<Recorder>,
    /// What it reports of segments that this process ordered.
    pub(crate) reports: mpsc::Receiver<Report>,
    /// How it is, where there are others too.
    pub(crate) beats: mpsc::Receiver<Beat>,
    /// By what calls of this process are recognized, for its desk.
    pub(crate) tell: mpsc::Sender<ToKeeper>,
    /// Which of them proxies on other nodes have calls in common with.
    pub(crate) answers: mpsc::Receiver<FromKeeper>,
}

/// What came from one of them.
pub(crate) enum Came {
    Report(Report),
    Beat(Beat),
    Answer(FromKeeper),
    There(PeerName, Heard),
}

/// What concerns whose calls are, as it came.
pub(crate) enum News {
    Linked(PeerName),
    Unlinked(PeerName),
    Said(PeerName, FromKeeper),
}

/// See the module.
pub(crate) struct Servers {
    pub(crate) machine: RecordServers,
    /// Whose calls are, where there are others who may carry them on.
    pub(crate) custody: Option<Custody>,
    /// What is to be looked at of that.
    pub(crate) news: VecDeque<News>,
    /// Where there are several.
    anchoring: Option<Anchoring>,
    local: Option<Local>,
    dialer: Option<Dialer>,
    /// Why there is no link to a record server, as it was said last: attempts follow one another.
    unlinked: BTreeMap<PeerName, String>,
    /// Where each takes calls that are sent on to it; empty where signalling stays here.
    sip: BTreeMap<PeerName, String>,
}

impl Servers {
    /// The one in this process alone.
    pub(crate) fn alone(local: Local) -> Self {
        let machine = RecordServers::alone(local.name.clone());
        let (custody, news) = (None, VecDeque::new());
        let (unlinked, sip) = (BTreeMap::new(), BTreeMap::new());
        Self { machine, custody, news, anchoring: None, local: Some(local), dialer: None, unlinked, sip }
    }

    /// Several: those that are dialed, and the one in this process if it has one.
    pub(crate) fn several(
        config: ServersConfig,
        peers: Vec<PeerName>,
        dialer: Dialer,
        local: Option<(Local, Hello)>,
        run: u64,
        anchoring: Anchoring,
        now: Now,
    ) -> Self {
        let own = local.as_ref().map(|(local, _)| local.name.clone());
        let custody = Custody::new(run).awaiting(peers.clone());
        let custody = Some(match &own {
            Some(own) => custody.beside(own),
            None => custody,
        });
        let mut machine = RecordServers::new(config, peers.into_iter().chain(own));
        let local = local.map(|(local, hello)| {
            machine.handle_event(now, &local.name, PeerEvent::Up(hello));
            local
        });
        let news = VecDeque::new();
        let (unlinked, sip) = (BTreeMap::new(), BTreeMap::new());
        Self {
            machine,
            custody,
            news,
            anchoring: Some(anchoring),
            local,
            dialer: Some(dialer),
            unlinked,
            sip,
        }
    }

    /// The same; calls that begin are sent to where the chosen one takes calls.
    pub(crate) fn redirecting(mut self, sip: BTreeMap<PeerName, String>) -> Self {
        self.sip = sip;
        self
    }

    /// Whether there may be others than the one in this process.
    pub(crate) const fn are_several(&self) -> bool {
        self.dialer.is_some()
    }

    /// The one in this process.
    pub(crate) fn local(&self) -> Option<&Recorder> {
        self.local.as_ref().map(|local| &*local.recorder)
    }

    /// What comes next; waits for ever where nothing can.
    pub(crate) async fn next(&mut self) -> Came {
        let (local, dialer) = (&mut self.local, &mut self.dialer);
        let here = async {
            let Some(local) = local else { return std::future::pending().await };
            tokio::select! {
                Some(report) = local.reports.recv() => Came::Report(report),
                Some(beat) = local.beats.recv() => Came::Beat(beat),
                Some(answer) = local.answers.recv() => Came::Answer(answer),
                else => std::future::pending().await,
            }
        };
        let there = async {
            match dialer {
                Some(dialer) => dialer.heard().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            came = here => came,
            (name, heard) = there => Came::There(name, heard),
        }
    }

    /// Something came.
    pub(crate) fn apply(&mut self, now: Now, came: Came) {
        match (came, &self.local) {
            (Came::Report(report), Some(local)) => {
                if let (Report::Ended { record }, Some(anchoring)) = (&report, &mut self.anchoring) {
                    // One that was handed on; of others it is told below.
                    anchoring.is_over(record.id);
                }
                self.machine.handle_event(now, &local.name, PeerEvent::Report(report));
            }
            (Came::Beat(beat), Some(local)) => {
                self.machine.handle_event(now, &local.name, PeerEvent::Beat(beat));
            }
            (Came::Answer(said), Some(local)) => self.news.push_back(News::Said(local.name.clone(), said)),
            (Came::There(name, Heard::Custody(said)), _) => {
                self.machine.handle_event(now, &name, PeerEvent::Alive);
                if let (FromKeeper::Over { segment }, Some(anchoring)) = (&said, &mut self.anchoring) {
                    anchoring.is_over(*segment);
                }
                self.news.push_back(News::Said(name, said));
            }
            (Came::There(name, heard), _) => {
                self.note(&name, &heard);
                match &heard {
                    Heard::Up(_) => self.news.push_back(News::Linked(name.clone())),
                    Heard::Closed(_) => self.news.push_back(News::Unlinked(name.clone())),
                    Heard::Report(report)
                        if self.custody.as_mut().is_some_and(|c| c.set_aside(&name, report)) =>
                    {
                        return;
                    }
                    _ => {}
                }
                self.machine.handle_event(now, &name, event(heard));
            }
            (Came::Report(_) | Came::Beat(_) | Came::Answer(_), None) => {}
        }
    }

    /// Says in the log what becomes of a link, and the same thing once.
    fn note(&mut self, name: &PeerName, heard: &Heard) {
        match heard {
            Heard::Up(hello) => {
                self.unlinked.remove(name);
                tracing::info!(record_server = %name, node = hello.node.get(), "linked");
            }
            Heard::Closed(why) if self.unlinked.get(name) != Some(why) => {
                tracing::warn!(record_server = %name, "not linked: {why}");
                self.unlinked.insert(name.clone(), why.clone());
            }
            _ => {}
        }
    }

    /// An order for whoever has its segment, or is to.
    pub(crate) fn order(&mut self, now: Now, order: Order) {
        match &mut self.anchoring {
            Some(anchoring) => anchoring.order(now, order),
            None => self.machine.order(now, order),
        }
    }

    /// What goes through this proxy; none where nothing can.
    pub(crate) fn relayed(&mut self) -> Option<Relayed> {
        self.anchoring.as_mut().map(Anchoring::relayed)
    }

    /// Another proxy carries on a call.
    pub(crate) fn forget_call(&mut self, now: Now, call: CallId, there: &PeerName) {
        for segment in self.machine.forget_call(now, call, there) {
            if let Some(anchoring) = &mut self.anchoring {
                anchoring.hand_on(now, segment);
            }
        }
    }

    /// This process stops: other proxies are to carry on its calls.
    pub(crate) fn leave(&mut self) {
        self.custody.iter_mut().for_each(Custody::leave);
    }

    /// Segments of calls that others carry on, whose media still come here.
    pub(crate) fn handed_on(&self) -> usize {
        self.anchoring.as_ref().map_or(0, Anchoring::handed_on)
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.machine.handle_timeout(now);
        if let Some(anchoring) = &mut self.anchoring {
            anchoring.handle_timeout(now);
        }
    }

    /// When that should be called.
    pub(crate) fn next_timeout(&self) -> Option<Mono> {
        let custody = self.custody.as_ref().and_then(Custody::next_timeout);
        let anchoring = self.anchoring.as_ref().and_then(Anchoring::next_timeout);
        [self.machine.next_timeout(), custody, anchoring].into_iter().flatten().min()
    }

    /// Where the next call that begins is sent, where calls are sent on and it is not for this node.
    pub(crate) fn redirect(&self) -> Option<String> {
        self.sip.get(&self.machine.next_place()?).cloned()
    }

    /// Whether calls are sent on.
    pub(crate) fn redirects(&self) -> bool {
        !self.sip.is_empty()
    }

    /// It was sent there.
    pub(crate) fn sent(&mut self) {
        self.machine.sent();
    }

    /// Some of the calls whose state is to be told to who keeps it, where these have changed too.
    pub(crate) fn take_stale(&mut self, now: Mono, changed: impl IntoIterator<Item = CallId>) -> Vec<CallId> {
        let Some(custody) = &mut self.custody else { return Vec::new() };
        custody.changed(changed);
        custody.take_stale(now, |name| self.dialer.as_ref().is_none_or(|dialer| dialer.has_room(name)))
    }

    /// Whether a new call finds a record server.
    pub(crate) fn room(&self) -> Room {
        self.machine.room()
    }

    /// Each of them, for whoever watches.
    pub(crate) fn views(&self) -> Vec<PeerView> {
        self.machine.peers()
    }

    /// Reports that wait to be taken.
    pub(crate) fn waiting(&self) -> usize {
        self.local.as_ref().map_or(0, |local| local.reports.len())
    }

    /// Whether media wait for every disk that a call could go to.
    pub(crate) fn are_behind(&self) -> bool {
        // Where there are others, each says so of itself.
        !self.are_several() && self.local().is_some_and(Recorder::is_behind)
    }

    /// What they do now, in a line.
    pub(crate) fn summary(&self) -> String {
        let here = self.local().map(Recorder::summary);
        let views = if self.are_several() { self.views() } else { Vec::new() };
        let taking =
            views.iter().filter(|view| view.standing == PeerStanding::Says(Standing::Taking)).count();
        let all =
            (!views.is_empty()).then(|| format!("{taking} of {} record servers take calls", views.len()));
        [all, here].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Gives the orders that are to be given now; what follows for others.
    pub(crate) fn poll(&mut self, now: Now) -> Option<Outcome> {
        loop {
            match self.anchoring.as_mut().and_then(Anchoring::poll_step) {
                Some(AnchorStep::Order(order)) => self.machine.order(now, order),
                Some(AnchorStep::Report(report)) => return Some(Outcome::Report(report)),
                Some(AnchorStep::Unanswered(open)) => return Some(Outcome::Unanswered(open)),
                Some(AnchorStep::Copy(open)) => self.machine.copy(now, *open),
                Some(AnchorStep::EndCopy(segment, why)) => self.machine.end_copy(now, segment, why),
                None => {}
            }
            let Some(step) = self.machine.poll_step() else {
                return self.anchoring.as_mut()?.poll_alarm().map(Outcome::Alarm);
            };
            match step {
                Step::Send { to, order } => self.send(now, &to, order),
                Step::Probe(peer) => self.probe(now, &peer),
                Step::Drop(peer) => {
                    if let Some(dialer) = &mut self.dialer {
                        dialer.close(&peer);
                    }
                }
                Step::Report(report) => match &mut self.anchoring {
                    Some(anchoring) => anchoring.reported(now, report),
                    None => return Some(Outcome::Report(report)),
                },
                Step::Unanswered(open) => match &mut self.anchoring {
                    Some(anchoring) => anchoring.unanswered(open),
                    None => return Some(Outcome::Unanswered(open)),
                },
                Step::Copy(event) => {
                    if let Some(anchoring) = &mut self.anchoring {
                        anchoring.copy_changed(&event);
                    }
                }
                Step::Tell(tenant, kind) => return Some(Outcome::Tell(tenant, kind)),
                Step::Alarm(occurrence) => return Some(Outcome::Alarm(occurrence)),
            }
        }
    }

    fn send(&mut self, now: Now, to: &PeerName, order: Order) {
        match (&self.local, &mut self.dialer) {
            (Some(local), _) if local.name == *to => local.recorder.order(order),
            (_, Some(dialer)) => {
                let asks = asks_for_ports(&order);
                match dialer.send(to, &ToServer::Order(order)) {
                    Ok(()) => {}
                    // The link is over, which is told by it.
                    Err(NotSent::Down | NotSent::Full) => tracing::debug!(%to, "an order is not sent"),
                    Err(e @ NotSent::TooLarge) => {
                        tracing::error!(%to, "an order is not sent: {e}");
                        if let Some(segment) = asks {
                            let why = Failure::Resources(e.to_string());
                            let refused = PeerEvent::Report(Report::Refused { segment, why });
                            self.machine.handle_event(now, to, refused);
                        }
                    }
                }
            }
            (_, None) => tracing::error!(%to, "there is no such record server"),
        }
    }

    /// Tells a record server of whose a call is.
    pub(crate) fn tell(&mut self, to: &PeerName, said: ToKeeper) {
        if let Some(local) = self.local.as_ref().filter(|local| local.name == *to) {
            if local.tell.try_send(said).is_err()
                && let Some(custody) = &mut self.custody
            {
                custody.was_not_told(crate::clock::mono(), to);
            }
        } else if let Some(dialer) = &self.dialer
            && let Err(e) = dialer.send(to, &ToServer::Custody(said))
        {
            // A link that is over is told by its end, and made anew.
            tracing::debug!(%to, "a record server is not told of a call: {e}");
        }
    }

    fn probe(&mut self, now: Now, peer: &PeerName) {
        if self.local.as_ref().is_some_and(|local| local.name == *peer) {
            // What stands still in this process is seen by its supervisor.
            self.machine.handle_event(now, peer, PeerEvent::Alive);
        } else if let Some(dialer) = &mut self.dialer {
            let _ = dialer.send(peer, &ToServer::Probe);
        }
    }

    /// The front as it is to be for them.
    pub(crate) fn fit(&self, front: Front) -> Front {
        match &self.anchoring {
            Some(anchoring) => front.over_several().carried_on().with_copies(anchoring.copies()),
            None => front,
        }
    }
}

/// The segment of an order that is answered by ports, or refused.
fn asks_for_ports(order: &Order) -> Option<SegmentId> {
    match order {
        Order::Open(open) => Some(open.segment),
        Order::Change { segment, .. } => Some(*segment),
        _ => None,
    }
}

fn event(heard: Heard) -> PeerEvent {
    match heard {
        Heard::Up(hello) => PeerEvent::Up(hello),
        Heard::Beat(beat) => PeerEvent::Beat(beat),
        Heard::Report(report) => PeerEvent::Report(report),
        Heard::Alive | Heard::Custody(_) => PeerEvent::Alive,
        Heard::Closed(why) => PeerEvent::Closed(why),
    }
}

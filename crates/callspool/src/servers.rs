//! The record servers as the signalling task has them: the machine that knows which of them has which segment, the one
//! in this process, and the links to the others.
//!
//! ```text
//!  Front ──Order──► RecordServers ──Send──► the Recorder of this process
//!    ▲                │      ▲         └──► a link to another node
//!    └────Report──────┘      └── what comes from either
//! ```
//!
//! Orders never wait: what a link cannot take closes it, and its record server is taken for gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use call::{Front, PeerEvent, PeerStanding, PeerView, RecordServers, Room, ServersConfig, Step};
use model::{
    Beat, ChangeKind, Failure, Hello, Mono, Now, Occurrence, OpenSegment, Order, PeerName, Report, SegmentId,
    Standing, TenantId,
};
use peers::{Dialer, Heard, NotSent, ToServer};
use tokio::sync::mpsc;

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
}

/// What came from one of them.
pub(crate) enum Came {
    Report(Report),
    Beat(Beat),
    There(PeerName, Heard),
}

/// See the module.
pub(crate) struct Servers {
    machine: RecordServers,
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
        Self { machine, local: Some(local), dialer: None, unlinked: BTreeMap::new(), sip: BTreeMap::new() }
    }

    /// Several: those that are dialed, and the one in this process if it has one.
    pub(crate) fn several(
        config: ServersConfig,
        peers: Vec<PeerName>,
        dialer: Dialer,
        local: Option<(Local, Hello)>,
        now: Now,
    ) -> Self {
        let own = local.as_ref().map(|(local, _)| local.name.clone());
        let mut machine = RecordServers::new(config, peers.into_iter().chain(own));
        let local = local.map(|(local, hello)| {
            machine.handle_event(now, &local.name, PeerEvent::Up(hello));
            local
        });
        Self { machine, local, dialer: Some(dialer), unlinked: BTreeMap::new(), sip: BTreeMap::new() }
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
                self.machine.handle_event(now, &local.name, PeerEvent::Report(report));
            }
            (Came::Beat(beat), Some(local)) => {
                self.machine.handle_event(now, &local.name, PeerEvent::Beat(beat));
            }
            (Came::There(name, heard), _) => {
                self.note(&name, &heard);
                self.machine.handle_event(now, &name, event(heard));
            }
            (Came::Report(_) | Came::Beat(_), None) => {}
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
        self.machine.order(now, order);
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.machine.handle_timeout(now);
    }

    /// When that should be called.
    pub(crate) fn next_timeout(&self) -> Option<Mono> {
        self.machine.next_timeout()
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
            match self.machine.poll_step()? {
                Step::Send { to, order } => self.send(now, &to, order),
                Step::Probe(peer) => self.probe(now, &peer),
                Step::Drop(peer) => {
                    if let Some(dialer) = &mut self.dialer {
                        dialer.close(&peer);
                    }
                }
                Step::Report(report) => return Some(Outcome::Report(report)),
                Step::Unanswered(open) => return Some(Outcome::Unanswered(open)),
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
        if self.are_several() { front.over_several() } else { front }
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
        Heard::Alive => PeerEvent::Alive,
        Heard::Closed(why) => PeerEvent::Closed(why),
    }
}

//! Which record server has which segment.
//!
//! [`Front`](crate::Front) orders from one abstract record server. This chooses one of those that there are for each
//! segment, passes orders on and gives reports back, and notices who is gone. What becomes of the segments of one that is
//! gone it turns into reports that `Front` knows.
//!
//! ```text
//!  Front ──Order──► RecordServers ──Send──► the link of a record server
//!    ▲                 │     ▲
//!    └─Report,─────────┘     └── Up, Beat, Report, Alive, Closed
//!      Unanswered
//! ```
//!
//! Where there is one record server only, in this process, everything passes through, and nothing is kept or timed.
//!
//! It opens no connection and reads no clock; it knows nothing of SIP, and of media only what orders and reports say.

mod adopting;
mod calls;
mod copies;
mod ending;
mod gone;
mod held;
mod opening;
mod peer;
mod reports;
mod several;

use std::collections::VecDeque;
use std::time::Duration;

use model::{
    Beat, ChangeKind, EndReason, Hello, Mono, Now, Occurrence, OpenSegment, Order, PeerName, Report,
    SegmentId, Standing, StreamPorts, TenantId,
};

use self::several::Several;

/// What it needs to know.
#[derive(Debug, Clone)]
pub struct ServersConfig {
    /// Who is told what concerns no single call.
    pub tenant: TenantId,
    /// How often record servers say how they are.
    pub beat: Duration,
    /// How long a call may go on that is concluded.
    pub remembered: Duration,
}

/// What comes of a record server.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerEvent {
    /// There is a link to it, and it has said who it is.
    Up(Hello),
    /// How it is.
    Beat(Beat),
    /// It reports of a segment.
    Report(Report),
    /// It said anything else, such as the answer to a probe.
    Alive,
    /// The link is closed, because of this.
    Closed(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Give this order to a record server.
    Send {
        /// Which.
        to: PeerName,
        /// What.
        order: Order,
    },
    /// Ask a record server whether it is there.
    Probe(PeerName),
    /// Close the link of a record server: it is taken to be gone.
    Drop(PeerName),
    /// A report for `Front`.
    Report(Report),
    /// For `Front`: nobody said in time whether this is opened, and it is not waited for any more.
    Unanswered(Box<OpenSegment>),
    /// What becomes of the second copy of a segment.
    Copy(CopyEvent),
    /// A change for the catalog.
    Tell(TenantId, ChangeKind),
    /// Something that a person should know.
    Alarm(Occurrence),
}

/// What becomes of the second copy of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum CopyEvent {
    /// It is recorded there, or has other streams there.
    Opened {
        /// The segment.
        segment: SegmentId,
        /// Its ports.
        ports: Vec<StreamPorts>,
    },
    /// There is none any more.
    Lost {
        /// The segment.
        segment: SegmentId,
    },
    /// The first one is lost, and this is the segment from now on.
    Moved {
        /// The segment.
        segment: SegmentId,
    },
}

/// Whether record servers take new calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// At least one does.
    Free,
    /// All that there are can be reached, and none does.
    Full,
    /// None that can be reached does; whoever reaches others may be luckier.
    Unreachable,
}

/// How a record server is, as seen from here.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerView {
    /// Its name.
    pub name: PeerName,
    /// Whether it gets calls.
    pub standing: PeerStanding,
    /// Segments that it has, or is to have.
    pub segments: usize,
}

/// Whether a record server gets calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerStanding {
    /// There is no link to it.
    Away,
    /// There is, and it has not said yet how it is.
    Awaited,
    /// It did not answer an order in time, and has answered none since.
    Suspected,
    /// As it says itself.
    Says(Standing),
}

/// See the module.
#[derive(Debug)]
pub struct RecordServers {
    servers: Servers,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
enum Servers {
    /// One, in this process.
    Alone(PeerName),
    Several(Box<Several>),
}

impl RecordServers {
    /// One record server, in this process.
    #[must_use]
    pub fn alone(name: PeerName) -> Self {
        Self { servers: Servers::Alone(name), steps: VecDeque::new() }
    }

    /// These record servers, each of which is away until it is up.
    #[must_use]
    pub fn new(config: ServersConfig, peers: impl IntoIterator<Item = PeerName>) -> Self {
        Self { servers: Servers::Several(Box::new(Several::new(config, peers))), steps: VecDeque::new() }
    }

    fn several(&self) -> Option<&Several> {
        match &self.servers {
            Servers::Alone(_) => None,
            Servers::Several(several) => Some(several.as_ref()),
        }
    }

    fn several_mut(&mut self) -> Option<&mut Several> {
        match &mut self.servers {
            Servers::Alone(_) => None,
            Servers::Several(several) => Some(several.as_mut()),
        }
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        match &mut self.servers {
            Servers::Alone(_) => self.steps.pop_front(),
            Servers::Several(several) => several.poll_step(),
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        match &self.servers {
            Servers::Alone(_) => None,
            Servers::Several(several) => several.next_timeout(),
        }
    }

    /// Time passed. Whoever calls late gives what came meanwhile afterwards: nobody is taken to be gone for what lies unread.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Servers::Several(several) = &mut self.servers {
            several.handle_timeout(now);
        }
    }

    /// Something came of a record server.
    pub fn handle_event(&mut self, now: Now, peer: &PeerName, event: PeerEvent) {
        match (&mut self.servers, event) {
            (Servers::Several(several), event) => several.handle_event(now, peer, event),
            (Servers::Alone(_), PeerEvent::Report(report)) => self.steps.push_back(Step::Report(report)),
            (Servers::Alone(_), _) => {}
        }
    }

    /// `Front` orders.
    pub fn order(&mut self, now: Now, order: Order) {
        match &mut self.servers {
            Servers::Alone(name) => self.steps.push_back(Step::Send { to: name.clone(), order }),
            Servers::Several(several) => several.order(now, order),
        }
    }

    /// Who gets the next call that begins, if somebody does: it stays so until a record server says something else, or
    /// [`Self::sent`].
    #[must_use]
    pub fn next_place(&self) -> Option<PeerName> {
        match &self.servers {
            Servers::Alone(name) => Some(name.clone()),
            Servers::Several(several) => several.next_place(),
        }
    }

    /// The next call was sent to whoever was to get it.
    pub fn sent(&mut self) {
        if let Servers::Several(several) = &mut self.servers {
            several.sent();
        }
    }

    /// A segment that is live is to have a second copy, at another record server. Where there is one only, it has none.
    pub fn copy(&mut self, now: Now, order: OpenSegment) {
        if let Servers::Several(several) = &mut self.servers {
            several.copy(now, order);
        }
    }

    /// It need not have one any more, for this reason.
    pub fn end_copy(&mut self, now: Now, segment: SegmentId, why: EndReason) {
        if let Servers::Several(several) = &mut self.servers {
            several.lose_copy(now, segment, why);
        }
    }

    /// Whether there is room for new calls.
    #[must_use]
    pub fn room(&self) -> Room {
        match &self.servers {
            Servers::Alone(_) => Room::Free,
            Servers::Several(several) => several.room(),
        }
    }

    /// How each record server is, by name. One that is alone is not watched.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerView> {
        match &self.servers {
            Servers::Alone(_) => Vec::new(),
            Servers::Several(several) => several.views(),
        }
    }

    /// Segments and calls that are remembered, and orders that wait for a record server to return.
    #[must_use]
    pub fn remembered(&self) -> usize {
        match &self.servers {
            Servers::Alone(_) => 0,
            Servers::Several(several) => several.remembered(),
        }
    }
}

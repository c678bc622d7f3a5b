//! The side that dials: a link to each peer, made again whenever it ends.
//!
//! ```text
//!  owner ──send──► queue ──► HTTP/2 ──► peer
//!    ▲                                   │
//!    └── heard ◄── one bounded channel ◄─┘   one task for each peer
//! ```
//!
//! [`Dialer`] has one owner and no locks. A link is the owner's from when it takes its `Up` out, until it takes its
//! `Closed` out or closes it: so an order never goes by a link of which its owner does not know yet, and nothing is
//! heard of one that it has given up. What was in a queue when its link ended is lost; whoever ordered knows what
//! was not answered.

mod attempt;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::Ordering;

use model::custody::FromKeeper;
use model::{Beat, Hello, PeerName, Report};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::credentials::Credentials;
use crate::messages::Skipped;
use crate::queue::{NotSent, Queue};
use crate::wire::ToServer;
use attempt::Peer;

/// What was heard and is not taken out: two seconds of beats of fifty peers. Beyond it links wait, and TCP pushes back.
const HEARD_MAX: usize = 1_024;

/// What a peer says, or what became of its link.
#[derive(Clone, PartialEq, Debug)]
pub enum Heard {
    /// There is a link, and this is who it is with.
    Up(Hello),
    /// How it is.
    Beat(Beat),
    /// What it reports.
    Report(Report),
    /// Of whose a call is.
    Custody(FromKeeper),
    /// It is there: it has answered a probe, or said something that means nothing here.
    Alive,
    /// There is no link: it ended, or an attempt to make one failed, and why. Another attempt follows by itself.
    Closed(String),
}

/// Dials peers, and holds links with them.
#[derive(Debug)]
pub struct Dialer {
    links: BTreeMap<PeerName, OwnLink>,
    heard: mpsc::Receiver<Event>,
    skipped: Skipped,
    /// Ends with it.
    _tasks: JoinSet<()>,
}

/// What was counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DialerCounts {
    /// Messages that were not understood.
    pub skipped: u64,
}

/// A link that the owner knows of.
struct OwnLink {
    number: u64,
    queue: Queue,
}

impl std::fmt::Debug for OwnLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OwnLink").field(&self.number).finish()
    }
}

/// What the task of a peer tells.
struct Event {
    peer: PeerName,
    /// Which of its links, counted from 1.
    link: u64,
    what: What,
}

enum What {
    Up(Hello, Queue),
    Heard(Heard),
}

impl Dialer {
    /// Begins to dial: each peer with the host and port where it listens. Within a runtime of tokio.
    #[must_use]
    pub fn start(own: Credentials, peers: Vec<(PeerName, String)>) -> Self {
        let (tell, heard) = mpsc::channel(HEARD_MAX);
        let skipped = Skipped::default();
        let mut tasks = JoinSet::new();
        for (name, address) in peers {
            let (own, skipped, tell) = (own.clone(), Skipped::clone(&skipped), tell.clone());
            tasks.spawn(Peer { name, address, own, skipped, tell }.keep());
        }
        Self { links: BTreeMap::new(), heard, skipped, _tasks: tasks }
    }

    /// The next thing that was heard. Cancel safe; without peers it waits for ever.
    pub async fn heard(&mut self) -> (PeerName, Heard) {
        loop {
            let Some(Event { peer, link, what }) = self.heard.recv().await else { return pending().await };
            if let Some(heard) = self.take(&peer, link, what) {
                return (peer, heard);
            }
        }
    }

    /// Sends, or says why not. It never waits: a link for which too much waits already is closed.
    pub fn send(&self, to: &PeerName, message: &ToServer) -> Result<(), NotSent> {
        let link = self.links.get(to).ok_or(NotSent::Down)?;
        let frame = message.frame().map_err(|_| NotSent::TooLarge)?;
        link.queue.push(frame)
    }

    /// Whether so little waits for a link that what is not urgent may be sent too. So it is where there is none.
    #[must_use]
    pub fn has_room(&self, to: &PeerName) -> bool {
        self.links.get(to).is_none_or(|link| link.queue.has_room())
    }

    /// Ends the link of a peer, if it has one. Of what it said only `Closed` is heard any more.
    pub fn close(&mut self, peer: &PeerName) {
        if let Some(link) = self.links.remove(peer) {
            link.queue.close("it was given up here");
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> DialerCounts {
        DialerCounts { skipped: self.skipped.load(Ordering::Relaxed) }
    }

    fn take(&mut self, peer: &PeerName, number: u64, what: What) -> Option<Heard> {
        let is_own = self.links.get(peer).is_some_and(|link| link.number == number);
        match what {
            What::Up(hello, queue) => {
                self.links.insert(peer.clone(), OwnLink { number, queue });
                Some(Heard::Up(hello))
            }
            What::Heard(heard @ Heard::Closed(_)) => {
                if is_own {
                    self.links.remove(peer);
                }
                Some(heard)
            }
            What::Heard(heard) => is_own.then_some(heard),
        }
    }
}

//! The side that listens: takes links from nodes that have proved who they are, as many as its limits say.
//!
//! ```text
//!  accept ──► TLS, HTTP/2, version ──► link ──came──► one bounded channel ──► owner
//!             (a deadline for all)       ▲                                      │
//!                                        └────────── queue ◄── send ────────────┘
//! ```
//!
//! Each node has one link: a newer one takes the place of an older, whose other end may be gone without a word. What
//! strangers try costs a place among the handshakes until the deadline at most, and is counted.

mod copies;
mod door;
mod link;

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::custody::ToKeeper;
use model::{Order, PeerName};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::counts::{Counts, ListenerCounts, Refused};
use crate::credentials::Credentials;
use crate::queue::{NotSent, Queue};
use crate::wire::FromServer;
pub use copies::{Inquiries, Inquiry};
use door::Door;

/// From the connection until a link is asked for: a round trip or three, and some milliseconds of cryptography.
const GREETING: Duration = Duration::from_secs(2);
/// What came and is not taken out. Beyond it links wait, and TCP pushes back.
const CAME_MAX: usize = 1_024;
/// Until the next try when the system accepts nothing: it has no descriptor left, and will not have one at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Nodes with a link.
    pub links: usize,
    /// Connections on which none is asked for yet.
    pub handshakes: usize,
    /// How long such a one may take.
    pub greeting: Duration,
}

impl Default for Limits {
    /// As many proxies as no cluster has; and all of them at once, after a network was away.
    fn default() -> Self {
        Self { links: 64, handshakes: 64, greeting: GREETING }
    }
}

/// Which link: no other of this process has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct LinkId(u64);

/// What comes by a link, or what became of it.
#[derive(Debug)]
pub enum Came {
    /// It is there. The other side waits two seconds for [`FromServer::Hello`], which goes first.
    Up(Link),
    /// An order.
    Order(Order),
    /// It asks whether somebody is there. Whoever carries out orders answers by [`FromServer::Probed`].
    Probe,
    /// Of whose a call is.
    Custody(ToKeeper),
    /// It is gone, and why.
    Closed(String),
}

/// A link, for whoever has something to say by it.
#[derive(Clone)]
pub struct Link(Queue);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// Sends, or says why not. It never waits: a link for which too much waits already is closed.
    pub fn send(&self, message: &FromServer) -> Result<(), NotSent> {
        self.0.push(message.frame().map_err(|_| NotSent::TooLarge)?)
    }

    /// Ends it. [`Came::Closed`] follows, with the reason.
    pub fn close(&self, why: &str) {
        self.0.close(why);
    }
}

/// Listens, and holds links.
pub struct Listener {
    address: SocketAddr,
    came: mpsc::Receiver<Event>,
    /// The link of each node, as far as the owner knows.
    current: BTreeMap<PeerName, LinkId>,
    /// What is to be told next: two things at most.
    told: VecDeque<(LinkId, PeerName, Came)>,
    counts: Arc<Counts>,
    /// Ends with it.
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What the task of a link tells.
pub(crate) struct Event {
    link: LinkId,
    peer: PeerName,
    came: Came,
}

impl Listener {
    /// Begins to listen.
    pub async fn bind(address: SocketAddr, own: Credentials, limits: Limits) -> io::Result<Self> {
        Self::bind_with(address, own, limits, None).await
    }

    /// The same, and other record servers may ask for what is held here.
    pub async fn bind_with(
        address: SocketAddr,
        own: Credentials,
        limits: Limits,
        inquiries: Option<Inquiries>,
    ) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        let (tell, came) = mpsc::channel(CAME_MAX);
        let counts = Arc::new(Counts::default());
        let door = Arc::new(Door::new(own, limits, Arc::clone(&counts), tell, inquiries));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(socket, door, limits));
        Ok(Self { address, came, current: BTreeMap::new(), told: VecDeque::new(), counts, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The next thing that came. Cancel safe.
    pub async fn came(&mut self) -> (LinkId, PeerName, Came) {
        loop {
            if let Some(next) = self.told.pop_front() {
                return next;
            }
            match self.came.recv().await {
                Some(event) => self.take(event),
                None => return pending().await,
            }
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> ListenerCounts {
        self.counts.read()
    }

    /// Of a link whose place another has taken nothing is told after its `Closed`, which comes before the other's `Up`.
    fn take(&mut self, event: Event) {
        let Event { link, peer, came } = event;
        let is_current = self.current.get(&peer) == Some(&link);
        match &came {
            Came::Up(_) => {
                if let Some(older) = self.current.insert(peer.clone(), link) {
                    let closed = Came::Closed(door::REPLACED.to_owned());
                    self.told.push_back((older, peer.clone(), closed));
                }
            }
            _ if !is_current => return,
            Came::Closed(_) => {
                self.current.remove(&peer);
            }
            Came::Order(_) | Came::Probe | Came::Custody(_) => {}
        }
        self.told.push_back((link, peer, came));
    }
}

/// Accepts for ever. The tasks of all connections end with this one.
async fn accept(socket: TcpListener, door: Arc<Door>, limits: Limits) {
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, from)) = socket.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        match Arc::clone(&handshakes).try_acquire_owned() {
            Ok(place) => {
                connections.spawn(Arc::clone(&door).serve(stream, from.ip(), place));
            }
            Err(_) => {
                let why = format!("{} connections are being greeted already", limits.handshakes);
                door.counts.refuse(Refused::Limits, from.ip(), &why);
            }
        }
    }
}

//! The side that asks other record servers for what they hold: each question is an exchange of its own.
//!
//! ```text
//!  owner ──ask──► queue ──► POST /peer/v1/copies ──► peer        one task and one connection for each peer,
//!    ▲                                                │          some exchanges at a time
//!    └── told ◄── one bounded channel ◄───────────────┘
//! ```
//!
//! Nobody waits to ask. A question is answered once or not at all; whoever asked knows for how long an answer is worth
//! something, and asks again, as each may be asked twice. A connection is made again whenever it ends, and is seen to end
//! by itself where the other side says nothing any more. What is asked for and what an answer means is decided elsewhere.
//!
//! Others of the same process may ask by the same connections: [`Questions`] answers each of them itself.

mod peer;
mod questions;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use model::{Answer, NodeNumber, PeerName, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::credentials::Credentials;
use crate::roster::Roster;
use peer::Peer;
use questions::Board;
pub use questions::{Away, PeerStands, Questions};

/// Questions that wait for a peer: one for each call that a node may have in mind, and more. At some 300 octets they are
/// some megabytes. What is beyond is asked again by whoever asked.
const ASKS_MAX: usize = 16_384;
/// Answers that are not taken out, each of a megabyte at most. Beyond it exchanges wait, and TCP pushes back.
const TOLD_MAX: usize = 16;
/// What was asked so long ago is asked again by whoever asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What a peer answers, or what became of the way to it.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// It can be asked.
    Up {
        /// Which.
        name: PeerName,
        /// The number that it has.
        node: NodeNumber,
    },
    /// It cannot: its connection ended, or an attempt to make one failed, and why. Another attempt follows by itself.
    Down {
        /// Which.
        name: PeerName,
        /// The number that it had, if it could be asked before.
        node: Option<NodeNumber>,
        /// Why, for people.
        why: String,
    },
    /// It answers.
    Answered {
        /// Which.
        from: NodeNumber,
        /// What the question was called.
        ticket: u64,
        /// What.
        answer: Answer,
    },
    /// It was asked, and there is no answer.
    Unanswered {
        /// Which.
        from: NodeNumber,
        /// What the question was called.
        ticket: u64,
        /// Why, for people.
        why: String,
    },
}

/// Asks peers.
#[derive(Debug)]
pub struct Asker {
    ways: Arc<BTreeMap<PeerName, mpsc::Sender<Ask>>>,
    board: Board,
    up: BTreeMap<NodeNumber, PeerName>,
    told: mpsc::Receiver<Told>,
    /// Ends with it.
    _tasks: JoinSet<()>,
}

/// A question.
#[derive(Debug)]
struct Ask {
    request: Request,
    at: Instant,
    asked_by: AskedBy,
}

/// Who is to be answered.
#[derive(Debug)]
enum AskedBy {
    /// The owner of the asker, by this ticket.
    Owner(u64),
    /// Somebody who waits for this answer alone.
    Waiting(oneshot::Sender<Result<Answer, String>>),
}

impl Asker {
    /// Begins to dial: each peer with the host and port where it listens. Within a runtime of tokio.
    #[must_use]
    pub fn start(own: Credentials, roster: Roster, peers: Vec<(PeerName, String)>) -> Self {
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let mut tasks = JoinSet::new();
        let mut ways = BTreeMap::new();
        let board = Board::new(peers.iter().map(|(name, _)| name.clone()));
        for (name, address) in peers {
            let (way, asks) = mpsc::channel(ASKS_MAX);
            ways.insert(name.clone(), way);
            let (own, roster, tell, board) = (own.clone(), roster.clone(), tell.clone(), board.clone());
            tasks.spawn(Peer { name, address, own, roster, asks, tell, board }.keep());
        }
        Self { ways: Arc::new(ways), board, up: BTreeMap::new(), told, _tasks: tasks }
    }

    /// For others who ask by the same connections, as long as this is there and what is told is taken out.
    #[must_use]
    pub fn questions(&self) -> Questions {
        Questions::new(Arc::clone(&self.ways), self.board.clone())
    }

    /// The next thing that is told. Cancel safe; without peers it waits for ever.
    pub async fn told(&mut self) -> Told {
        let Some(told) = self.told.recv().await else { return pending().await };
        match &told {
            Told::Up { name, node } => _ = self.up.insert(*node, name.clone()),
            Told::Down { node: Some(node), .. } => _ = self.up.remove(node),
            Told::Down { .. } | Told::Answered { .. } | Told::Unanswered { .. } => {}
        }
        told
    }

    /// Asks a peer. It never waits. Who is not up is not asked.
    pub fn ask(&self, to: NodeNumber, ticket: u64, request: Request) {
        let way = self.up.get(&to).and_then(|name| self.ways.get(name));
        if let Some(way) = way {
            // Where too much waits already it is asked again later.
            let _ = way.try_send(Ask { request, at: Instant::now(), asked_by: AskedBy::Owner(ticket) });
        }
    }
}

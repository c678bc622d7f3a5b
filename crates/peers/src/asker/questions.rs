//! Asking for one answer and waiting for it, beside the owner of the asker and by the same connections; and how peers
//! stand, for whoever has to say why one cannot be asked.
//!
//! A peer has one connection of this node by which is asked: a second one would take the place of the first, so all who
//! ask share it. A question is answered once, or it is told in words why not, at the latest when the answer is worth
//! nothing any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use model::{Answer, NodeNumber, PeerName, Request};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::{ANSWER_WITHIN, Ask, AskedBy, Told};

/// How long a question may take with all that it waits for: an exchange has its own deadline, and before it others may be
/// under way.
const ASKED_WITHIN: Duration = ANSWER_WITHIN.saturating_mul(2);

/// Asks peers and waits for each answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Questions {
    ways: Arc<BTreeMap<PeerName, mpsc::Sender<Ask>>>,
    board: Board,
}

/// How a peer stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStands {
    /// Which.
    pub name: PeerName,
    /// The number that it said last; none while it never said one.
    pub node: Option<NodeNumber>,
    /// Why it cannot be asked; none while it can.
    pub away: Option<Away>,
}

/// That a peer cannot be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Away {
    /// Why, as the last attempt said it, for people.
    pub why: String,
    /// Since when; of one that was never reached, since this process began to try.
    pub since: SystemTime,
}

impl Questions {
    pub(super) const fn new(ways: Arc<BTreeMap<PeerName, mpsc::Sender<Ask>>>, board: Board) -> Self {
        Self { ways, board }
    }

    /// Asks a peer.
    ///
    /// # Errors
    /// When there is no answer, with why, for people.
    pub async fn ask(&self, to: &PeerName, request: Request) -> Result<Answer, String> {
        let way = self.ways.get(to).ok_or_else(|| "it is not known here".to_owned())?;
        let (answer, answered) = oneshot::channel();
        let ask = Ask { request, at: Instant::now(), asked_by: AskedBy::Waiting(answer) };
        way.try_send(ask).map_err(|_| "too much is asked of it already".to_owned())?;
        match timeout(ASKED_WITHIN, answered).await {
            Ok(Ok(answered)) => answered,
            // It was left in the queue: the connection went, or others were before it for too long.
            Ok(Err(_)) => Err("it cannot be reached at the moment".to_owned()),
            Err(_) => Err(format!("it does not answer within {} s", ASKED_WITHIN.as_secs())),
        }
    }

    /// How all peers stand.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStands> {
        self.board.notes().peers.values().cloned().collect()
    }

    /// Another number whenever a peer came or went: what was asked before may be otherwise now.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.board.notes().changes
    }
}

/// What is known of peers; all who have it see the same.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Mutex<Notes>>);

#[derive(Debug)]
struct Notes {
    peers: BTreeMap<PeerName, PeerStands>,
    changes: u64,
}

impl Board {
    pub(super) fn new(names: impl Iterator<Item = PeerName>) -> Self {
        let away = Away { why: "it was not reached yet".to_owned(), since: SystemTime::now() };
        let stands =
            |name: PeerName| (name.clone(), PeerStands { name, node: None, away: Some(away.clone()) });
        Self(Arc::new(Mutex::new(Notes { peers: names.map(stands).collect(), changes: 0 })))
    }

    /// Takes in what is told of a peer.
    pub(super) fn note(&self, told: &Told) {
        let mut notes = self.notes();
        let (name, now) = match told {
            Told::Up { name, node } => (name, Ok(*node)),
            Told::Down { name, why, .. } => (name, Err(why)),
            Told::Answered { .. } | Told::Unanswered { .. } => return,
        };
        let Some(stands) = notes.peers.get_mut(name) else { return };
        let was_up = stands.away.is_none();
        match now {
            Ok(node) => (stands.node, stands.away) = (Some(node), None),
            // Attempts follow one another: it is away since the first of them.
            Err(why) => {
                let since = stands.away.as_ref().map_or_else(SystemTime::now, |away| away.since);
                stands.away = Some(Away { why: why.clone(), since });
            }
        }
        let is_up = stands.away.is_none();
        if was_up != is_up {
            notes.changes += 1;
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_away_since_it_went_whatever_attempts_say_afterwards() {
        let name: PeerName = "rec1".parse().unwrap();
        let node = NodeNumber::new(1).unwrap();
        let board = Board::new(std::iter::once(name.clone()));
        let stands = || board.notes().peers[&name].clone();
        assert!(stands().away.is_some_and(|away| away.why.contains("not reached")));
        board.note(&Told::Up { name: name.clone(), node });
        assert_eq!((stands().node, stands().away, board.notes().changes), (Some(node), None, 1));
        let down = |why: &str| Told::Down { name: name.clone(), node: None, why: why.to_owned() };
        board.note(&down("it ended the connection"));
        let first = stands().away.unwrap();
        board.note(&down("connection refused"));
        let second = stands().away.unwrap();
        assert_eq!((second.since, second.why.as_str()), (first.since, "connection refused"));
        assert_eq!((stands().node, board.notes().changes), (Some(node), 2));
    }
}

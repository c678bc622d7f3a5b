//! What other record servers ask for: each question is an exchange of its own, by a connection on which nothing else is
//! asked for.
//!
//! Who asks is known by name from its certificate, and says its number, which is believed as long as it
//! [stays the same](crate::Roster). Whoever answers has a channel of its own and answers when it likes, within a deadline;
//! what was asked and who answers never wait for each other here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use model::{Answer, NodeNumber, PeerName};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::LinkId;
use super::door::{Asked, Door, Refusal, Said, Visit};
use crate::body::collect;
use crate::counts::Refused;
use crate::roster::Roster;
use crate::tasks::TasksOfLink;
use crate::version::{NODE, TAKEN, number_in};
use crate::wire::copies;

/// Questions at a time from all nodes: each and its answer have some megabytes at most.
const AT_ONCE: usize = 32;
/// How long a question may take to come as a whole.
const COMES_WITHIN: Duration = Duration::from_secs(5);
/// How long its answer may take: who asked waits no longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A question of another node.
#[derive(Debug)]
pub struct Inquiry {
    /// Who asks, by its certificate.
    pub name: PeerName,
    /// The number that it has.
    pub from: NodeNumber,
    /// What.
    pub request: model::Request,
    /// Where the answer goes. Without one the other side is told that there is none.
    pub answer: oneshot::Sender<Answer>,
}

/// Who answers questions.
#[derive(Clone, Debug)]
pub struct Inquiries {
    roster: Roster,
    tell: mpsc::Sender<Inquiry>,
    places: Arc<Semaphore>,
}

impl Inquiries {
    /// Has them told there.
    #[must_use]
    pub fn new(roster: Roster, tell: mpsc::Sender<Inquiry>) -> Self {
        Self { roster, tell, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// A place among the connections by which is asked. It is free again when this is dropped.
pub(super) struct CopiesPlace {
    door: Arc<Door>,
    peer: PeerName,
    number: LinkId,
    /// Ends when a newer connection of the same node takes its place.
    pub(super) replaced: oneshot::Receiver<()>,
}

impl Drop for CopiesPlace {
    fn drop(&mut self) {
        let mut askers = self.door.askers();
        if askers.get(&self.peer).is_some_and(|(number, _)| *number == self.number) {
            askers.remove(&self.peer);
        }
    }
}

impl Door {
    /// Takes a place for a node, if there is one; an older connection of the same node makes room.
    fn place_of_asker(self: &Arc<Self>, peer: &PeerName) -> Option<CopiesPlace> {
        let mut askers = self.askers();
        if askers.len() >= self.limits.links && !askers.contains_key(peer) {
            return None;
        }
        let (lasts, replaced) = oneshot::channel();
        let number = self.next_id();
        askers.insert(peer.clone(), (number, lasts));
        Some(CopiesPlace { door: Arc::clone(self), peer: peer.clone(), number, replaced })
    }
}

/// Holds a connection by which is asked, until it ends or another takes its place.
pub(super) async fn hold(mut place: CopiesPlace, over: oneshot::Receiver<()>, tasks: TasksOfLink) {
    tokio::select! {
        _ = over => {}
        _ = &mut place.replaced => {}
    }
    drop((tasks, place));
}

impl Visit {
    /// What is answered to a question.
    pub(super) async fn inquire(&self, request: Request<Incoming>) -> Result<Response<Said>, Refusal> {
        let refuse = |status, what, why: &str| Err(Refusal { status, what, why: why.to_owned() });
        let Some(inquiries) = &self.door.inquiries else {
            return refuse(StatusCode::NOT_FOUND, Refused::Handshake, "this node answers no questions");
        };
        let version = self.version(&request)?;
        let Some(from) = request.headers().get(NODE).and_then(number_in) else {
            let why = format!("the header {NODE} is missing, or is no number of a node");
            return refuse(StatusCode::BAD_REQUEST, Refused::Handshake, &why);
        };
        if let Err(why) = inquiries.roster.says(&self.peer, from) {
            return refuse(StatusCode::CONFLICT, Refused::Handshake, &why);
        }
        self.begin_asking()?;
        let octets = match *request.method() {
            // Who is there?
            Method::GET => Bytes::new(),
            Method::POST => self.ask(inquiries, from, request.into_body()).await?,
            _ => {
                let why = "there are only GET and POST here";
                return refuse(StatusCode::METHOD_NOT_ALLOWED, Refused::Handshake, why);
            }
        };
        let mut response = Response::new(Said::Sentence(Some(octets)));
        response.headers_mut().insert(TAKEN, version.into());
        response.headers_mut().insert(NODE, inquiries.roster.own().get().into());
        Ok(response)
    }

    /// The first question makes the connection one for questions.
    fn begin_asking(&self) -> Result<(), Refusal> {
        if !self.begins(super::door::Kind::Copies)? {
            return Ok(());
        }
        let Some(place) = self.door.place_of_asker(&self.peer) else {
            let why = format!("{} nodes ask here, and no more may", self.door.limits.links);
            return Err(Refusal { status: StatusCode::SERVICE_UNAVAILABLE, what: Refused::Limits, why });
        };
        // Whoever waits for it is there as long as the connection is.
        let _ = self.ask.try_send(Ok(Asked::Copies(place)));
        Ok(())
    }

    async fn ask(&self, inquiries: &Inquiries, from: NodeNumber, body: Incoming) -> Result<Bytes, Refusal> {
        let refuse = |status, why: String| Err(Refusal { status, what: Refused::Limits, why });
        let Ok(_place) = inquiries.places.try_acquire() else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "as much is asked as may be".to_owned());
        };
        let came = timeout(COMES_WITHIN, collect(body, copies::REQUEST_MAX)).await;
        let octets = came.unwrap_or_else(|_| Err("the question does not come".to_owned()));
        let request = match octets.and_then(|octets| copies::read_request(&octets)) {
            Ok(request) => request,
            Err(why) => return refuse(StatusCode::BAD_REQUEST, why),
        };
        let (answer, answered) = oneshot::channel();
        let inquiry = Inquiry { name: self.peer.clone(), from, request, answer };
        if inquiries.tell.try_send(inquiry).is_err() {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "nobody answers at the moment".to_owned());
        }
        match timeout(ANSWERED_WITHIN, answered).await {
            Ok(Ok(answer)) => {
                copies::answer(&answer).or_else(|why| refuse(StatusCode::INTERNAL_SERVER_ERROR, why))
            }
            Ok(Err(_)) => refuse(StatusCode::SERVICE_UNAVAILABLE, "there is no answer".to_owned()),
            Err(_) => refuse(StatusCode::GATEWAY_TIMEOUT, "there is no answer in time".to_owned()),
        }
    }
}

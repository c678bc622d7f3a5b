//! One peer that is asked: [reached](reach), greeted, asked; and again, with longer and longer pauses, when that ends.

use std::convert::Infallible;
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Answer, NodeNumber, PeerName};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{ANSWER_WITHIN, Ask, AskedBy, Board, Told};
use crate::COPIES_PATH;
use crate::body::{Whole, collect};
use crate::credentials::Credentials;
use crate::messages::{HEADERS_MAX, refusal};
use crate::reach::{self, GREETING, PAUSE_MAX, PAUSE_MIN};
use crate::roster::Roster;
use crate::tasks::{Tasks, TasksOfLink};
use crate::trouble::{Trouble, Watched};
use crate::version::{NODE, OFFERED, OURS, TAKEN, number_in};
use crate::wire::copies;

/// Exchanges at a time: as many as the other side takes by one connection.
const AT_ONCE: usize = 8;
/// Octets that may be under way to us: an answer, so that a range takes no more round trips than it must.
const WINDOW: u32 = 1 << 20;
/// How often the other side is asked whether it is there (RFC 9113 section 6.7): nothing else shows it while nothing is
/// asked.
const PING_EVERY: Duration = Duration::from_secs(2);
/// How long it may take to say so.
const PONG_WITHIN: Duration = Duration::from_secs(4);

/// A peer, for the task that asks it.
pub(super) struct Peer {
    pub(super) name: PeerName,
    pub(super) address: String,
    pub(super) own: Credentials,
    pub(super) roster: Roster,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) tell: mpsc::Sender<Told>,
    pub(super) board: Board,
}

/// A connection to a peer that has said who it is.
struct Greeted {
    node: NodeNumber,
    way: Way,
    trouble: Trouble,
    /// Ends with the connection.
    over: oneshot::Receiver<Infallible>,
    _tasks: TasksOfLink,
}

/// How it is asked.
#[derive(Clone)]
struct Way {
    requests: SendRequest<Whole>,
    name: PeerName,
    own: NodeNumber,
}

impl Peer {
    /// Has it asked until nobody listens any more.
    pub(super) async fn keep(mut self) {
        let mut pause = PAUSE_MIN;
        loop {
            let (node, why) = match self.greet().await {
                Err(why) => (None, why),
                Ok(greeted) => {
                    let (node, began) = (greeted.node, Instant::now());
                    let why = self.serve(greeted).await;
                    if began.elapsed() > PAUSE_MAX {
                        pause = PAUSE_MIN;
                    }
                    (Some(node), why)
                }
            };
            if self.tell(Told::Down { name: self.name.clone(), node, why }).await.is_err() {
                return;
            }
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
            // What was asked before it went is asked again when it is there.
            while self.asks.try_recv().is_ok() {}
        }
    }

    async fn tell(&self, told: Told) -> Result<(), String> {
        self.board.note(&told);
        self.tell.send(told).await.map_err(|_| "nobody listens here any more".to_owned())
    }

    async fn greet(&self) -> Result<Greeted, String> {
        let slow = |why| self.tell(Told::Down { name: self.name.clone(), node: None, why });
        let stream = reach::connect(&self.address, slow).await?;
        let greeted = timeout(GREETING, Box::pin(self.greet_over(stream))).await;
        greeted.unwrap_or_else(|_| {
            Err(format!("it took the connection and did not say who it is within {} s", GREETING.as_secs()))
        })
    }

    async fn greet_over(&self, stream: TcpStream) -> Result<Greeted, String> {
        let (stream, trouble) = Watched::new(reach::secure(stream, &self.own, &self.name).await?);
        let tasks = Tasks::default();
        let of_link = TasksOfLink(tasks.clone());
        let (requests, connection) = http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADERS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| trouble.or(&error))?;
        let (lasts, over) = oneshot::channel();
        tasks.execute(async move {
            let _ = connection.await;
            drop(lasts);
        });
        let mut way = Way { requests, name: self.name.clone(), own: self.roster.own() };
        let response = way.send(Method::GET, Whole::new(&[][..])).await?;
        let node = response.headers().get(NODE).and_then(number_in);
        let node = node.ok_or_else(|| "it does not say which number it has".to_owned())?;
        self.roster.says(&self.name, node)?;
        Ok(Greeted { node, way, trouble, over, _tasks: of_link })
    }

    /// Passes questions on until the connection ends, and says why it did.
    async fn serve(&mut self, greeted: Greeted) -> String {
        let Greeted { node, way, trouble, mut over, _tasks } = greeted;
        if let Err(why) = self.tell(Told::Up { name: self.name.clone(), node }).await {
            return why;
        }
        let mut exchanges = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = &mut over => {
                    return trouble.get().unwrap_or_else(|| "it ended the connection".to_owned());
                }
                Some(_) = exchanges.join_next(), if !exchanges.is_empty() => {}
                ask = self.asks.recv(), if exchanges.len() < AT_ONCE => match ask {
                    Some(ask) if ask.at.elapsed() >= ANSWER_WITHIN => {}
                    Some(ask) => _ = exchanges.spawn(exchange(way.clone(), node, ask, self.tell.clone())),
                    None => return "nobody asks any more".to_owned(),
                },
            }
        }
    }
}

/// One question, and its answer.
async fn exchange(mut way: Way, from: NodeNumber, ask: Ask, tell: mpsc::Sender<Told>) {
    let Ask { request, asked_by, .. } = ask;
    let answered = timeout(ANSWER_WITHIN, Box::pin(way.answer(&request))).await;
    let answered =
        answered.unwrap_or_else(|_| Err(format!("it does not answer within {} s", ANSWER_WITHIN.as_secs())));
    // Nobody may listen any more.
    match (asked_by, answered) {
        (AskedBy::Waiting(waiting), answered) => _ = waiting.send(answered),
        (AskedBy::Owner(ticket), Ok(answer)) => _ = tell.send(Told::Answered { from, ticket, answer }).await,
        (AskedBy::Owner(ticket), Err(why)) => _ = tell.send(Told::Unanswered { from, ticket, why }).await,
    }
}

impl Way {
    async fn answer(&mut self, request: &model::Request) -> Result<Answer, String> {
        let response = self.send(Method::POST, Whole::new(copies::request(request)?)).await?;
        copies::read_answer(&collect(response.into_body(), copies::ANSWER_MAX).await?)
    }

    /// An answer that is one.
    async fn send(&mut self, method: Method, body: Whole) -> Result<Response<Incoming>, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{COPIES_PATH}", self.name))
            .header(OFFERED, OURS.to_string())
            .header(NODE, self.own.get())
            .body(body)
            .map_err(|error| error.to_string())?;
        let response = self.requests.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        if status != StatusCode::OK {
            let why = refusal(response.into_body()).await;
            return Err(format!("it refuses to be asked ({}): {why}", status.as_u16()));
        }
        let version =
            response.headers().get(TAKEN).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        if !version.is_some_and(|version| OURS.contains(version)) {
            let why = "it answers by a version of the protocol that is not spoken here: upgrade one of both";
            return Err(why.to_owned());
        }
        Ok(response)
    }
}

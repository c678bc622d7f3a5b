//! One peer: [reached](reach), greeted, listened to; and again, with longer and longer pauses, when that ends.

use std::convert::Infallible;

use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use model::{Hello, PeerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Event, Heard, What};
use crate::PATH;
use crate::credentials::Credentials;
use crate::messages::{HEADERS_MAX, Messages, Next, Skipped, WINDOW, refusal};
use crate::queue::{Outgoing, Queue, queue};
use crate::reach::{self, GREETING, PAUSE_MAX, PAUSE_MIN};
use crate::tasks::{Tasks, TasksOfLink};
use crate::trouble::Watched;
use crate::version::{OFFERED, OURS, TAKEN};
use crate::wire::FromServer;

/// A peer, for the task that holds its link.
pub(super) struct Peer {
    pub(super) name: PeerName,
    pub(super) address: String,
    pub(super) own: Credentials,
    pub(super) skipped: Skipped,
    pub(super) tell: mpsc::Sender<Event>,
}

/// A link with a peer that has said who it is.
struct Greeted {
    hello: Hello,
    queue: Queue,
    messages: Messages,
    /// The link ends with them.
    _requests: SendRequest<Outgoing>,
    _tasks: TasksOfLink,
}

impl Peer {
    /// Holds a link with it until nobody listens any more.
    pub(super) async fn keep(self) {
        let mut pause = PAUSE_MIN;
        for link in 1.. {
            let why = match self.greet(link).await {
                Err(why) => why,
                Ok(greeted) => {
                    let began = Instant::now();
                    let why = self.listen(link, greeted).await;
                    if began.elapsed() > PAUSE_MAX {
                        pause = PAUSE_MIN;
                    }
                    why
                }
            };
            if self.tell(link, What::Heard(Heard::Closed(why))).await.is_err() {
                return;
            }
            sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    async fn tell(&self, link: u64, what: What) -> Result<(), String> {
        let event = Event { peer: self.name.clone(), link, what };
        self.tell.send(event).await.map_err(|_| "nobody listens here any more".to_owned())
    }

    async fn greet(&self, link: u64) -> Result<Greeted, String> {
        let slow = |why| self.tell(link, What::Heard(Heard::Closed(why)));
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
        let (mut requests, connection) = http2::Builder::new(tasks.clone())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| trouble.or(&error))?;
        tasks.execute(connection);
        let (queue, outgoing) = queue();
        let request = Request::post(format!("https://{}{PATH}", self.name))
            .header(OFFERED, OURS.to_string())
            .body(outgoing)
            .map_err(|error| error.to_string())?;
        let response = requests.send_request(request).await.map_err(|error| trouble.or(&error))?;
        let mut messages = Messages::new(accepted(response).await?, trouble, Skipped::clone(&self.skipped));
        let hello = self.hello(&mut messages).await?;
        Ok(Greeted { hello, queue, messages, _requests: requests, _tasks: of_link })
    }

    /// Who it says that it is. Its certificate has proved it; this shows whether both were told the same.
    async fn hello(&self, messages: &mut Messages) -> Result<Hello, String> {
        loop {
            match messages.next(FromServer::read).await? {
                Next::Message(FromServer::Hello(hello)) if hello.name == self.name => return Ok(hello),
                Next::Message(FromServer::Hello(hello)) => {
                    return Err(format!(
                        "it calls itself {}: is the address right, and the name?",
                        hello.name
                    ));
                }
                Next::Message(_) => return Err("it speaks before it has said who it is".to_owned()),
                Next::NotUnderstood => {}
                Next::End => return Err("it ended the link before it had said who it is".to_owned()),
            }
        }
    }

    /// Hands on what it says until the link ends, and says why it did.
    async fn listen(&self, link: u64, greeted: Greeted) -> String {
        let Greeted { hello, queue, messages, _requests, _tasks } = greeted;
        let up = What::Up(hello, queue.clone());
        let why = tokio::select! {
            biased;
            why = queue.closed() => why,
            Err(why) = self.hand_on(link, up, messages) => why,
        };
        queue.close(&why);
        why
    }

    async fn hand_on(&self, link: u64, up: What, mut messages: Messages) -> Result<Infallible, String> {
        self.tell(link, up).await?;
        loop {
            let heard = match messages.next(FromServer::read).await? {
                Next::Message(FromServer::Beat(beat)) => Heard::Beat(beat),
                Next::Message(FromServer::Report(report)) => Heard::Report(report),
                Next::Message(FromServer::Custody(said)) => Heard::Custody(said),
                Next::Message(FromServer::Probed | FromServer::Hello(_)) | Next::NotUnderstood => {
                    Heard::Alive
                }
                Next::End => return Err("it ended the link".to_owned()),
            };
            self.tell(link, What::Heard(heard)).await?;
        }
    }
}

/// The body of an answer that takes the link.
async fn accepted(response: Response<Incoming>) -> Result<Incoming, String> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("it refuses the link ({}): {}", head.status.as_u16(), refusal(body).await));
    }
    let version = head.headers.get(TAKEN).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    match version {
        Some(version) if OURS.contains(version) => Ok(body),
        _ => {
            Err("it answers by a version of the protocol that is not spoken here: upgrade one of both"
                .to_owned())
        }
    }
}

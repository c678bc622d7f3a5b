//! One peer: looked up, connected to, greeted, listened to; and again, with longer and longer pauses, when that ends.
//!
//! Each step has its deadline. What it is called is looked up at each attempt; a look-up that does not end is waited
//! for, as its thread would be there all the same, and told of meanwhile.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper::rt::Executor;
use hyper::{Request, Response, StatusCode, body::Incoming};
use hyper_util::rt::TokioIo;
use model::{Hello, PeerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{Event, Heard, What};
use crate::PATH;
use crate::authority::server_name;
use crate::credentials::Credentials;
use crate::messages::{HEADERS_MAX, Messages, Next, Skipped, WINDOW, refusal};
use crate::queue::{Outgoing, Queue, queue};
use crate::socket;
use crate::tasks::{Tasks, TasksOfLink};
use crate::trouble::{Watched, of_io};
use crate::version::{OFFERED, OURS, TAKEN};
use crate::wire::FromServer;

/// For a connection by TCP, to each address: nodes of a cluster are some milliseconds apart.
const CONNECT: Duration = Duration::from_secs(1);
/// From there until it has said who it is: a node that is just starting is busy.
const GREETING: Duration = Duration::from_secs(2);
/// The first pause between attempts: a node that was started again is missed for no longer than it needs to start.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest one. A link that lasted longer was one: the next pause is the first again.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Addresses that a name has: two families, two networks.
const ADDRESSES_MAX: usize = 4;

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
        let stream = self.connect(link).await?;
        let greeted = timeout(GREETING, Box::pin(self.greet_over(stream))).await;
        greeted.unwrap_or_else(|_| {
            Err(format!("it took the connection and did not say who it is within {} s", GREETING.as_secs()))
        })
    }

    async fn connect(&self, link: u64) -> Result<TcpStream, String> {
        let mut why = format!("{} has no address", self.address);
        for address in self.look_up(link).await?.into_iter().take(ADDRESSES_MAX) {
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => why = format!("{address}: {error}"),
                Err(_) => why = format!("{address} does not answer within {} s", CONNECT.as_secs()),
            }
        }
        Err(why)
    }

    async fn look_up(&self, link: u64) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.address.parse() {
            return Ok(vec![address]);
        }
        let mut looking = Box::pin(tokio::net::lookup_host(self.address.as_str()));
        let found = match timeout(CONNECT, &mut looking).await {
            Ok(found) => found,
            Err(_) => {
                let why = format!("{} is still being looked up: do the name servers answer?", self.address);
                self.tell(link, What::Heard(Heard::Closed(why))).await?;
                looking.await
            }
        };
        Ok(found.map_err(|error| format!("{}: {error}", self.address))?.collect())
    }

    async fn greet_over(&self, stream: TcpStream) -> Result<Greeted, String> {
        socket::prepare(&stream).map_err(|error| of_io(&error))?;
        let expected = server_name(&self.name)
            .ok_or_else(|| format!("'{}' cannot be in a certificate: give it another name", self.name))?;
        let stream = TlsConnector::from(self.own.client()).connect(expected, stream).await;
        let (stream, trouble) = Watched::new(stream.map_err(|error| of_io(&error))?);
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

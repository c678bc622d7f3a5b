//! The HTTP server: connections with limits of number and time, so that clients that are slow, silent or many cost
//! little. What is answered is `api`'s.
//!
//! ```text
//!  accept ──► has its source too many? ──yes──► closed at once
//!                │ no
//!                ▼
//!             place free? ──no──► whoever waits longest without a request leaves; nobody does: closed at once
//!                │ yes
//!                ▼
//!  head within 30 s ──► does its source ask too often? ──yes──► 429, and closed when that goes on
//!                │ no
//!                ▼
//!             api (answers begin within 15 s) ──► each write within 60 s
//! ```

mod seats;
mod sources;

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};

use seats::{Seat, Seats};
pub(crate) use sources::{PerSource, Refused};
use sources::{Presence, Sources};

use crate::net::Rate;

/// Connections at once: some people with a page open (browsers take six each), programs, and a proxy before it. Each
/// takes a descriptor and some 20 kB; for what is beyond, one that has no request goes.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send the head of its request, or keep a connection without a next one.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what waits to be sent: a player that is paused comes again where it stopped.
const STALLED: Duration = Duration::from_secs(60);
/// Octets of a request's head: long searches and cookies fit.
const HEAD_OCTETS_MAX: usize = 64 << 10;
/// How long nothing is accepted when descriptors have run out: accepting would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that was told to go may take to do so, while others wait to be accepted.
const LEAVES: Duration = Duration::from_millis(100);

/// What clients may have.
#[derive(Clone, Debug)]
pub(crate) struct HttpLimits {
    /// Connections at once.
    connections: usize,
    /// Of which one source may have so many.
    per_source: PerSource,
    /// How long a client may take nothing of what waits to be sent.
    stalled: Duration,
}

impl HttpLimits {
    pub(crate) const fn new(per_source: PerSource) -> Self {
        Self { connections: CONNECTIONS_MAX, per_source, stalled: STALLED }
    }
}

/// Serves until told to stop; then what is being answered is answered, and connections close.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    limits: HttpLimits,
    refused: Arc<Refused>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let seats = Arc::new(Seats::default());
    let sources = Sources::new(limits.per_source, Arc::clone(&refused));
    let stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|s| *s) => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "no connection to the page can be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(presence) = sources.enter(remote.ip()) else {
            tracing::debug!(%remote, "its source has as many connections to the page as it may; another is closed");
            continue;
        };
        match place(&places, &seats).await {
            Some(place) => {
                let (app, stop, seat) = (app.clone(), stopping.clone(), seats.take());
                let stream = Patient::new(stream, limits.stalled);
                tokio::spawn(async move {
                    let _place = place;
                    attend(stream, app, seat, presence, stop).await;
                });
            }
            None => {
                refused.connections.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("{} connections to the page are open; another is closed", limits.connections);
            }
        }
    }
}

/// A free place; when there is none, that of whoever has been without a request for the longest: who only holds
/// connections open must not keep out who asks for something.
async fn place(places: &Arc<Semaphore>, seats: &Seats) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Some(place);
    }
    if !seats.dismiss() {
        return None;
    }
    timeout(LEAVES, Arc::clone(places).acquire_owned()).await.ok()?.ok()
}

/// One connection.
async fn attend(
    stream: Patient<TcpStream>,
    app: Router,
    seat: Seat,
    presence: Presence,
    mut stop: watch::Receiver<bool>,
) {
    // Answers are written whole; waiting for more to fill a segment would only delay events.
    let _ = stream.stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_OCTETS_MAX);
    let io = TokioIo::new(stream);
    let app = TowerToHyperService::new(app);
    let service = service_fn(|request| {
        let busy = seat.busy();
        let rate = presence.asks();
        let answer = (rate == Rate::Within).then(|| app.call(request));
        async move {
            let response = match answer {
                Some(answer) => answer.await?,
                None => {
                    let mut refusal = api::too_many_requests();
                    if rate == Rate::Flood {
                        refusal.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                    }
                    refusal
                }
            };
            Ok::<_, Infallible>(response.map(|body| busy.until_end_of(body)))
        }
    });
    let mut connection = std::pin::pin!(server.serve_connection(io, service));
    let stopped = async {
        let _ = stop.wait_for(|s| *s).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = seat.dismissed() => {
            tracing::debug!("a connection to the page without a request makes place for another");
            return;
        }
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the page ended");
    }
}

/// A stream whose writes fail when the other side takes nothing for too long.
struct Patient<S> {
    stream: S,
    /// Runs while a write waits.
    stalled: Pin<Box<Sleep>>,
    waits: Waits,
    patience: Duration,
}

/// Whether a write waits for room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    Yes,
    No,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, stalled: Box::pin(sleep(patience)), waits: Waits::No, patience }
    }

    /// The outcome of a write, or an error when it has been waiting for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = Waits::No;
            return written;
        }
        if self.waits == Waits::No {
            self.waits = Waits::Yes;
            let end = Instant::now() + self.patience;
            self.stalled.as_mut().reset(end);
        }
        ready!(self.stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Nothing on loopback takes this long.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server of these answers, and where it is.
    async fn serving(app: Router, limits: HttpLimits) -> (std::net::SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(serve(listener, app, limits, Arc::default(), stopping));
        (address, stop)
    }

    async fn asks(address: std::net::SocketAddr, requests: usize) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(requests);
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// Whoever listens to something without end and reads nothing has a place as long as all of it fits on the way,
    /// and `stalled` longer; then it is given back, and with it what the route had taken.
    #[tokio::test]
    async fn the_place_of_who_never_reads_is_given_back() {
        let taken = Arc::new(());
        let of_route = Arc::clone(&taken);
        let endless = axum::routing::get(move || {
            let held = Arc::clone(&of_route);
            let piece = |held: Arc<()>| async move {
                tokio::task::yield_now().await;
                Some((Ok::<_, Infallible>(vec![b' '; 64 << 10]), held))
            };
            std::future::ready(axum::body::Body::from_stream(futures_util::stream::unfold(held, piece)))
        });
        let limits =
            HttpLimits { stalled: Duration::from_millis(200), ..HttpLimits::new(PerSource::default()) };
        let (address, _stop) = serving(Router::new().route("/", endless), limits).await;
        let before = Arc::strong_count(&taken);
        let _client = asks(address, 1).await;
        let until = async |is_held: bool| {
            while (Arc::strong_count(&taken) > before) != is_held {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, until(true)).await.expect("it is served");
        timeout(PATIENCE, until(false)).await.expect("it is given up");
    }

    #[tokio::test]
    async fn who_asks_too_often_is_told_so_and_then_closed() {
        let app = Router::new().route("/", axum::routing::get(|| std::future::ready("here")));
        let per_source = PerSource { requests: 2, ..PerSource::default() };
        let (address, _stop) = serving(app, HttpLimits::new(per_source)).await;
        let mut client = asks(address, 40).await;
        let mut text = String::new();
        timeout(PATIENCE, client.read_to_string(&mut text)).await.expect("an end").unwrap();
        let of = |status: &str| text.matches(&format!("HTTP/1.1 {status} ")).count();
        let (served, refused) = (of("200"), of("429"));
        assert!((4..=6).contains(&served) && (5..=8).contains(&refused), "{served} {refused} {text}");
        assert!(text.contains("retry-after: ") && text.contains("/problems/too-many-requests"), "{text}");
    }

    #[tokio::test]
    async fn who_has_too_many_connections_gets_no_more_until_one_is_closed() {
        let app = Router::new().route("/", axum::routing::get(|| std::future::ready("here")));
        let per_source = PerSource { connections: 2, ..PerSource::default() };
        let (address, _stop) = serving(app, HttpLimits::new(per_source)).await;
        let mut octet = [0];
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = asks(address, 1).await;
            client.read_exact(&mut octet).await.unwrap();
            clients.push(client);
        }
        // It may be closed before or after it has asked.
        let mut third = TcpStream::connect(address).await.unwrap();
        assert!(!matches!(timeout(PATIENCE, third.read(&mut octet)).await, Err(_) | Ok(Ok(1))));
        clients.pop();
        timeout(PATIENCE, async {
            loop {
                let mut again = TcpStream::connect(address).await.unwrap();
                let _ = again.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
                if matches!(again.read(&mut octet).await, Ok(1)) {
                    return;
                }
            }
        })
        .await
        .expect("a place again");
    }

    #[tokio::test]
    async fn who_takes_nothing_for_too_long_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let written = Patient::new(ours, Duration::from_millis(20)).write_all(&[0; 64]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_something_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let reader = tokio::spawn(async move {
            for _ in 0..4 {
                sleep(Duration::from_millis(5)).await;
                theirs.read_exact(&mut [0; 16]).await.unwrap();
            }
        });
        Patient::new(ours, Duration::from_secs(60)).write_all(&[0; 64]).await.unwrap();
        reader.await.unwrap();
    }
}

//! The HTTP server: connections with limits of number and time, so that clients that are slow, silent or many cost
//! little. What is answered is `api`'s.
//!
//! ```text
//!  accept ──► place free? ──no──► whoever waits longest without a request leaves; nobody does: closed at once
//!                │ yes
//!                ▼
//!  head within 30 s ──► api (answers begin within 15 s) ──► each write within 60 s
//! ```

mod seats;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};

use seats::{Seat, Seats};

/// Connections at once: some people with a page open (browsers take six each), programs, and a proxy before it. Each
/// takes a descriptor and some 20 kB; for what is beyond, one that has no request goes.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// How long a client may take to send the head of its request, or keep a connection without a next one.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent: a player that is paused comes again where it stopped.
const STALLED: Duration = Duration::from_secs(60);
/// Octets of a request's head: long searches and cookies fit.
const HEAD_OCTETS_MAX: usize = 64 << 10;
/// How long nothing is accepted when descriptors have run out: accepting would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that was told to go may take to do so, while others wait to be accepted.
const LEAVES: Duration = Duration::from_millis(100);

/// Serves until told to stop; then what is being answered is answered, and connections close.
pub(crate) async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let seats = Arc::new(Seats::default());
    let stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|s| *s) => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "no connection to the page can be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        match place(&places, &seats).await {
            Some(place) => {
                let (app, stop, seat) = (app.clone(), stopping.clone(), seats.take());
                tokio::spawn(async move {
                    let _place = place;
                    attend(stream, app, seat, stop).await;
                });
            }
            None => {
                tracing::debug!("{CONNECTIONS_MAX} connections to the page are open; another is closed")
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
async fn attend(stream: TcpStream, app: Router, seat: Seat, mut stop: watch::Receiver<bool>) {
    // Answers are written whole; waiting for more to fill a segment would only delay events.
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_OCTETS_MAX);
    let io = TokioIo::new(Patient::new(stream, STALLED));
    let app = TowerToHyperService::new(app);
    let service = service_fn(|request| {
        let busy = seat.busy();
        let answer = app.call(request);
        async move { answer.await.map(|response| response.map(|body| busy.until_end_of(body))) }
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

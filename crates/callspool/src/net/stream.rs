//! SIP over a byte stream: TCP, or what is inside TLS (RFC 3261 section 18.3).
//!
//! Nothing that arrives gets an answer here but the keep-alive of RFC 5626 section 3.5.1.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use sip::Framer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{timeout, timeout_at};

use super::config::NetLimits;
use super::connection::{CloseReason, Inbox, Patience, Pongs, Serving};
use super::connections::TaskEvent;

/// Read at a time. It lies on the stack while it is looked at: an idle connection holds no buffer.
const CHUNK: usize = 16 << 10;

/// Reads and writes until either ends.
pub(super) async fn serve<R, W>(reading: R, writing: W, serving: Serving) -> CloseReason
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let Serving { flow, opened, inbox, events, limits } = serving;
    let patience = Patience::new(opened, limits.idle);
    let pongs = inbox.pongs();
    let read = async {
        let (mut reading, mut framer, mut patience) = (reading, Framer::new(), patience);
        loop {
            let messages = match next(&mut reading, &mut framer, &mut patience, &pongs, &limits).await {
                Ok(messages) => messages,
                Err(why) => return why,
            };
            for message in messages {
                if events.send(TaskEvent::Message { flow, message: Box::new(message) }).await.is_err() {
                    return CloseReason::Local;
                }
            }
        }
    };
    tokio::select! {
        why = read => why,
        why = write(writing, inbox, &limits) => why,
    }
}

async fn write<W: AsyncWrite + Unpin>(mut half: W, mut inbox: Inbox, limits: &NetLimits) -> CloseReason {
    while let Some(bytes) = inbox.next().await {
        let whole = async {
            half.write_all(&bytes).await?;
            half.flush().await
        };
        match timeout(limits.write, whole).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return CloseReason::Peer,
            Err(_) => return CloseReason::NotReading,
        }
        inbox.written(bytes.len());
    }
    let _ = timeout(limits.write, half.shutdown()).await;
    CloseReason::Local
}

/// The messages that the next bytes complete.
async fn next<R: AsyncRead + Unpin>(
    half: &mut R,
    framer: &mut Framer,
    patience: &mut Patience,
    pongs: &Pongs,
    limits: &NetLimits,
) -> Result<Vec<sip::Message>, CloseReason> {
    let (deadline, too_late) = patience.deadline(limits);
    let read = std::future::poll_fn(|cx| poll_chunk(Pin::new(half), framer, cx));
    let messages = timeout_at(deadline, read).await.map_err(|_| too_late)??;
    pongs.answer(framer.take_pongs()).map_err(|_| CloseReason::NotReading)?;
    patience.heard(messages.len(), framer.pending());
    Ok(messages)
}

fn poll_chunk<R: AsyncRead>(
    half: Pin<&mut R>,
    framer: &mut Framer,
    cx: &mut Context<'_>,
) -> Poll<Result<Vec<sip::Message>, CloseReason>> {
    let mut memory = [0; CHUNK];
    let mut buffer = ReadBuf::new(&mut memory);
    if ready!(half.poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
        return Poll::Ready(Err(CloseReason::Peer));
    }
    Poll::Ready(framer.push(buffer.filled()).map_err(|_| CloseReason::Framing))
}

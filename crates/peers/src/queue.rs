//! What waits to be sent by a link: bounded, and nobody waits for it.
//!
//! Whoever has something to say puts it in and goes on; HTTP/2 takes it out as fast as the other side reads. A link
//! whose other side does not read is closed when too much waits: what it should have heard is told to whoever made
//! the link, by the end of it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{Notify, mpsc};

use crate::buffer::Buffer;

/// Octets that wait for a link, at most: the orders of some thousand calls, which is more than begin in the time in
/// which a record server that says nothing is taken for gone.
const OCTETS_MAX: usize = 8 << 20;
/// What may wait where there is still room for what is not urgent: the rest is for orders.
const ROOM: usize = OCTETS_MAX / 4;
/// What a message takes beside its octets, in round figures, so that many small ones are bounded too.
const MESSAGE_COST: usize = 64;

/// Why something was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotSent {
    /// There is no link at the moment.
    #[error("there is no link")]
    Down,
    /// Too much waited for the link already; it is closed.
    #[error("the other side takes messages too slowly, and the link is closed")]
    Full,
    /// The message is longer than one may be; the link is as it was.
    #[error("the message is longer than {} octets", crate::frames::MESSAGE_MAX)]
    TooLarge,
}

/// One end of it: for whoever has something to say.
#[derive(Clone)]
pub(crate) struct Queue {
    frames: mpsc::UnboundedSender<Bytes>,
    state: Arc<State>,
}

/// The other one: what HTTP/2 sends as a body.
pub(crate) struct Outgoing {
    frames: mpsc::UnboundedReceiver<Bytes>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// What waits.
    octets: AtomicUsize,
    /// Why the link is closed, once it is.
    closed: OnceLock<String>,
    /// For the one task that has the link.
    closing: Notify,
}

/// A new one, with nothing in it.
pub(crate) fn queue() -> (Queue, Outgoing) {
    let state = Arc::new(State::default());
    let (sender, receiver) = mpsc::unbounded_channel();
    (Queue { frames: sender, state: Arc::clone(&state) }, Outgoing { frames: receiver, state })
}

impl Queue {
    /// Puts a message in, or closes the link when too much waits.
    pub(crate) fn push(&self, frame: Buffer) -> Result<(), NotSent> {
        if self.state.closed.get().is_some() {
            return Err(NotSent::Down);
        }
        let cost = frame.len() + MESSAGE_COST;
        let waiting = self.state.octets.fetch_add(cost, Ordering::Relaxed);
        if waiting + cost > OCTETS_MAX {
            self.close(&format!("it takes messages too slowly: {} MiB wait for it", OCTETS_MAX >> 20));
            return Err(NotSent::Full);
        }
        self.frames.send(Bytes::from_owner(frame)).map_err(|_| NotSent::Down)
    }

    /// Whether little waits.
    pub(crate) fn has_room(&self) -> bool {
        self.state.octets.load(Ordering::Relaxed) < ROOM
    }

    /// Ends the link. The first reason is the one that is told.
    pub(crate) fn close(&self, why: &str) {
        if self.state.closed.set(why.to_owned()).is_ok() {
            self.state.closing.notify_one();
        }
    }

    /// Why, once it is closed. For the one task that has the link.
    pub(crate) async fn closed(&self) -> String {
        loop {
            if let Some(why) = self.state.closed.get() {
                return why.clone();
            }
            self.state.closing.notified().await;
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|frame| {
            let frame = frame?;
            self.state.octets.fetch_sub(frame.len() + MESSAGE_COST, Ordering::Relaxed);
            Some(Ok(Frame::data(frame)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(octets: usize) -> Buffer {
        let mut buffer = Buffer::new(octets);
        assert!(buffer.append(&vec![7; octets]));
        buffer
    }

    fn taken(outgoing: &mut Outgoing) -> Option<usize> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(outgoing).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok().map(|data| data.len()),
            _ => None,
        }
    }

    #[test]
    fn what_was_put_in_comes_out_in_order() {
        let (queue, mut outgoing) = queue();
        for octets in [1, 2, 3] {
            queue.push(message(octets)).unwrap();
        }
        assert_eq!(std::array::from_fn(|_| taken(&mut outgoing)), [Some(1), Some(2), Some(3), None]);
    }

    #[tokio::test]
    async fn too_much_closes_it_and_what_was_taken_out_makes_room() {
        let (queue, mut outgoing) = queue();
        let large = OCTETS_MAX / 2 - MESSAGE_COST;
        for _ in 0..3 {
            queue.push(message(large)).unwrap();
            queue.push(message(large)).unwrap();
            assert_eq!([taken(&mut outgoing), taken(&mut outgoing)], [Some(large); 2]);
        }
        queue.push(message(large)).unwrap();
        queue.push(message(large)).unwrap();
        assert_eq!(queue.push(message(1)), Err(NotSent::Full));
        assert_eq!(queue.push(message(1)), Err(NotSent::Down));
        queue.close("another reason");
        assert!(queue.closed().await.contains("too slowly"));
    }

    #[test]
    fn many_small_ones_are_bounded_too() {
        let (queue, _outgoing) = queue();
        let put = (0..OCTETS_MAX).take_while(|_| queue.push(message(1)).is_ok()).count();
        assert_eq!(put, OCTETS_MAX / (MESSAGE_COST + 1));
    }
}

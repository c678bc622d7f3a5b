//! Which connections have a request and which only wait, so that those can go when there is no place.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;

/// All connections that wait for a request, who began first at the front.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_turn: BTreeMap<u64, Arc<Notify>>,
}

/// The seat of one connection. It is given back when this goes.
#[derive(Debug)]
pub(super) struct Seat(Arc<Sitting>);

#[derive(Debug)]
struct Sitting {
    seats: Arc<Seats>,
    dismissed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Its place among those that wait.
    Waits(u64),
    /// A request is answered.
    Busy,
    /// The connection is no more.
    Gone,
}

/// A request is being answered as long as this lives.
#[derive(Debug)]
pub(super) struct Busy(Arc<Sitting>);

impl Seats {
    /// For a new connection, which waits.
    pub(super) fn take(self: &Arc<Self>) -> Seat {
        let dismissed = Arc::new(Notify::new());
        let sitting = Sitting { seats: Arc::clone(self), dismissed, state: Mutex::new(State::Busy) };
        sitting.wait();
        Seat(Arc::new(sitting))
    }

    /// Tells whoever waits longest to go; false when nobody waits.
    pub(super) fn dismiss(&self) -> bool {
        let first = self.lock().by_turn.pop_first();
        first.map(|(_, dismissed)| dismissed.notify_one()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// A request has come.
    pub(super) fn busy(&self) -> Busy {
        self.0.leave(State::Busy);
        Busy(Arc::clone(&self.0))
    }

    /// Waits until it is told to go.
    pub(super) async fn dismissed(&self) {
        self.0.dismissed.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.leave(State::Gone);
    }
}

impl Sitting {
    /// Goes to the end of those that wait, unless it is gone.
    fn wait(&self) {
        let mut state = self.state();
        if matches!(*state, State::Busy) {
            let mut waiting = self.seats.lock();
            let turn = waiting.next;
            waiting.next += 1;
            waiting.by_turn.insert(turn, Arc::clone(&self.dismissed));
            *state = State::Waits(turn);
        }
    }

    /// Waits no more.
    fn leave(&self, next: State) {
        let mut state = self.state();
        if let State::Waits(turn) = *state {
            self.seats.lock().by_turn.remove(&turn);
        }
        *state = next;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Busy {
    /// It is answered when this body has been handed over.
    pub(super) fn until_end_of(self, body: Body) -> Answer {
        Answer { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// The body of an answer, which keeps its connection busy.
pub(super) struct Answer {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(seats: &Seats) -> usize {
        seats.lock().by_turn.len()
    }

    #[tokio::test]
    async fn who_waits_longest_goes_first_and_who_is_answered_stays() {
        let seats = Arc::new(Seats::default());
        let [first, second, third] = [(); 3].map(|()| seats.take());
        let busy = first.busy();
        assert!(seats.dismiss());
        second.dismissed().await;
        // The first waits again, behind the third.
        drop(busy.until_end_of(Body::empty()));
        assert!(seats.dismiss());
        third.dismissed().await;
        assert_eq!(waiting(&seats), 1);
        drop(first);
        assert!(!seats.dismiss(), "nobody is left");
    }

    #[test]
    fn a_connection_that_ends_in_an_answer_is_forgotten() {
        let seats = Arc::new(Seats::default());
        let seat = seats.take();
        let busy = seat.busy();
        drop(seat);
        drop(busy);
        assert_eq!(waiting(&seats), 0);
        assert!(!seats.dismiss());
    }
}

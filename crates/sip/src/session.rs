//! An INVITE session (RFC 3261 sections 13 to 15, 3311, 4028), on either side.
//!
//! ```text
//!            INVITE                    accept                ACK
//!   (server) ──────► Invited ─────────────────────► Established ⇄ an exchange of offer and answer:
//!                      │ refuse, CANCEL                 │  ▲       Answering, Offering, Acking, Glare
//!                      ▼                                │  │ 2xx
//!                     over ◄── BYE, time-outs ──────────┤  │
//!                      ▲                                │  │
//!   (client) Calling ──┴── refused, cancelled           └──┼──► Closing ─► over (our BYE)
//!               └──────────────────────────────────────────┘
//! ```
//!
//! Beside the state stand what may overlap with it: our 2xx that waits for its ACK, one request of the peer that
//! waits its turn, an offer and a BYE of ours that wait for theirs. The session never sees bytes of the network
//! nor a flow's life; it holds no message longer than an answer needs it.

mod client;
mod portrait;
mod refresh;
mod reliable;
mod repeat;
mod send;
mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Mono, Now};
use sipx_sip::{Method, Request, Response};

pub(crate) use self::client::Call;
pub(crate) use self::refresh::negotiate;
use self::refresh::{Refresh, Terms};
use self::reliable::Provisional;
use self::repeat::Proving;
pub(crate) use self::server::Invitation;
use crate::core::Core;
use crate::dialog::Dialog;
use crate::event::{Body, EndCause, Event, SessionId};
use crate::flow::{Destination, Flow};
use crate::gate::Pass;
use crate::request::{Part, RequestInfo};
use crate::timers::{Deadline, SessionTimer, TxId};

/// 64 × T1 (RFC 3261): how long a 2xx waits for its ACK, and an offer of the peer for our user's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(32);
/// Timer C is over 3 minutes: proxies on the way give up then, so nobody waits longer for our user.
const INVITED_WAIT: Duration = Duration::from_secs(180);
/// What people let ring at most; beyond it the INVITE is cancelled.
const CALLING_WAIT: Duration = Duration::from_secs(300);
/// An INVITE that is not answered by then is answered 180: what takes a disk that hangs a while is no silence.
const RING_AFTER: Duration = Duration::from_secs(1);
/// RFC 3261 section 13.3.1.1: a provisional each minute keeps proxies waiting.
const RING_EVERY: Duration = Duration::from_secs(60);
/// 491 five times in a row is no accident of timing.
const GLARES_MAX: u8 = 5;

/// How many requests a peer may send within a dialog: ten a second, and what five seconds bring at once. People press
/// fewer keys, and over UDP each is remembered for 32 s: one client must not fill the table of transactions.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_AHEAD: Duration = Duration::from_secs(5);

/// Whether the session goes on after an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Lives,
    Over,
}

/// What the user orders.
pub(crate) enum Order<'a> {
    Ring,
    Accept { sdp: Bytes, extra: &'a [(String, String)] },
    Refuse { status: u16, reason: &'a str, extra: &'a [(String, String)] },
    Reinvite(Option<Bytes>),
    Bye(Option<String>),
    Tell { method: Method, extra: &'a [(String, String)], body: Option<Body> },
    AckWith(Bytes),
    Cancel,
}

/// The order fits no state of the session.
pub(crate) struct Unfit;

pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) dialog: Dialog,
    state: State,
    peer: Peer,
    refresh: Option<Refresh>,
    /// Our last SDP: a refresh by re-INVITE repeats it (RFC 4028 section 7.4).
    sdp: Bytes,
    contact_params: Box<str>,
    /// Our 2xx to an INVITE that waits for its ACK.
    unacked: Option<Box<Unacked>>,
    /// Our last reliable provisional response.
    provisional: Option<Box<Provisional>>,
    /// A request of the peer that waits until the one before is answered.
    queued: Option<Box<Queued>>,
    /// An offer of ours that waits for its turn; `None` inside asks the peer to offer.
    wanted: Option<Option<Bytes>>,
    /// A BYE that waits for the ACK (section 15), with its Reason.
    leaving: Option<Option<String>>,
    /// Our last ACK of a 2xx: repeated when the 2xx is (section 13.2.2.4).
    acked: Option<Box<Acked>>,
    glares: u8,
    /// What we prove who we are with, where we were told.
    proving: Option<Box<Proving>>,
    /// By what the gate let it in.
    pub(crate) pass: Option<Arc<Pass>>,
    /// Whether we sent the first INVITE, so that the Call-ID is ours.
    is_caller: bool,
    /// Up to when the requests that the peer has sent are those that it may send.
    asked: Mono,
}

enum State {
    /// The INVITE is with our user.
    Invited(Pending),
    /// Our INVITE is out.
    Calling(Calling),
    /// There is a dialog.
    Established(Exchange),
    /// Our BYE is out.
    Closing(TxId),
}

/// The one exchange of offer and answer that may be under way (RFC 3264, RFC 6337).
enum Exchange {
    Idle,
    /// The peer's request is with our user.
    Answering(Pending),
    /// Our re-INVITE is out.
    Offering(Offering),
    /// The peer's offer came in the 2xx to our INVITE: our user owes the answer for the ACK.
    Acking {
        cseq: u32,
    },
    /// Both sides offered at once; ours is repeated in a moment.
    Glare {
        sdp: Option<Bytes>,
    },
}

/// A request that our user is to answer.
struct Pending {
    tx: TxId,
    cseq: u32,
    is_invite: bool,
    /// Whether it carried the offer; else our 2xx does.
    offered: bool,
    terms: Option<Terms>,
}

struct Queued {
    pending: Pending,
    info: Box<RequestInfo>,
}

struct Calling {
    tx: TxId,
    offered: bool,
    /// Any provisional came: only then may a CANCEL go (section 9.1).
    rang: bool,
    /// `cancel` was called, and why the session will have ended.
    cancelling: Option<EndCause>,
    /// SDP of a provisional, for the peer that leaves it out of its 2xx.
    early: Option<Part>,
    /// How often 422 was answered with a longer interval.
    lengthened: u8,
}

struct Offering {
    tx: TxId,
    sdp: Option<Bytes>,
    /// Only a refresh: our user is not told.
    is_refresh: bool,
}

struct Unacked {
    tx: TxId,
    cseq: u32,
    bytes: Bytes,
    interval: Duration,
    /// Our 2xx carried the offer, so the ACK carries the answer.
    we_offered: bool,
}

struct Acked {
    cseq: u32,
    to: Destination,
    bytes: Bytes,
}

/// What we know of the peer's abilities.
#[derive(Default)]
struct Peer {
    /// UPDATE is in its Allow.
    update: bool,
    /// It takes reliable provisional responses (RFC 3262).
    reliable: bool,
}

/// An input of the network or of time.
pub(crate) enum Input<'a> {
    Request(&'a Flow, Request),
    Ack(Request),
    Cancelled(Box<RequestInfo>),
    Response(&'a Flow, TxId, Response),
    Failed { tx: TxId, transport: bool },
    Timer(SessionTimer),
}

impl Session {
    /// Counts a request of the peer; false when it is one too many.
    pub(crate) fn may_ask(&mut self, now: Now) -> bool {
        let asked = self.asked.max(now.mono);
        let may = asked <= now.mono + ASK_AHEAD;
        if may {
            self.asked = asked + ASK_EVERY;
        }
        may
    }

    pub(crate) fn handle(&mut self, core: &mut Core, now: Now, input: Input<'_>) -> Fate {
        if let Input::Response(flow, tx, response) = &input
            && self.answer_challenge(core, now, *tx, response)
        {
            self.dialog.heard(**flow);
            return Fate::Lives;
        }
        match (&mut self.state, input) {
            (_, Input::Request(flow, request)) => self.on_request(core, now, flow, request),
            (_, Input::Ack(request)) => self.on_ack(core, now, &request),
            (State::Invited(_), Input::Cancelled(info)) => self.on_cancel(core, now, info),
            (_, Input::Cancelled(_)) => Fate::Lives,

            (State::Calling(calling), Input::Response(flow, tx, response)) if calling.tx == tx => {
                self.on_call_response(core, now, flow, &response)
            }
            (State::Established(Exchange::Offering(offering)), Input::Response(flow, tx, response))
                if offering.tx == tx =>
            {
                self.on_offer_response(core, now, flow, &response)
            }
            (State::Closing(bye), Input::Response(_, tx, response)) if *bye == tx => {
                if response.status.is_final() { self.end(core, EndCause::Local, None) } else { Fate::Lives }
            }
            (_, Input::Response(flow, tx, response)) => {
                self.on_other_response(core, now, flow, tx, &response)
            }

            (State::Calling(calling), Input::Failed { tx, transport }) if calling.tx == tx => {
                let cause = if transport { EndCause::TransportFailed } else { EndCause::RequestTimeout };
                let cause = calling.cancelling.unwrap_or(cause);
                self.end(core, cause, None)
            }
            (State::Established(Exchange::Offering(offering)), Input::Failed { tx, transport })
                if offering.tx == tx =>
            {
                self.on_offer_failed(core, now, transport)
            }
            (State::Closing(bye), Input::Failed { tx, .. }) if *bye == tx => {
                self.end(core, EndCause::Local, None)
            }
            (_, Input::Failed { tx, transport }) => self.on_other_failed(core, now, tx, transport),

            (_, Input::Timer(timer)) => self.on_timer(core, now, timer),
        }
    }

    pub(crate) fn order(&mut self, core: &mut Core, now: Now, order: Order<'_>) -> Result<Fate, Unfit> {
        match (order, &self.state) {
            (Order::Ring, State::Invited(_)) => Ok(self.ring(core, now)),
            (
                Order::Accept { sdp, extra },
                State::Invited(_) | State::Established(Exchange::Answering(_)),
            ) => Ok(self.accept(core, now, sdp, extra)),
            (
                Order::Refuse { status, reason, extra },
                State::Invited(_) | State::Established(Exchange::Answering(_)),
            ) => Ok(self.refuse(core, now, status, reason, extra)),
            (Order::Reinvite(sdp), State::Established(_) | State::Invited(_) | State::Calling(_))
                if self.leaving.is_none() =>
            {
                self.wanted = Some(sdp.map(|sdp| Bytes::copy_from_slice(&sdp)));
                Ok(self.settle(core, now))
            }
            (Order::Bye(reason), State::Established(_)) => {
                self.leaving = Some(reason);
                Ok(self.settle(core, now))
            }
            (Order::Bye(_), State::Invited(_)) => {
                Ok(self.refuse(core, now, 480, "Temporarily Unavailable", &[]))
            }
            (Order::Bye(_) | Order::Cancel, State::Calling(_)) => {
                Ok(self.cancel(core, now, EndCause::Cancelled))
            }
            (Order::Tell { method, extra, body }, State::Established(_)) => {
                self.tell(core, now, method, extra, body);
                Ok(Fate::Lives)
            }
            (Order::AckWith(sdp), State::Established(Exchange::Acking { cseq })) => {
                let cseq = *cseq;
                Ok(self.acknowledge_with(core, now, cseq, sdp))
            }
            _ => Err(Unfit),
        }
    }

    fn on_timer(&mut self, core: &mut Core, now: Now, timer: SessionTimer) -> Fate {
        match (timer, &self.state) {
            (SessionTimer::Retransmit, _) => self.retransmit(core, now),
            (SessionTimer::Ack, _) => self.on_ack_timeout(core, now),
            (SessionTimer::Provisional, State::Invited(_)) => self.repeat_provisional(core, now),
            (SessionTimer::Ring, State::Invited(_)) => self.ring(core, now),
            (SessionTimer::Answer, State::Invited(_)) => {
                self.answer(core, now, 480, "Temporarily Unavailable");
                self.end(core, EndCause::RequestTimeout, None)
            }
            (SessionTimer::Answer, State::Established(Exchange::Answering(_))) => {
                self.refuse(core, now, 500, "Server Internal Error", &[])
            }
            (SessionTimer::Answer, State::Calling(calling)) => match calling.cancelling {
                Some(cause) => self.end(core, cause, None),
                None => self.cancel(core, now, EndCause::RequestTimeout),
            },
            (SessionTimer::Refresh, State::Established(_)) => self.refresh_now(core, now),
            (SessionTimer::Expire, State::Established(_)) => {
                self.abandon_requests(core, now);
                self.send_bye(core, now, Some("SIP;cause=408;text=\"Session expired\""), None);
                self.end(core, EndCause::SessionExpired, None)
            }
            (SessionTimer::Glare, State::Established(Exchange::Glare { .. })) => {
                if let State::Established(Exchange::Glare { sdp }) = self.replace(Exchange::Idle) {
                    self.wanted.get_or_insert(sdp);
                }
                self.settle(core, now)
            }
            _ => Fate::Lives,
        }
    }

    /// Does what waited for its turn, now that something has ended.
    fn settle(&mut self, core: &mut Core, now: Now) -> Fate {
        let State::Established(exchange) = &self.state else { return Fate::Lives };
        let is_idle = matches!(exchange, Exchange::Idle);
        let is_acked = self.unacked.is_none();
        // The peer's next request may be seen without the ACK, unless that brings the answer to our offer.
        let may_present = self.unacked.as_ref().is_none_or(|unacked| !unacked.we_offered);
        if let Some(reason) = self.leaving.take_if(|_| is_acked) {
            self.leave(core, now, reason.as_deref());
        } else if let Some(queued) = self.queued.take_if(|_| is_idle && may_present) {
            self.present(core, now, queued.pending, queued.info);
        } else if let Some(sdp) = self.wanted.take_if(|_| is_idle && is_acked) {
            self.offer(core, now, sdp, false);
        }
        Fate::Lives
    }

    /// Our BYE within an established session: the session lives on until it is answered.
    fn leave(&mut self, core: &mut Core, now: Now, reason: Option<&str>) {
        self.abandon_requests(core, now);
        core.endpoint.timers.clear_session(self.id);
        let tx = self.send_bye(core, now, reason, Some(self.id));
        self.state = State::Closing(tx);
    }

    /// Answers what the peer still waits for, before the dialog goes.
    fn abandon_requests(&mut self, core: &mut Core, now: Now) {
        let queued = self.queued.take().map(|queued| queued.pending.tx);
        let pending = match &self.state {
            State::Invited(pending) | State::Established(Exchange::Answering(pending)) => Some(pending.tx),
            _ => None,
        };
        for tx in pending.into_iter().chain(queued) {
            core.respond(now, tx, 487, "Request Terminated", &self.dialog.local_tag, |_, _, _| {});
        }
    }

    /// Tells the end. Whoever calls this must return what it gives.
    fn end(&mut self, core: &mut Core, cause: EndCause, request: Option<Box<RequestInfo>>) -> Fate {
        core.events.push_back(Event::Ended { session: self.id, cause, request });
        Fate::Over
    }

    /// The peer has lost the dialog, or is gone (section 12.2.1.2).
    fn lost(&mut self, core: &mut Core, now: Now, cause: EndCause) -> Fate {
        self.abandon_requests(core, now);
        self.send_bye(core, now, None, None);
        self.end(core, cause, None)
    }

    fn replace(&mut self, exchange: Exchange) -> State {
        std::mem::replace(&mut self.state, State::Established(exchange))
    }

    fn set_timer(&self, core: &mut Core, timer: SessionTimer, at: Mono) {
        core.endpoint.timers.set(Deadline::Session(self.id, timer), at);
    }

    fn clear_timer(&self, core: &mut Core, timer: SessionTimer) {
        core.endpoint.timers.clear(Deadline::Session(self.id, timer));
    }

    /// Whether this transaction is the INVITE that waits for our user.
    pub(crate) fn is_invited_by(&self, tx: TxId) -> bool {
        matches!(&self.state, State::Invited(pending) if pending.tx == tx)
    }

    fn contact(&self, core: &Core) -> String {
        let dialog = &self.dialog;
        core.contact(dialog.transport(), dialog.flow(), dialog.scheme(), &self.contact_params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20,000 sessions are held at a time: beside its strings and SDP each takes this much.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 1024, "{} bytes", size_of::<Session>());
    }
}

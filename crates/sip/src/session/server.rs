//! The session as server: requests within the dialog, our answers, and the ACK they wait for.

use std::sync::Arc;

use bytes::Bytes;
use model::Now;
use sipx_sip::{HeaderName, Headers, Method, Request, Response};

use super::refresh::{Terms, negotiate};
use super::{
    ANSWER_WAIT, Exchange, Fate, INVITED_WAIT, Peer, Pending, Queued, RING_AFTER, RING_EVERY, Session, State,
    Unacked,
};
use crate::core::Core;
use crate::dialog::Dialog;
use crate::endpoint::timing;
use crate::event::{EndCause, Event, SessionId};
use crate::flow::Flow;
use crate::gate::Pass;
use crate::message;
use crate::request::{RequestInfo, body_parts};
use crate::timers::SessionTimer;

/// What was decided about an INVITE before there was a session.
pub(crate) struct Invitation {
    /// The session timer that its 2xx will say.
    pub(crate) terms: Option<Terms>,
    /// By what it was let in.
    pub(crate) pass: Option<Arc<Pass>>,
}

impl Session {
    /// A new session for an INVITE that is to be answered.
    pub(crate) fn invited(
        core: &mut Core,
        now: Now,
        id: SessionId,
        flow: &Flow,
        request: &Request,
        Invitation { terms, pass }: Invitation,
    ) -> Self {
        let mut info = core.read(request, flow);
        info.pass.clone_from(&pass);
        let tx = core.endpoint.open_server(now.mono, flow, request, Some(id));
        let dialog = Dialog::of_request(request, core.tokens.next(), *flow);
        let pending = Pending {
            tx,
            cseq: dialog.remote_cseq.unwrap_or(0),
            is_invite: true,
            offered: info.sdp().is_some(),
            terms,
        };
        let session = Self {
            id,
            dialog,
            state: State::Invited(pending),
            peer: Peer {
                update: message::lists(&request.headers, &HeaderName::Allow, "UPDATE"),
                reliable: [HeaderName::Require, HeaderName::Supported]
                    .iter()
                    .any(|name| message::lists(&request.headers, name, "100rel")),
            },
            refresh: None,
            sdp: Bytes::new(),
            // RFC 7866 section 6.2: a recording server says so in its Contact.
            contact_params: if info.siprec { ";+sip.srs".into() } else { "".into() },
            unacked: None,
            provisional: None,
            queued: None,
            wanted: None,
            leaving: None,
            acked: None,
            glares: 0,
            proving: None,
            pass,
            is_caller: false,
            asked: now.mono,
        };
        core.respond(now, tx, 100, "Trying", "", |_, _, _| {});
        session.set_timer(core, SessionTimer::Answer, now.mono + INVITED_WAIT);
        session.set_timer(core, SessionTimer::Ring, now.mono + RING_AFTER);
        core.events.push_back(Event::Invited { session: id, request: info });
        session
    }

    pub(super) fn on_request(&mut self, core: &mut Core, now: Now, flow: &Flow, request: Request) -> Fate {
        let cseq = message::cseq(&request.headers).unwrap_or(0);
        if self.dialog.remote_cseq.is_some_and(|last| cseq <= last) {
            // Section 12.2.2: out of order.
            core.refuse(flow, &request, 500, "CSeq Out Of Order", &[]);
            return Fate::Lives;
        }
        self.dialog.remote_cseq = Some(cseq);
        self.dialog.heard(*flow);
        match request.method {
            Method::Bye => self.on_bye(core, now, flow, &request),
            Method::Invite | Method::Update => self.on_offer(core, now, flow, &request, cseq),
            Method::Info | Method::Message => {
                self.acknowledge_request(core, now, flow, &request, None);
                Fate::Lives
            }
            Method::Options => self.answer_within(core, now, flow, &request, 200, crate::agent::abilities),
            Method::Prack => self.on_prack(core, now, flow, &request),
            _ => self.answer_within(core, now, flow, &request, 405, |response| {
                message::push(&mut response.headers, HeaderName::Allow, message::ALLOW);
            }),
        }
    }

    /// Answers at once, through a transaction: a stateless answer to its retransmission would be 500, for its
    /// CSeq has been seen.
    pub(super) fn answer_within(
        &self,
        core: &mut Core,
        now: Now,
        flow: &Flow,
        request: &Request,
        status: u16,
        fill: impl FnOnce(&mut Response),
    ) -> Fate {
        let reason = match status {
            200 => "OK",
            405 => "Method Not Allowed",
            422 => "Session Interval Too Small",
            481 => "Call/Transaction Does Not Exist",
            488 => "Not Acceptable Here",
            491 => "Request Pending",
            _ => "Server Internal Error",
        };
        core.counts.refused += u64::from(status >= 300);
        let tx = core.endpoint.open_server(now.mono, flow, request, None);
        core.respond(now, tx, status, reason, &self.dialog.local_tag, |_, _, response| fill(response));
        Fate::Lives
    }

    fn on_bye(&mut self, core: &mut Core, now: Now, flow: &Flow, request: &Request) -> Fate {
        let tx = core.endpoint.open_server(now.mono, flow, request, None);
        core.respond(now, tx, 200, "OK", &self.dialog.local_tag, |_, _, _| {});
        self.abandon_requests(core, now);
        let request = core.read(request, flow);
        self.end(core, EndCause::Bye, Some(request))
    }

    /// A re-INVITE or UPDATE.
    fn on_offer(&mut self, core: &mut Core, now: Now, flow: &Flow, request: &Request, cseq: u32) -> Fate {
        let terms = match negotiate(&core.config, &request.headers) {
            Ok(terms) => terms,
            Err(least) => {
                return self.answer_within(core, now, flow, request, 422, |response| {
                    message::push(&mut response.headers, HeaderName::MinSe, least.as_secs().to_string());
                });
            }
        };
        let info = core.read(request, flow);
        let is_invite = request.method == Method::Invite;
        let offered = info.sdp().is_some();
        if !is_invite && !offered {
            self.dialog.retarget(&request.headers);
            self.acknowledge_request(core, now, flow, request, Some(terms));
            return Fate::Lives;
        }
        let we_offer = self.unacked.as_ref().is_some_and(|unacked| unacked.we_offered);
        match &self.state {
            State::Established(Exchange::Offering(_) | Exchange::Acking { .. }) => {
                return self.refuse_offer(core, now, flow, request, 491);
            }
            // Our offer is out in a 2xx: an UPDATE cannot carry another (RFC 3311 section 5.2).
            State::Established(_) if we_offer && !is_invite => {
                return self.refuse_offer(core, now, flow, request, 491);
            }
            State::Established(Exchange::Answering(_)) if self.queued.is_some() => {
                return self.refuse_offer(core, now, flow, request, 500);
            }
            State::Invited(_) | State::Calling(_) => return self.refuse_offer(core, now, flow, request, 500),
            State::Closing(_) => return self.refuse_offer(core, now, flow, request, 481),
            State::Established(_) => {}
        }
        self.dialog.retarget(&request.headers);
        self.dialog.look_up(core);
        let tx = core.endpoint.open_server(now.mono, flow, request, Some(self.id));
        if is_invite {
            core.respond(now, tx, 100, "Trying", "", |_, _, _| {});
        }
        let pending = Pending { tx, cseq, is_invite, offered, terms };
        if matches!(self.state, State::Established(Exchange::Answering(_))) {
            // RFC 3261 section 14.2 wants 500 here. Clients that hold and resume within milliseconds lose the
            // hold then; one request may wait.
            self.queued = Some(Box::new(Queued { pending, info }));
            return Fate::Lives;
        }
        self.present(core, now, pending, info);
        Fate::Lives
    }

    fn refuse_offer(&self, core: &mut Core, now: Now, flow: &Flow, request: &Request, status: u16) -> Fate {
        self.answer_within(core, now, flow, request, status, |response| {
            if status == 500 {
                message::push(&mut response.headers, HeaderName::RetryAfter, "1");
            }
        })
    }

    /// Gives a request with an offer, or asking for one, to our user.
    pub(super) fn present(&mut self, core: &mut Core, now: Now, pending: Pending, info: Box<RequestInfo>) {
        if pending.is_invite && self.unacked.take().is_some() {
            // Who sends a newer INVITE has our 2xx, whatever became of its ACK (seen: OpenSIPS).
            self.clear_timer(core, SessionTimer::Retransmit);
            self.clear_timer(core, SessionTimer::Ack);
            core.events.push_back(Event::Confirmed { session: self.id, answer: None });
        }
        let waiting = self.replace(Exchange::Answering(pending));
        if let State::Established(Exchange::Glare { sdp }) = waiting {
            self.clear_timer(core, SessionTimer::Glare);
            self.wanted.get_or_insert(sdp);
        }
        self.set_timer(core, SessionTimer::Answer, now.mono + ANSWER_WAIT);
        core.events.push_back(Event::Reoffered { session: self.id, request: info });
    }

    /// Answers 200 at once, and tells: INFO, MESSAGE, and UPDATE without SDP, which refreshes the session.
    fn acknowledge_request(
        &mut self,
        core: &mut Core,
        now: Now,
        flow: &Flow,
        request: &Request,
        refresh: Option<Option<Terms>>,
    ) {
        let tx = core.endpoint.open_server(now.mono, flow, request, None);
        let contact = self.contact(core);
        core.respond(now, tx, 200, "OK", &self.dialog.local_tag, |_, _, response| {
            if let Some(terms) = &refresh {
                message::push(&mut response.headers, HeaderName::Contact, contact);
                message::push(&mut response.headers, HeaderName::Allow, message::ALLOW);
                if let Some(terms) = terms {
                    terms.write(&mut response.headers);
                }
            }
        });
        if let Some(terms) = refresh
            && matches!(self.state, State::Established(_))
        {
            self.run_terms(core, now, terms);
        }
        let request = core.read(request, flow);
        core.events.push_back(Event::Informed { session: self.id, request });
    }

    pub(super) fn on_cancel(&mut self, core: &mut Core, now: Now, info: Box<RequestInfo>) -> Fate {
        self.answer(core, now, 487, "Request Terminated");
        self.end(core, EndCause::Cancelled, Some(info))
    }

    pub(super) fn ring(&mut self, core: &mut Core, now: Now) -> Fate {
        if self.peer.reliable {
            self.ring_reliably(core, now);
        } else {
            self.provisionally(core, now, |_| {});
        }
        self.set_timer(core, SessionTimer::Ring, now.mono + RING_EVERY);
        Fate::Lives
    }

    /// 180 to the INVITE that is pending, with these headers too; gives what was sent.
    pub(super) fn provisionally(
        &self,
        core: &mut Core,
        now: Now,
        fill: impl FnOnce(&mut Headers),
    ) -> Option<Bytes> {
        let State::Invited(pending) = &self.state else { return None };
        let contact = self.contact(core);
        core.respond(now, pending.tx, 180, "Ringing", &self.dialog.local_tag, |_, request, response| {
            copy_routes(request, response);
            message::push(&mut response.headers, HeaderName::Contact, contact);
            message::push(&mut response.headers, HeaderName::Allow, message::ALLOW);
            fill(&mut response.headers);
        })
    }

    /// A final answer to the INVITE that is pending, without body.
    pub(super) fn answer(&self, core: &mut Core, now: Now, status: u16, reason: &str) {
        let State::Invited(pending) = &self.state else { return };
        core.respond(now, pending.tx, status, reason, &self.dialog.local_tag, |_, _, _| {});
    }

    /// 200 to the request that is pending.
    pub(super) fn accept(
        &mut self,
        core: &mut Core,
        now: Now,
        sdp: Bytes,
        extra: &[(String, String)],
    ) -> Fate {
        let (State::Invited(pending) | State::Established(Exchange::Answering(pending))) =
            self.replace(Exchange::Idle)
        else {
            return Fate::Lives;
        };
        self.clear_timer(core, SessionTimer::Answer);
        self.clear_timer(core, SessionTimer::Ring);
        self.clear_timer(core, SessionTimer::Provisional);
        // In memory of its own: it stays for the life of the session.
        self.sdp = Bytes::copy_from_slice(&sdp);
        let contact = self.contact(core);
        let body = message::sdp_body(self.sdp.clone());
        let sent =
            core.respond(now, pending.tx, 200, "OK", &self.dialog.local_tag, |_, request, response| {
                copy_routes(request, response);
                let headers = &mut response.headers;
                message::push(headers, HeaderName::Contact, contact);
                message::push(headers, HeaderName::Allow, message::ALLOW);
                message::push(headers, HeaderName::Supported, message::CAPABLE);
                message::push(headers, HeaderName::Accept, message::ACCEPT);
                if let Some(terms) = &pending.terms {
                    terms.write(headers);
                }
                message::push_extra(headers, extra);
                message::end_response(response, Some(body));
            });
        self.run_terms(core, now, pending.terms);
        self.dialog.look_up(core);
        if let (true, Some(bytes)) = (pending.is_invite, sent) {
            let interval = timing().t1;
            let (tx, cseq, we_offered) = (pending.tx, pending.cseq, !pending.offered);
            self.unacked = Some(Box::new(Unacked { tx, cseq, bytes, interval, we_offered }));
            self.set_timer(core, SessionTimer::Retransmit, now.mono + interval);
            self.set_timer(core, SessionTimer::Ack, now.mono + ANSWER_WAIT);
        }
        self.settle(core, now)
    }

    /// A final answer to the request that is pending; ends the session when that is the first INVITE.
    pub(super) fn refuse(
        &mut self,
        core: &mut Core,
        now: Now,
        status: u16,
        reason: &str,
        extra: &[(String, String)],
    ) -> Fate {
        let (tx, is_first) = match &self.state {
            State::Invited(pending) => (pending.tx, true),
            State::Established(Exchange::Answering(pending)) => (pending.tx, false),
            _ => return Fate::Lives,
        };
        // A refusal is 3xx to 6xx; anything else would leave the transaction open.
        let status = if (300..=699).contains(&status) { status } else { 500 };
        core.respond(now, tx, status, reason, &self.dialog.local_tag, |_, _, response| {
            message::push_extra(&mut response.headers, extra);
        });
        if is_first {
            return Fate::Over;
        }
        self.clear_timer(core, SessionTimer::Answer);
        self.replace(Exchange::Idle);
        self.settle(core, now)
    }

    /// The ACK of our 2xx.
    pub(super) fn on_ack(&mut self, core: &mut Core, now: Now, ack: &Request) -> Fate {
        let cseq = message::cseq(&ack.headers);
        let Some(unacked) = self.unacked.take_if(|unacked| Some(unacked.cseq) == cseq) else {
            return Fate::Lives;
        };
        self.clear_timer(core, SessionTimer::Retransmit);
        self.clear_timer(core, SessionTimer::Ack);
        let answer = match unacked.we_offered {
            true => body_parts(&ack.headers, ack.body()).into_iter().find(|part| part.is("application/sdp")),
            false => None,
        };
        core.events.push_back(Event::Confirmed { session: self.id, answer });
        self.settle(core, now)
    }

    /// RFC 3261 section 13.3.1.4: T1, doubling up to T2, over any transport.
    pub(super) fn retransmit(&mut self, core: &mut Core, now: Now) -> Fate {
        let Some(unacked) = &mut self.unacked else { return Fate::Lives };
        unacked.interval = (unacked.interval * 2).min(timing().t2);
        let again = now.mono + unacked.interval;
        if let Some(to) = core.endpoint.route(unacked.tx) {
            core.endpoint.counters.retransmitted += 1;
            core.endpoint.send(to, unacked.bytes.clone());
        }
        self.set_timer(core, SessionTimer::Retransmit, again);
        Fate::Lives
    }

    /// Our 2xx got no ACK, or our user gave no answer for the ACK that we owe.
    pub(super) fn on_ack_timeout(&mut self, core: &mut Core, now: Now) -> Fate {
        if let State::Established(Exchange::Acking { cseq }) = self.state {
            self.send_ack(core, cseq, None);
            return self.lost(core, now, EndCause::AckTimeout);
        }
        if self.unacked.take().is_some() {
            self.clear_timer(core, SessionTimer::Retransmit);
            core.events.push_back(Event::Unacknowledged { session: self.id });
        }
        self.settle(core, now)
    }
}

fn copy_routes(request: &Request, response: &mut Response) {
    for route in request.headers.get_all(&HeaderName::RecordRoute) {
        response.headers.push(route.clone());
    }
}

//! The session as client: our INVITE, re-INVITE, BYE and INFO, their responses, and the ACKs we owe.

use bytes::Bytes;
use model::Now;
use sipx_sip::session::MinSe;
use sipx_sip::{HeaderName, Message, Method, Response};

use super::repeat::Proving;
use super::send::{end_fork, send_cancel};
use super::{ANSWER_WAIT, CALLING_WAIT, Calling, Exchange, Fate, GLARES_MAX, Offering, Peer, Session, State};
use crate::auth::Login;
use crate::core::{Core, Way};
use crate::dialog::Dialog;
use crate::event::{Body, EndCause, Event, SessionId};
use crate::flow::Flow;
use crate::message;
use crate::request::{header_list, sdp_of, text};
use crate::timers::{SessionTimer, TxId};

/// 422 to one INVITE after another: each proxy on the way may want a longer interval than the one before.
const LENGTHENED_MAX: u8 = 5;

/// What `Agent::invite` has made of its order.
pub(crate) struct Call {
    pub(crate) dialog: Dialog,
    pub(crate) way: Way,
    pub(crate) body: Option<Body>,
    pub(crate) offered: bool,
    pub(crate) sdp: Bytes,
    pub(crate) contact_params: Box<str>,
    pub(crate) login: Option<Login>,
}

impl Session {
    /// A new session: sends the INVITE.
    pub(crate) fn calling(
        core: &mut Core,
        now: Now,
        id: SessionId,
        call: Call,
        extra: &[(String, String)],
    ) -> Self {
        let Call { mut dialog, way, body, offered, sdp, contact_params, login } = call;
        let mut request = dialog.request(core, Method::Invite, &way, None);
        let headers = &mut request.headers;
        message::push(headers, HeaderName::Allow, message::ALLOW);
        message::push(headers, HeaderName::Supported, message::SUPPORTED);
        message::push(headers, HeaderName::Accept, message::ACCEPT);
        let interval = core.config.session_expires.as_secs();
        message::push(headers, HeaderName::SessionExpires, interval.to_string());
        message::push(headers, HeaderName::MinSe, core.config.min_se.as_secs().max(90).to_string());
        message::push_extra(headers, extra);
        message::end_request(&mut request, body);
        let fit = core.fit(way, &request);
        if fit.transport != way.transport {
            let via = core.via(&fit);
            message::set_via(&mut request.headers, via);
        }
        let contact = message::contact(dialog.scheme(), fit.sent_by, fit.transport, &contact_params);
        message::push(&mut request.headers, HeaderName::Contact, contact);
        let tx = core.endpoint.open_client(now.mono, fit.to, fit.transport, request, Some(id));
        let calling = Calling { tx, offered, rang: false, cancelling: None, early: None, lengthened: 0 };
        let session = Self {
            id,
            dialog,
            state: State::Calling(calling),
            peer: Peer::default(),
            refresh: None,
            sdp,
            contact_params,
            unacked: None,
            provisional: None,
            queued: None,
            wanted: None,
            leaving: None,
            acked: None,
            glares: 0,
            proving: login.map(|login| Box::new(Proving::new(login))),
            pass: None,
            is_caller: true,
            asked: now.mono,
        };
        session.set_timer(core, SessionTimer::Answer, now.mono + CALLING_WAIT);
        session
    }

    /// A response to the first INVITE.
    pub(super) fn on_call_response(
        &mut self,
        core: &mut Core,
        now: Now,
        flow: &Flow,
        response: &Response,
    ) -> Fate {
        self.dialog.heard(*flow);
        let State::Calling(calling) = &mut self.state else { return Fate::Lives };
        let status = response.status.code();
        match status {
            100..=199 => {
                let cancel_now = calling.cancelling.is_some() && !calling.rang;
                calling.rang = true;
                let tx = calling.tx;
                if let Some(part) = sdp_of(&Message::Response(response.clone())) {
                    calling.early = Some(part);
                }
                if cancel_now {
                    send_cancel(core, now, tx);
                } else if status > 100 {
                    core.events.push_back(Event::Ringing { session: self.id, status });
                }
                Fate::Lives
            }
            200..=299 => self.on_call_accepted(core, now, response),
            422 if calling.lengthened < LENGTHENED_MAX && calling.cancelling.is_none() => {
                self.repeat_longer(core, now, response)
            }
            _ => match calling.cancelling {
                Some(cause) => self.end(core, cause, None),
                None => {
                    self.tell_refused(core, response);
                    Fate::Over
                }
            },
        }
    }

    fn on_call_accepted(&mut self, core: &mut Core, now: Now, response: &Response) -> Fate {
        self.clear_timer(core, SessionTimer::Answer);
        self.dialog.establish(&response.headers);
        self.peer.update = message::lists(&response.headers, &HeaderName::Allow, "UPDATE");
        let State::Calling(calling) = self.replace(Exchange::Idle) else { return Fate::Lives };
        if let Some(cause) = calling.cancelling {
            // The 2xx crossed our CANCEL (section 9.1): the call stands, and is ended as calls are.
            self.send_ack(core, self.dialog.local_cseq, None);
            self.send_bye(core, now, None, None);
            return self.end(core, cause, None);
        }
        self.run_agreed(core, now, &response.headers);
        self.dialog.look_up(core);
        self.take_2xx(core, now, response, calling.offered, calling.early)
    }

    /// 422 (RFC 4028 section 7.3): the INVITE again, with the interval that is asked for.
    fn repeat_longer(&mut self, core: &mut Core, now: Now, response: &Response) -> Fate {
        let State::Calling(calling) = &mut self.state else { return Fate::Lives };
        calling.lengthened += 1;
        let tx = calling.tx;
        let least =
            response.headers.typed::<MinSe>().and_then(Result::ok).map(|MinSe(least)| least.as_secs());
        let sent = least.and_then(|least| {
            self.repeat(core, now, tx, |headers| {
                message::set(headers, &HeaderName::SessionExpires, least.to_string());
                message::set(headers, &HeaderName::MinSe, least.to_string());
            })
        });
        if sent.is_none() {
            self.tell_refused(core, response);
            return Fate::Over;
        }
        Fate::Lives
    }

    /// Sends a re-INVITE: with our offer, or asking for theirs.
    pub(super) fn offer(&mut self, core: &mut Core, now: Now, sdp: Option<Bytes>, is_refresh: bool) {
        let way = self.dialog.way(core);
        let mut request = self.dialog.request(core, Method::Invite, &way, None);
        let contact = self.contact(core);
        message::push(&mut request.headers, HeaderName::Contact, contact);
        message::push(&mut request.headers, HeaderName::Allow, message::ALLOW);
        self.write_refresh(&mut request.headers);
        self.prove(core, &mut request);
        message::end_request(&mut request, sdp.clone().map(message::sdp_body));
        if let Some(sdp) = &sdp {
            self.sdp = sdp.clone();
        }
        let tx = core.endpoint.open_client(now.mono, way.to, way.transport, request, Some(self.id));
        self.state = State::Established(Exchange::Offering(Offering { tx, sdp, is_refresh }));
    }

    /// A response to our re-INVITE.
    pub(super) fn on_offer_response(
        &mut self,
        core: &mut Core,
        now: Now,
        flow: &Flow,
        response: &Response,
    ) -> Fate {
        self.dialog.heard(*flow);
        if response.status.is_provisional() {
            return Fate::Lives;
        }
        let State::Established(Exchange::Offering(offering)) = self.replace(Exchange::Idle) else {
            return Fate::Lives;
        };
        match response.status.code() {
            200..=299 => {
                self.glares = 0;
                self.dialog.retarget(&response.headers);
                self.run_agreed(core, now, &response.headers);
                if offering.is_refresh {
                    let cseq = message::cseq(&response.headers).unwrap_or(self.dialog.local_cseq);
                    self.send_ack(core, cseq, None);
                    return self.settle(core, now);
                }
                self.take_2xx(core, now, response, offering.sdp.is_some(), None)
            }
            408 | 481 => {
                self.tell_refused(core, response);
                self.lost(core, now, EndCause::RequestTimeout)
            }
            491 if self.glares < GLARES_MAX && !offering.is_refresh => {
                self.glares += 1;
                let wait = self.glare_wait(core);
                self.set_timer(core, SessionTimer::Glare, now.mono + wait);
                self.replace(Exchange::Glare { sdp: offering.sdp });
                self.settle(core, now)
            }
            _ if offering.is_refresh => {
                self.refresh_again(core, now, Some(response));
                self.settle(core, now)
            }
            _ => {
                self.glares = 0;
                self.tell_refused(core, response);
                self.settle(core, now)
            }
        }
    }

    /// Section 14.1: the owner of the Call-ID waits 2.1 to 4 s, the other up to 2 s.
    pub(super) fn glare_wait(&self, core: &mut Core) -> std::time::Duration {
        // In steps of 10 ms, from a token: as random as anything here.
        let draw = u64::from_str_radix(core.tokens.next().get(..4).unwrap_or("0"), 16).unwrap_or(0);
        let (least, span) = if self.is_caller { (210, 190) } else { (0, 200) };
        std::time::Duration::from_millis((least + draw % span) * 10)
    }

    pub(super) fn on_offer_failed(&mut self, core: &mut Core, now: Now, transport: bool) -> Fate {
        let State::Established(Exchange::Offering(offering)) = self.replace(Exchange::Idle) else {
            return Fate::Lives;
        };
        if !transport {
            return self.lost(core, now, EndCause::RequestTimeout);
        }
        // The connection broke; the dialog outlives it.
        if offering.is_refresh {
            self.refresh_again(core, now, None);
        } else {
            let reason = "Service Unavailable".to_owned();
            core.events.push_back(Event::Refused {
                session: self.id,
                status: 503,
                reason,
                headers: Vec::new(),
            });
        }
        self.settle(core, now)
    }

    /// A 2xx to an INVITE of ours: acknowledge it, or wait for our user's answer to the offer in it.
    fn take_2xx(
        &mut self,
        core: &mut Core,
        now: Now,
        response: &Response,
        offered: bool,
        early: Option<crate::request::Part>,
    ) -> Fate {
        let sdp = sdp_of(&Message::Response(response.clone())).or(early);
        let cseq = message::cseq(&response.headers).unwrap_or(self.dialog.local_cseq);
        let must_answer = !offered && sdp.is_some();
        core.events.push_back(Event::Accepted {
            session: self.id,
            status: response.status.code(),
            headers: header_list(&response.headers),
            sdp,
            at_method: "INVITE".into(),
        });
        if must_answer {
            self.set_timer(core, SessionTimer::Ack, now.mono + ANSWER_WAIT);
            self.replace(Exchange::Acking { cseq });
            return self.settle(core, now);
        }
        self.send_ack(core, cseq, None);
        self.settle(core, now)
    }

    pub(super) fn acknowledge_with(&mut self, core: &mut Core, now: Now, cseq: u32, sdp: Bytes) -> Fate {
        self.clear_timer(core, SessionTimer::Ack);
        self.sdp = Bytes::copy_from_slice(&sdp);
        let body = message::sdp_body(self.sdp.clone());
        self.send_ack(core, cseq, Some(body));
        self.replace(Exchange::Idle);
        self.settle(core, now)
    }

    /// Any other response: a refresh, a 2xx that comes again, a fork, INFO.
    pub(super) fn on_other_response(
        &mut self,
        core: &mut Core,
        now: Now,
        flow: &Flow,
        tx: TxId,
        response: &Response,
    ) -> Fate {
        if let Some(fate) = self.on_refresh_response(core, now, tx, response) {
            return fate;
        }
        let method = response.headers.typed::<sipx_sip::CSeq>().and_then(Result::ok).map(|cseq| cseq.method);
        if method == Some(Method::Invite) {
            self.on_late_2xx(core, now, flow, response);
            return Fate::Lives;
        }
        // RFC 6086 section 4.2.2 and RFC 3261 section 12.2.1.2: the peer does not know the dialog any more.
        if response.status.code() == 481 && matches!(self.state, State::Established(_)) {
            return self.lost(core, now, EndCause::RequestTimeout);
        }
        Fate::Lives
    }

    /// A 2xx after the first: the same one again gets our ACK again; another branch of a fork is ended.
    pub(crate) fn on_late_2xx(&mut self, core: &mut Core, now: Now, flow: &Flow, response: &Response) {
        if !response.status.is_success() {
            return;
        }
        let tag = message::header_tag(&response.headers, &HeaderName::To).unwrap_or_default();
        let cseq = message::cseq(&response.headers);
        if tag != self.dialog.remote_tag {
            let mut fork = self.dialog.fork(&response.headers);
            fork.heard(*flow);
            end_fork(core, now, fork, cseq.unwrap_or(0));
            return;
        }
        if let Some(acked) = self.acked.as_deref().filter(|acked| Some(acked.cseq) == cseq) {
            core.endpoint.counters.absorbed += 1;
            core.endpoint.counters.retransmitted += 1;
            core.endpoint.send(acked.to, acked.bytes.clone());
        }
    }

    pub(super) fn on_other_failed(&mut self, core: &mut Core, now: Now, tx: TxId, transport: bool) -> Fate {
        self.on_refresh_failed(core, now, tx, transport).unwrap_or(Fate::Lives)
    }

    /// Cancels our INVITE: at once if anything came back, else as soon as it does (section 9.1).
    pub(super) fn cancel(&mut self, core: &mut Core, now: Now, cause: EndCause) -> Fate {
        let State::Calling(calling) = &mut self.state else { return Fate::Lives };
        if calling.cancelling.is_some() {
            return Fate::Lives;
        }
        calling.cancelling = Some(cause);
        if calling.rang {
            let tx = calling.tx;
            send_cancel(core, now, tx);
        }
        // Who never answers the INVITE after that is not waited for.
        self.set_timer(core, SessionTimer::Answer, now.mono + ANSWER_WAIT);
        Fate::Lives
    }

    fn tell_refused(&self, core: &mut Core, response: &Response) {
        core.events.push_back(Event::Refused {
            session: self.id,
            status: response.status.code(),
            reason: text(&response.reason),
            headers: header_list(&response.headers),
        });
    }
}

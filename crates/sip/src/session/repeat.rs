//! Requests of ours that are sent once more because of what was answered: with credentials (401 and 407, RFC 3261
//! section 22), or with a longer interval (422, RFC 4028 section 7.3).
//!
//! The same request, but with a CSeq and a branch of its own: a new transaction, which takes the place of the old.

use model::Now;
use sipx_sip::auth::{Challenge, Credentials, respond, strongest};
use sipx_sip::{HeaderName, Headers, Method, Request, Response};

use super::{Calling, Exchange, Offering, Session, State};
use crate::auth::Login;
use crate::core::{Core, Way};
use crate::message;
use crate::request::text;
use crate::timers::TxId;

/// Answers to challenges before one of them is taken: a proxy, a server, and a nonce of each that went stale.
const TRIES_MAX: u8 = 4;

/// What we prove who we are with.
pub(super) struct Proving {
    login: Credentials,
    /// The last challenge of a server and of a proxy, with the count of its nonce.
    challenges: Vec<(Challenge, u32)>,
    /// Challenges answered since the last final answer that was none.
    tries: u8,
    /// What the last INVITE carried: its ACK carries the same (section 22.1).
    of_invite: Vec<(HeaderName, String)>,
}

impl Proving {
    pub(super) fn new(login: Login) -> Self {
        let login = Credentials::new(login.user, login.password);
        Self { login, challenges: Vec::new(), tries: 0, of_invite: Vec::new() }
    }

    /// Takes a challenge, in the place of the one before by the same.
    fn take(&mut self, challenge: Challenge) {
        self.challenges.retain(|(known, _)| known.from_proxy != challenge.from_proxy);
        self.challenges.push((challenge, 0));
    }

    fn write(&mut self, core: &mut Core, request: &mut Request) {
        let uri = text(&request.uri.to_bytes());
        let method = text(request.method.as_bytes());
        let mut written = Vec::new();
        for (challenge, count) in &mut self.challenges {
            *count += 1;
            let cnonce = core.tokens.next();
            let value = respond(challenge, &self.login, &method, &uri, *count, &cnonce);
            message::set(&mut request.headers, &challenge.response_header(), value.clone());
            written.push((challenge.response_header(), value));
        }
        if request.method == Method::Invite {
            self.of_invite = written;
        }
    }
}

impl Session {
    /// Gives a request of ours the credentials that are asked for, as far as is known.
    pub(super) fn prove(&mut self, core: &mut Core, request: &mut Request) {
        let Some(proving) = &mut self.proving else { return };
        if request.method == Method::Ack {
            for (name, value) in &proving.of_invite {
                message::push(&mut request.headers, name.clone(), value.clone());
            }
            return;
        }
        proving.write(core, request);
    }

    /// Answers a challenge to a request of ours; false where that is of no use, or this is none.
    pub(super) fn answer_challenge(
        &mut self,
        core: &mut Core,
        now: Now,
        tx: TxId,
        response: &Response,
    ) -> bool {
        let is_cancelling = matches!(&self.state, State::Calling(calling) if calling.cancelling.is_some());
        let Some(proving) = &mut self.proving else { return false };
        let (header, from_proxy) = match response.status.code() {
            401 => (HeaderName::WwwAuthenticate, false),
            407 => (HeaderName::ProxyAuthenticate, true),
            100..=199 => return false,
            _ => {
                proving.tries = 0;
                return false;
            }
        };
        let values = response.headers.get_all(&header).map(sipx_sip::Header::value);
        let offered = values.filter_map(|value| Challenge::parse(&value, from_proxy)).collect();
        let Some(challenge) = strongest(offered) else { return false };
        let Some(request) = core.endpoint.request(tx) else { return false };
        // Once for each nonce: what was wrong with one is wrong with the next, unless that says otherwise.
        let was_proved = request.headers.get(&challenge.response_header()).is_some();
        if (was_proved && !challenge.stale) || proving.tries >= TRIES_MAX || is_cancelling {
            return false;
        }
        proving.tries += 1;
        proving.take(challenge);
        self.repeat(core, now, tx, |_| {}).is_some()
    }

    /// Sends a request once more, changed.
    pub(super) fn repeat(
        &mut self,
        core: &mut Core,
        now: Now,
        tx: TxId,
        change: impl FnOnce(&mut Headers),
    ) -> Option<()> {
        let mut request = core.endpoint.request(tx)?.clone();
        let by_dialog = self.dialog.way(core);
        let way = Way { to: core.endpoint.route(tx).unwrap_or(by_dialog.to), ..by_dialog };
        self.dialog.local_cseq += 1;
        let cseq = format!("{} {}", self.dialog.local_cseq, request.method);
        let via = core.via(&way);
        message::set_via(&mut request.headers, via);
        message::set(&mut request.headers, &HeaderName::CSeq, cseq);
        change(&mut request.headers);
        self.prove(core, &mut request);
        let again = core.endpoint.open_client(now.mono, way.to, way.transport, request, Some(self.id));
        self.takes_place(tx, again);
        Some(())
    }

    /// What waited for one transaction waits for another.
    fn takes_place(&mut self, of: TxId, by: TxId) {
        let waiting = match &mut self.state {
            State::Calling(Calling { tx, .. })
            | State::Established(Exchange::Offering(Offering { tx, .. }))
            | State::Closing(tx) => Some(tx),
            _ => None,
        };
        let refresh = self.refresh.as_mut().and_then(|refresh| refresh.tx.as_mut());
        for tx in waiting.into_iter().chain(refresh).filter(|tx| **tx == of) {
            *tx = by;
        }
    }
}

//! Dialogs that go from one agent to another, and requests that come before them.
//!
//! ```text
//!  request within a dialog of which nobody here knows ──► waits, Sought ──► adopt, found: it is taken
//!                                                                      ├──► not_found: 481
//!                                                                      └──► put_off: 491, 503, but for a BYE
//! ```
//!
//! Who may send nothing here is refused before anybody is asked. What waits has a limit and no timer of its own: our user
//! says what becomes of it.

use std::net::SocketAddr;

use model::Now;
use sipx_sip::{HeaderName, Method, Request};

use super::Agent;
use crate::event::{Event, NoSuchSession, SessionId};
use crate::flow::Flow;
use crate::gate::Gate;
use crate::message;
use crate::portrait::Portrait;
use crate::session::{Fate, Session};

/// Requests of one dialog that wait: a client has one or two under way.
const OF_DIALOG_MAX: usize = 4;

/// What a peer is told to wait whose request is put off: as long as it takes to be told of another address.
const PUT_OFF_SECONDS: u32 = 2;

/// A request that waits.
pub(super) struct Waiting {
    flow: Flow,
    request: Request,
}

impl<G: Gate> Agent<G> {
    /// An established session as another agent needs it; none while there is no dialog.
    #[must_use]
    pub fn portrait(&self, session: SessionId) -> Option<Portrait> {
        self.sessions.get(&session)?.portrait()
    }

    /// Carries on a dialog that another agent had, by this address of ours. None when it is here already, or cannot be
    /// carried on.
    pub fn adopt(&mut self, now: Now, portrait: &Portrait, local: SocketAddr) -> Option<SessionId> {
        if self.by_tag.contains_key(portrait.tag()) {
            return None;
        }
        let id = SessionId(self.last_session + 1);
        let session = Session::adopted(&mut self.core, now, id, portrait, local)?;
        self.last_session += 1;
        self.by_tag.insert(session.dialog.local_tag.clone(), id);
        self.sessions.insert(id, session);
        Some(id)
    }

    /// Another agent carries on this dialog: it is not ours any more, and nobody is told.
    ///
    /// # Errors
    /// When the session is gone.
    pub fn forget(&mut self, session: SessionId) -> Result<(), NoSuchSession> {
        if !self.sessions.contains_key(&session) {
            return Err(NoSuchSession(session));
        }
        self.settle(session, Fate::Over);
        Ok(())
    }

    /// The dialog of this tag is here now: what waited for it is taken.
    pub fn found(&mut self, now: Now, tag: &str) {
        for Waiting { flow, request } in self.sought.remove(tag).unwrap_or_default() {
            if self.session_of(&request).is_some() {
                self.on_request_within(now, &flow, request);
            } else {
                self.no_dialog(&flow, &request);
            }
        }
    }

    /// Nobody has the dialog of this tag.
    pub fn not_found(&mut self, tag: &str) {
        for Waiting { flow, request } in self.sought.remove(tag).unwrap_or_default() {
            self.no_dialog(&flow, &request);
        }
    }

    /// This agent takes no dialogs of others any more. What waits for the dialog of this tag is to come again, by when whoever has
    /// the dialog has told its peer where to: a description by 491 (RFC 3261 section 14.1, RFC 3311 section 5.2), as an offer of
    /// that one is under way, anything else by 503, which ends no dialog (RFC 5057 section 5.1). A BYE goes on waiting, since
    /// nobody sends it twice; whether there is one.
    pub fn put_off(&mut self, tag: &str) -> bool {
        let Some(waiting) = self.sought.remove(tag) else { return false };
        let (byes, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.request.method == Method::Bye);
        for Waiting { flow, request } in others {
            if matches!(request.method, Method::Invite | Method::Update) {
                self.core.refuse(&flow, &request, 491, "Request Pending", &[]);
            } else {
                let retry = (HeaderName::RetryAfter, PUT_OFF_SECONDS.to_string());
                self.core.refuse(&flow, &request, 503, "Service Unavailable", &[retry]);
            }
        }
        let has_bye = !byes.is_empty();
        if has_bye {
            self.sought.insert(tag.to_owned(), byes);
        }
        has_bye
    }

    /// A request within a dialog of which nobody here knows.
    pub(super) fn seek(&mut self, now: Now, flow: &Flow, request: Request) {
        let may_be_ours = matches!(
            request.method,
            Method::Bye | Method::Invite | Method::Update | Method::Info | Method::Message | Method::Options
        );
        let tag = message::header_tag(&request.headers, &HeaderName::To)
            .and_then(|tag| String::from_utf8(tag).ok())
            .filter(|tag| may_be_ours && crate::token::may_be_one(tag));
        let Some(tag) = tag.filter(|_| self.core.config.sought_max > 0) else {
            return self.no_dialog(flow, &request);
        };
        if self.admits(now, flow, &request, None).is_none() {
            return;
        }
        let is_known = self.sought.contains_key(&tag);
        if !is_known && (self.sought.len() >= self.core.config.sought_max || self.is_full()) {
            return self.over_limit(flow, &request);
        }
        if request.method == Method::Invite {
            self.core.reply(flow, &request, 100, "Trying", |_| {});
        }
        let waiting = self.sought.entry(tag.clone()).or_default();
        let is_same = |known: &Waiting| {
            known.request.method == request.method
                && message::cseq(&known.request.headers) == message::cseq(&request.headers)
        };
        if waiting.len() < OF_DIALOG_MAX && !waiting.iter().any(is_same) {
            waiting.push(Waiting { flow: *flow, request });
        }
        if !is_known {
            self.core.events.push_back(Event::Sought { tag });
        }
    }
}

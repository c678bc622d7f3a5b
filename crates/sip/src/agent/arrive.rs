//! Requests that arrive: validated, refused out of hand, or given to their session (RFC 3261 section 8.2).
//!
//! What is refused here gets a stateless answer. A transaction and a session are made for a good INVITE only.

use std::sync::Arc;

use model::Now;
use sipx_sip::{Finding, HeaderName, Method, Request, Scheme, validate_request};

use super::{Agent, abilities};
use crate::event::SessionId;
use crate::flow::Flow;
use crate::gate::{Admission, Gate, GateRequest, Pass};
use crate::message;
use crate::session::{Input, Invitation, Session, negotiate};

/// When to try again after a refusal at a limit: long enough for calls to end, short enough for a client that
/// has no other recorder.
const RETRY_AFTER_SECONDS: u32 = 10;

impl<G: Gate> Agent<G> {
    /// Refuses what is no proper request. A missing Max-Forwards matters only to proxies, and a name in From or
    /// To that lacks its quotes is no reason to lose a recording.
    pub(super) fn is_valid(&mut self, flow: &Flow, request: &Request) -> bool {
        let findings = validate_request(request);
        let is_readable = |name| {
            let value = request.headers.value(&name);
            value.is_some_and(|value| message::lenient_address(&value).is_some())
        };
        let is_tolerable = |finding: &&Finding| match finding {
            Finding::MalformedRequiredHeader("From") => is_readable(HeaderName::From),
            Finding::MalformedRequiredHeader("To") => is_readable(HeaderName::To),
            finding => finding.is_repairable(),
        };
        let Some(finding) = findings.iter().find(|finding| !is_tolerable(finding)) else { return true };
        self.core.counts.malformed += 1;
        let answerable =
            [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq]
                .iter()
                .all(|name| request.headers.get(name).is_some());
        if answerable {
            let reason = if finding.status() == 505 { "Version Not Supported" } else { "Bad Request" };
            self.core.refuse(flow, request, finding.status(), reason, &[]);
        }
        false
    }

    /// A request that no transaction knows.
    pub(super) fn on_request(&mut self, now: Now, flow: &Flow, request: Request) {
        if request.method == Method::Cancel {
            return self.on_cancel(now, flow, &request);
        }
        if message::header_tag(&request.headers, &HeaderName::To).is_some() {
            return self.on_request_within(now, flow, request);
        }
        match request.method {
            Method::Invite | Method::Options => {
                let Some(pass) = self.admits(now, flow, &request, None) else { return };
                self.on_admitted(now, flow, &request, pass);
            }
            Method::Bye | Method::Info | Method::Update | Method::Prack => self.no_dialog(flow, &request),
            _ => {
                let allow = (HeaderName::Allow, message::ALLOW.to_owned());
                self.core.refuse(flow, &request, 405, "Method Not Allowed", &[allow]);
            }
        }
    }

    /// An INVITE or OPTIONS outside a dialog.
    fn on_admitted(&mut self, now: Now, flow: &Flow, request: &Request, pass: Option<Arc<Pass>>) {
        if !matches!(request.uri.scheme(), Scheme::Sip | Scheme::Sips | Scheme::Tel) {
            return self.core.refuse(flow, request, 416, "Unsupported URI Scheme", &[]);
        }
        if request.method == Method::Invite {
            self.on_invite(now, flow, request, pass);
        } else if self.understands(flow, request) {
            self.core.reply(flow, request, 200, "OK", abilities);
        }
    }

    /// Asks the gate; what it refuses is answered.
    pub(super) fn admits(
        &mut self,
        now: Now,
        flow: &Flow,
        request: &Request,
        within: Option<SessionId>,
    ) -> Option<Option<Arc<Pass>>> {
        let names = self.core.endpoint.peer_names(flow.id);
        let pass = within.and_then(|id| self.sessions.get(&id)).and_then(|session| session.pass.clone());
        let asked = GateRequest::of(request, flow, &names, pass.as_deref());
        match self.gate.ask(now, &asked) {
            Admission::Admitted(pass) => Some(pass),
            Admission::Refused { status, reason, headers } => {
                let named = |(name, value): (String, String)| (HeaderName::parse(&name.into()), value);
                let headers: Vec<_> = headers.into_iter().map(named).collect();
                self.core.refuse(flow, request, status, reason, &headers);
                None
            }
        }
    }

    pub(super) fn on_request_within(&mut self, now: Now, flow: &Flow, request: Request) {
        let Some(id) = self.session_of(&request) else { return self.seek(now, flow, request) };
        // Those who talk already may go on over the limit, so that they can hang up.
        let transactions_max = self.core.config.transactions_max;
        if self.core.endpoint.len() >= transactions_max + transactions_max / 4 {
            return self.over_limit(flow, &request);
        }
        let may_ask = |session: &mut Session| request.method == Method::Bye || session.may_ask(now);
        if !self.sessions.get_mut(&id).is_some_and(may_ask) {
            return self.over_limit(flow, &request);
        }
        if self.admits(now, flow, &request, Some(id)).is_some() && self.understands(flow, &request) {
            self.input(now, id, Input::Request(flow, request));
        }
    }

    fn on_invite(&mut self, now: Now, flow: &Flow, request: &Request, pass: Option<Arc<Pass>>) {
        if self.core.endpoint.is_merged(request) {
            return self.core.refuse(flow, request, 482, "Loop Detected", &[]);
        }
        if !self.understands(flow, request) {
            return;
        }
        if self.is_full() {
            return self.over_limit(flow, request);
        }
        let terms = match negotiate(&self.core.config, &request.headers) {
            Ok(terms) => terms,
            Err(least) => {
                let least = (HeaderName::MinSe, least.as_secs().to_string());
                return self.core.refuse(flow, request, 422, "Session Interval Too Small", &[least]);
            }
        };
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let session = Session::invited(&mut self.core, now, id, flow, request, Invitation { terms, pass });
        self.by_tag.insert(session.dialog.local_tag.clone(), id);
        self.sessions.insert(id, session);
    }

    fn on_cancel(&mut self, now: Now, flow: &Flow, request: &Request) {
        let Some((invite, owner)) = self.core.endpoint.cancelled(request) else {
            return self.no_dialog(flow, request);
        };
        // Section 9.2: 200 to the CANCEL in any case; 487 to the INVITE if it is not answered yet.
        self.core.reply(flow, request, 200, "OK", |_| {});
        let is_first = owner.and_then(|id| self.sessions.get(&id)).is_some_and(|s| s.is_invited_by(invite));
        if let (true, Some(id)) = (is_first, owner) {
            let info = self.core.read(request, flow);
            self.input(now, id, Input::Cancelled(info));
        }
    }

    /// An ACK that no transaction took: of a 2xx, or of nothing.
    pub(super) fn on_ack(&mut self, now: Now, request: &Request) {
        match self.session_of(request) {
            Some(id) => self.input(now, id, Input::Ack(request.clone())),
            None => self.core.counts.stray += 1,
        }
    }

    pub(super) fn session_of(&self, request: &Request) -> Option<SessionId> {
        let tag = message::header_tag(&request.headers, &HeaderName::To)?;
        let id = *self.by_tag.get(std::str::from_utf8(&tag).ok()?)?;
        self.sessions.get(&id).filter(|session| session.dialog.is_of(&request.headers)).map(|_| id)
    }

    /// Section 8.2.2.3: what is required and not understood is refused by name.
    fn understands(&mut self, flow: &Flow, request: &Request) -> bool {
        let mut unknown: Vec<String> = Vec::new();
        for header in request.headers.get_all(&HeaderName::Require) {
            for tag in
                header.value().split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty())
            {
                if !message::UNDERSTOOD.iter().any(|known| tag.eq_ignore_ascii_case(known.as_bytes())) {
                    unknown.push(String::from_utf8_lossy(tag).into_owned());
                }
            }
        }
        if unknown.is_empty() {
            return true;
        }
        self.core.refuse(
            flow,
            request,
            420,
            "Bad Extension",
            &[(HeaderName::Unsupported, unknown.join(", "))],
        );
        false
    }

    pub(super) fn no_dialog(&mut self, flow: &Flow, request: &Request) {
        self.core.refuse(flow, request, 481, "Call/Transaction Does Not Exist", &[]);
    }

    pub(super) fn over_limit(&mut self, flow: &Flow, request: &Request) {
        self.core.counts.refused_at_limit += 1;
        let retry = (HeaderName::RetryAfter, RETRY_AFTER_SECONDS.to_string());
        self.core.refuse(flow, request, 503, "Service Unavailable", &[retry]);
    }
}

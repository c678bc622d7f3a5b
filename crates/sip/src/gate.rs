//! The gate: who asks is judged before anything is made of a request, so that a stranger costs an answer only.
//!
//! An [`Agent`](crate::Agent) asks its gate before an INVITE or OPTIONS outside a dialog, and before any request
//! within one, gets to work. ACK is never asked about, for nothing answers it; nor is CANCEL, which cannot be sent
//! again with credentials (RFC 3261 section 22.1). What is refused gets a stateless answer.

use std::sync::Arc;

use model::Now;
use sipx_sip::{HeaderName, Request, Uri};

use crate::flow::Flow;
use crate::message;
use crate::request::text;

/// Credentials looked at in one request: one for us, some for proxies on the way.
const CREDENTIALS_MAX: usize = 8;

/// By what a dialog was let in; its later requests are asked about with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pass {
    /// The name of what let it in.
    pub by: Arc<str>,
    /// Who proved to be a user.
    pub user: Option<Arc<str>>,
}

/// What a gate is told of a request.
#[derive(Clone, Debug)]
pub struct GateRequest<'a> {
    /// Its method.
    pub method: &'a str,
    /// The flow that it came by.
    pub flow: Flow,
    /// Who the peer has proved to be, as in [`RequestInfo`](crate::RequestInfo).
    pub peer_names: &'a [String],
    /// The host of its Request-URI, in small letters; empty where that has none.
    pub uri_host: String,
    /// The host of To, in small letters; empty where that has none.
    pub to_host: String,
    /// The values of `Authorization`.
    pub authorization: Vec<String>,
    /// The pass of the dialog that it belongs to; none outside.
    pub pass: Option<&'a Pass>,
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It goes on.
    Admitted(Option<Arc<Pass>>),
    /// It is refused.
    Refused {
        /// The status code, 300 to 699.
        status: u16,
        /// The reason phrase.
        reason: &'static str,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
}

/// Who judges.
pub trait Gate {
    /// Judges a request.
    fn ask(&mut self, now: Now, request: &GateRequest<'_>) -> Admission;

    /// Whether a call that comes by this flow may be let in, as far as that can be told before it is read. One that may
    /// not is refused unread, and is counted here.
    fn expects(&mut self, _flow: &Flow, _peer_names: &[String]) -> bool {
        true
    }
}

/// Lets everybody in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenGate;

impl Gate for OpenGate {
    fn ask(&mut self, _now: Now, _request: &GateRequest<'_>) -> Admission {
        Admission::Admitted(None)
    }
}

impl<'a> GateRequest<'a> {
    pub(crate) fn of(
        request: &'a Request,
        flow: &Flow,
        peer_names: &'a [String],
        pass: Option<&'a Pass>,
    ) -> Self {
        let to = request.headers.value(&HeaderName::To).and_then(|value| message::lenient_address(&value));
        let authorization = request.headers.get_all(&HeaderName::Authorization).take(CREDENTIALS_MAX);
        Self {
            method: std::str::from_utf8(request.method.as_bytes()).unwrap_or_default(),
            flow: *flow,
            peer_names,
            uri_host: host(&request.uri),
            to_host: to.map(|to| host(&to.uri)).unwrap_or_default(),
            authorization: authorization.map(|header| text(&header.value())).collect(),
            pass,
        }
    }
}

/// The brackets of an IPv6 address are left out.
fn host(uri: &Uri) -> String {
    let host = uri.host().map(|host| text(&host.to_bytes())).unwrap_or_default();
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

//! What a session sends on its own account: ACK, BYE, INFO and UPDATE, CANCEL.

use model::Now;
use sipx_sip::{HeaderName, Message, Method};

use super::{Acked, Session};
use crate::core::Core;
use crate::dialog::Dialog;
use crate::event::{Body, SessionId};
use crate::flow::Transport;
use crate::message;
use crate::timers::TxId;

impl Session {
    /// The ACK of a 2xx is no part of the INVITE's transaction (section 13.2.2.4).
    pub(super) fn send_ack(&mut self, core: &mut Core, cseq: u32, body: Option<Body>) {
        let way = self.dialog.way(core);
        let mut request = self.dialog.request(core, Method::Ack, &way, Some(cseq));
        self.prove(core, &mut request);
        message::end_request(&mut request, body);
        let bytes = Message::Request(request).to_bytes();
        core.endpoint.send(way.to, bytes.clone());
        self.acked = Some(Box::new(Acked { cseq, to: way.to, bytes }));
    }

    pub(super) fn send_bye(
        &mut self,
        core: &mut Core,
        now: Now,
        reason: Option<&str>,
        owner: Option<SessionId>,
    ) -> TxId {
        let way = self.dialog.way(core);
        let mut request = self.dialog.request(core, Method::Bye, &way, None);
        if let Some(reason) = reason {
            message::push(&mut request.headers, HeaderName::Reason, reason.to_owned());
        }
        self.prove(core, &mut request);
        message::end_request(&mut request, None);
        core.endpoint.open_client(now.mono, way.to, way.transport, request, owner)
    }

    /// INFO or UPDATE without SDP.
    pub(super) fn tell(
        &mut self,
        core: &mut Core,
        now: Now,
        method: Method,
        extra: &[(String, String)],
        body: Option<Body>,
    ) {
        let way = self.dialog.way(core);
        let is_update = method == Method::Update;
        let mut request = self.dialog.request(core, method, &way, None);
        if is_update {
            let contact = self.contact(core);
            message::push(&mut request.headers, HeaderName::Contact, contact);
            self.write_refresh(&mut request.headers);
        }
        message::push_extra(&mut request.headers, extra);
        self.prove(core, &mut request);
        message::end_request(&mut request, body);
        core.endpoint.open_client(now.mono, way.to, way.transport, request, Some(self.id));
    }
}

/// A CANCEL repeats the head of its INVITE, Via included (section 9.1).
pub(super) fn send_cancel(core: &mut Core, now: Now, invite: TxId) {
    let (Some(request), Some(to)) = (core.endpoint.request(invite), core.endpoint.route(invite)) else {
        return;
    };
    let mut cancel = sipx_sip::Request::new(Method::Cancel, request.uri.clone());
    for header in request.headers.iter() {
        match header.name() {
            HeaderName::Via
            | HeaderName::Route
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::MaxForwards => {
                cancel.headers.push(header.clone());
            }
            _ => {}
        }
    }
    let cseq = message::cseq(&request.headers).unwrap_or(0);
    let via = message::own(&request.headers, &HeaderName::Via);
    let token = via.split(|b| matches!(b, b'/' | b' ')).nth(2).unwrap_or_default();
    let transport = Transport::of_token(token).unwrap_or(Transport::Udp);
    message::push(&mut cancel.headers, HeaderName::CSeq, format!("{cseq} CANCEL"));
    message::end_request(&mut cancel, None);
    core.endpoint.open_client(now.mono, to, transport, cancel, None);
}

/// Section 13.2.2.4: each 2xx of a fork is acknowledged, and all but one are ended.
pub(super) fn end_fork(core: &mut Core, now: Now, mut fork: Dialog, cseq: u32) {
    let way = fork.way(core);
    let mut ack = fork.request(core, Method::Ack, &way, Some(cseq));
    message::end_request(&mut ack, None);
    core.endpoint.send(way.to, Message::Request(ack).to_bytes());
    let mut bye = fork.request(core, Method::Bye, &way, None);
    message::end_request(&mut bye, None);
    core.endpoint.open_client(now.mono, way.to, way.transport, bye, None);
}

//! A dialog written down, and made of what another agent wrote.

use std::net::SocketAddr;

use bytes::Bytes;
use sipx_sip::Uri;

use super::{Dialog, ROUTES_MAX, Reach, route_uri};
use crate::flow::{Flow, FlowId};
use crate::portrait::DialogPortrait;

/// No flow of ours has this number: so a dialog goes where its route set and target lead, and else to where its peer was
/// heard by the other agent, until it is heard here.
const NO_FLOW: FlowId = FlowId(u64::MAX);
/// How many requests the other agent may have sent that nobody here knows of: refreshes, offers and questions for
/// metadata of some hours.
const CSEQ_AHEAD: u32 = 1_000;

impl Dialog {
    /// None where something of it is no text: then it cannot be carried on as it was.
    pub(crate) fn portrait(&self) -> Option<DialogPortrait> {
        let (transport, peer) = match &self.reach {
            Reach::Heard(flow) => (flow.transport, flow.remote),
            Reach::Sent(to, _) => to.address()?,
        };
        let target = match &self.target {
            Some(uri) => Some(text(&uri.to_bytes())?),
            None => None,
        };
        Some(DialogPortrait {
            call_id: text(&self.call_id)?,
            local_tag: self.local_tag.clone(),
            remote_tag: text(&self.remote_tag)?,
            local: text(&self.local)?,
            remote: text(&self.remote)?,
            local_cseq: self.local_cseq,
            remote_cseq: self.remote_cseq,
            target,
            routes: self.routes.iter().map(|route| text(route)).collect::<Option<_>>()?,
            is_sips: self.is_sips,
            transport,
            peer,
        })
    }

    /// The dialog that another agent had, here by this address of ours. The peer may send its last request again, which
    /// the other agent may or may not have answered: it is taken once more.
    pub(crate) fn of_portrait(portrait: &DialogPortrait, local: SocketAddr) -> Option<Self> {
        let target = match &portrait.target {
            Some(uri) => Some(Uri::parse(Bytes::from(uri.clone())).ok()?),
            None => None,
        };
        let routes: Vec<Bytes> = portrait.routes.iter().map(|route| Bytes::from(route.clone())).collect();
        if routes.len() > ROUTES_MAX || routes.iter().any(|route| route_uri(route).is_none()) {
            return None;
        }
        let (transport, remote) = (portrait.transport, portrait.peer);
        Some(Self {
            call_id: portrait.call_id.clone().into(),
            local_tag: portrait.local_tag.clone(),
            remote_tag: portrait.remote_tag.clone().into(),
            local: portrait.local.clone().into(),
            remote: portrait.remote.clone().into(),
            local_cseq: portrait.local_cseq.saturating_add(CSEQ_AHEAD),
            remote_cseq: portrait.remote_cseq.map(|last| last.saturating_sub(1)),
            target,
            routes,
            reach: Reach::Heard(Flow { id: NO_FLOW, transport, local, remote }),
            is_sips: portrait.is_sips,
        })
    }
}

fn text(octets: &[u8]) -> Option<String> {
    String::from_utf8(octets.to_vec()).ok()
}

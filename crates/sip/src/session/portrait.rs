//! A session written down, and made of what another agent wrote.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::Now;

use super::{Exchange, Peer, Session, State};
use crate::core::Core;
use crate::dialog::Dialog;
use crate::event::SessionId;
use crate::gate::Pass;
use crate::portrait::Portrait;

impl Session {
    /// None while there is no dialog, or when it is about to end.
    pub(crate) fn portrait(&self) -> Option<Portrait> {
        if !matches!(self.state, State::Established(_)) || self.leaving.is_some() {
            return None;
        }
        let pass = self.pass.as_deref();
        Some(Portrait {
            dialog: self.dialog.portrait()?,
            update: self.peer.update,
            sdp: String::from_utf8(self.sdp.to_vec()).ok()?,
            contact_params: self.contact_params.to_string(),
            refresh: self.refreshed().map(|(interval, ours)| (interval.as_secs(), ours)),
            pass: pass.map(|pass| (pass.by.to_string(), pass.user.as_deref().map(str::to_owned))),
            is_caller: self.is_caller,
        })
    }

    /// The session that another agent had, with nothing under way.
    pub(crate) fn adopted(
        core: &mut Core,
        now: Now,
        id: SessionId,
        portrait: &Portrait,
        local: SocketAddr,
    ) -> Option<Self> {
        let pass = |(by, user): &(String, Option<String>)| Pass {
            by: Arc::from(by.as_str()),
            user: user.as_deref().map(Arc::from),
        };
        let mut session = Self {
            id,
            dialog: Dialog::of_portrait(&portrait.dialog, local)?,
            state: State::Established(Exchange::Idle),
            peer: Peer { update: portrait.update, reliable: false },
            refresh: None,
            sdp: Bytes::from(portrait.sdp.clone()),
            contact_params: portrait.contact_params.as_str().into(),
            unacked: None,
            provisional: None,
            queued: None,
            wanted: None,
            leaving: None,
            acked: None,
            glares: 0,
            proving: None,
            pass: portrait.pass.as_ref().map(|known| Arc::new(pass(known))),
            is_caller: portrait.is_caller,
            asked: now.mono,
        };
        if let Some((seconds, ours)) = portrait.refresh {
            session.run_adopted(core, now, (Duration::from_secs(seconds), ours));
        }
        session.dialog.look_up(core);
        Some(session)
    }
}

//! Calls that come to this proxy from others, and go to them: what the machines decide of that is done here.
//!
//! ```text
//!  touched ──► Front::snapshot ──► Custody::keep ──► a record server
//!  Sought, Offer ──► Custody ──► Carry ──► RecordServers, Agent, Front have it
//!                           └──► Forget ──► none of them has it any more
//!  touched ──► Front::sighting ──► Custody ──► record servers ──► another proxy's Front::heard_of
//! ```

use std::collections::BTreeSet;

use call::{Carried, CustodyStep, Front, PeerEvent, Snapshot};
use model::{CallId, PeerName, SegmentId};
use sip::{Event, SessionId};

use super::FrontTask;
use crate::clock::now;
use crate::servers::News;

impl FrontTask {
    /// What the agent tells.
    pub(super) fn hear(&mut self, event: Event) {
        match (event, &mut self.servers.custody) {
            (Event::Sought { tag }, Some(custody)) => {
                // One that stops takes a call to end it, and no other.
                let takes = !self.is_leaving || self.driver.with(|agent, _| agent.put_off(&tag));
                if takes {
                    custody.sought(now().mono, tag);
                }
            }
            (Event::Sought { tag }, None) => self.driver.with(|agent, _| agent.not_found(&tag)),
            (event, _) => self.place(event),
        }
    }

    /// What follows for the calls that others have, or may have. Whether that was anything.
    pub(super) fn hand_on(&mut self) -> bool {
        self.take_news();
        let was_kept = self.keep_touched();
        let Some(custody) = &mut self.servers.custody else { return false };
        if let Some((call, other)) = custody.poll_elsewhere() {
            let on = self.servers.machine.places_of(call);
            self.front.heard_of(now(), call, &other, &on);
            return true;
        }
        let Some(step) = custody.poll_step() else { return was_kept };
        match step {
            CustodyStep::Tell(to, said) => self.servers.tell(&to, said),
            CustodyStep::Carry(carried) => self.carry(*carried),
            // One that has come here meanwhile is taken.
            CustodyStep::NotFound { tag } => self.driver.with(|agent, now| agent.found(now, &tag)),
            CustodyStep::Forget { call, at } => self.forget(call, &at),
        }
        true
    }

    fn take_news(&mut self) {
        let Some(custody) = &mut self.servers.custody else { return };
        let (front, now) = (&self.front, now());
        let judge = |octets: &[u8]| judge(front, octets);
        custody.handle_timeout(now.mono, &judge);
        while let Some(news) = self.servers.news.pop_front() {
            match news {
                News::Linked(name) => custody.linked(&name),
                News::Unlinked(name) => custody.unlinked(now.mono, &name, &judge),
                News::Said(name, said) => custody.handle(now.mono, &name, said, &judge),
            }
        }
    }

    /// Calls that have changed are told to who keeps them, some at a time; whether there were any. One that is not settled is
    /// when it is.
    fn keep_touched(&mut self) -> bool {
        if self.servers.custody.is_none() {
            return false;
        }
        let turn = self.servers.take_stale(now().mono, self.front.take_touched());
        let Some(custody) = &mut self.servers.custody else { return false };
        for call in turn.iter().copied() {
            let on = self.servers.machine.places_of(call);
            custody.sighted(call, self.front.sighting(call, on));
            if !self.front.has(call) {
                custody.over(call);
                continue;
            }
            let snapshot = self.front.snapshot(now(), call, self.driver.agent(), &self.servers.machine);
            if let Some((snapshot, octets)) = snapshot.and_then(|s| s.write().map(|octets| (s, octets))) {
                custody.keep(call, snapshot.home(), snapshot.tags(), octets);
            }
        }
        !turn.is_empty()
    }

    /// A call of another proxy is ours.
    fn carry(&mut self, carried: Carried) {
        let Carried { call, snapshot, live, missed, tags } = carried;
        let mut is_carried = false;
        match Snapshot::read(snapshot.expose()) {
            Ok(snapshot) => match self.adopt_dialogs(&snapshot) {
                Some(sessions) => {
                    is_carried = true;
                    tracing::info!(%call, dialogs = sessions.len(), "a call of another proxy is carried on");
                    self.servers.machine.adopt(now(), &snapshot, &live);
                    self.front.adopt(now(), snapshot, &sessions);
                    for (name, report) in missed {
                        self.servers.machine.handle_event(now(), &name, PeerEvent::Report(report));
                    }
                }
                None => {
                    tracing::error!(%call, "a call of another proxy cannot be carried on: a dialog of it is none");
                }
            },
            // It was read before it was asked for.
            Err(e) => tracing::error!(%call, "a call of another proxy cannot be carried on: {e}"),
        }
        if let Some(custody) = self.servers.custody.as_mut().filter(|_| !is_carried) {
            custody.failed(call);
        }
        for tag in tags {
            self.driver.with(|agent, now| agent.found(now, &tag));
        }
    }

    fn adopt_dialogs(&mut self, snapshot: &Snapshot) -> Option<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for dialog in snapshot.dialogs() {
            let (transport, peer) = dialog.came_from();
            let local = self.driver.address(transport, peer);
            match self.driver.with(|agent, now| agent.adopt(now, dialog, local)) {
                Some(session) => sessions.push(session),
                None => {
                    self.forget_sessions(sessions);
                    return None;
                }
            }
        }
        Some(sessions)
    }

    /// A call of ours is another's.
    fn forget(&mut self, call: CallId, at: &PeerName) {
        if self.is_leaving {
            tracing::info!(%call, "another proxy carries on a call of this one, which stops");
        } else {
            tracing::warn!(%call, record_server = %at, "another proxy carries on a call of this one");
        }
        let sessions = self.front.forget_quietly(call);
        self.forget_sessions(sessions);
        self.servers.forget_call(now(), call, at);
    }

    fn forget_sessions(&mut self, sessions: impl IntoIterator<Item = SessionId>) {
        for session in sessions {
            // It may have ended just now.
            let _ = self.driver.with(|agent, _| agent.forget(session));
        }
    }
}

/// The segments of a state that can be carried on here.
fn judge(front: &Front, octets: &[u8]) -> Option<BTreeSet<SegmentId>> {
    let snapshot = Snapshot::read(octets).ok()?;
    front.may_adopt(&snapshot).then(|| snapshot.segments())
}

//! Calls that come to a proxy from others, and go to them: the real machine, and a shell as thin as the real one.
//!
//! ```text
//!  touched ──► Front::snapshot ──► Custody::keep ──► a record server
//!  Sought, Offer ──► Custody ──► Carry ──► RecordServers, Agent, Front have it
//!                           └──► Forget ──► none of them has it any more
//! ```

use std::collections::BTreeSet;

use call::{Carried, CustodyStep, Front, PeerEvent, Snapshot};
use model::custody::{FromKeeper, ToKeeper};
use model::{CallId, Now, PeerName, SegmentId};
use sip::{Event, SessionId};

use super::{Proxy, address, holds};
use crate::core::{Core, FromProxy};
use crate::truth::carrying::Adopted;
use crate::wrong::Wrong;

/// What concerns whose calls are, as it came.
pub(super) enum News {
    Linked(PeerName),
    Unlinked(PeerName),
    Said(PeerName, FromKeeper),
}

impl Proxy {
    /// What the agent tells.
    pub(super) fn hear(&mut self, now: Now, event: Event) {
        match event {
            Event::Sought { tag } => self.custody.sought(now.mono, tag),
            event => self.front.handle_event(now, event),
        }
    }

    /// A record server said something of whose a call is.
    pub(super) fn was_told(&mut self, now: Now, server: usize, link: u64, said: FromKeeper) {
        if self.links[server] == Some(link) {
            let name = self.names[server].clone();
            self.servers.handle_event(now, &name, PeerEvent::Alive);
            self.news.push_back(News::Said(name, said));
        }
    }

    /// What of an event of a link concerns whose calls are; whether it is for the table of record servers now.
    pub(super) fn note_news(&mut self, name: &PeerName, event: &PeerEvent) -> bool {
        match event {
            PeerEvent::Up(_) => self.news.push_back(News::Linked(name.clone())),
            PeerEvent::Closed(_) => self.news.push_back(News::Unlinked(name.clone())),
            PeerEvent::Report(report) => return !self.custody.set_aside(name, report),
            PeerEvent::Beat(_) | PeerEvent::Alive => {}
        }
        true
    }

    /// What follows for the calls that others have, or may have. Whether that was anything.
    pub(super) fn hand_on(&mut self, core: &mut Core, now: Now) -> bool {
        self.take_news(core, now);
        let was_kept = self.keep_touched(core, now);
        let Some(step) = self.custody.poll_step() else { return was_kept };
        match step {
            CustodyStep::Tell(to, said) => self.tell(core, &to, said),
            CustodyStep::Carry(carried) => self.carry(core, now, *carried),
            CustodyStep::NotFound { tag } => self.agent.found(now, &tag),
            CustodyStep::Forget { call, at } => self.forget(core, now, call, &at),
        }
        true
    }

    fn take_news(&mut self, core: &mut Core, now: Now) {
        let (front, custody) = (&self.front, &mut self.custody);
        let judge = |octets: &[u8]| judge(front, octets);
        custody.handle_timeout(now.mono, &judge);
        while let Some(news) = self.news.pop_front() {
            match news {
                News::Linked(name) => custody.linked(&name),
                News::Unlinked(name) => custody.unlinked(now.mono, &name, &judge),
                News::Said(_, FromKeeper::Offer { .. }) if core.is_wrong(Wrong::TakesNoOffer) => {}
                News::Said(name, said) => custody.handle(now.mono, &name, said, &judge),
            }
        }
    }

    /// Calls that have changed are told to who keeps them.
    fn keep_touched(&mut self, core: &mut Core, now: Now) -> bool {
        self.custody.changed(self.front.take_touched());
        // Links are fast: there is room for what is to be told.
        let touched = self.custody.take_stale(now.mono, |_| true);
        if !touched.is_empty() {
            let agent = &self.agent;
            core.truth.tag(self.index, |session| Some(agent.portrait(session)?.tag().to_owned()));
        }
        for call in touched.iter().copied() {
            if !self.front.has(call) {
                if !core.is_wrong(Wrong::ReleasesNothing) {
                    self.custody.over(call);
                }
                continue;
            }
            let snapshot = self.front.snapshot(now, call, &self.agent, &self.servers);
            if let Some((snapshot, octets)) = snapshot.and_then(|s| s.write().map(|octets| (s, octets))) {
                self.custody.keep(call, snapshot.home(), snapshot.tags(), octets);
            }
        }
        !touched.is_empty()
    }

    /// Tells a record server of whose a call is.
    fn tell(&self, core: &mut Core, to: &PeerName, said: ToKeeper) {
        if core.log.keeps && !matches!(said, ToKeeper::Present { .. }) {
            core.say(format_args!("p{} ► {to}: {}", self.index, in_short(&said)));
        }
        self.send(core, to, FromProxy::Custody(said));
    }

    /// A call of another proxy is this one's.
    fn carry(&mut self, core: &mut Core, now: Now, carried: Carried) {
        let Carried { call, snapshot, live, missed, tags } = carried;
        let snapshot = Snapshot::read(snapshot.expose()).ok();
        let adopted = snapshot.and_then(|snapshot| Some((self.adopt_dialogs(now, &snapshot)?, snapshot)));
        core.say(format_args!("p{} carries on {call}: {}", self.index, adopted.is_some()));
        match adopted {
            Some((sessions, snapshot)) => {
                let dialogs = snapshot.dialogs().zip(&sessions).map(|(dialog, session)| Adopted {
                    session: *session,
                    tag: dialog.tag().to_owned(),
                    is_held: holds(&dialog.sdp().to_owned().into()),
                });
                core.truth.carried(self.index, call, &snapshot.stages(), dialogs.collect());
                self.servers.adopt(now, &snapshot, &live);
                self.front.adopt(now, snapshot, &sessions);
                for (name, report) in missed {
                    self.servers.handle_event(now, &name, PeerEvent::Report(report));
                }
            }
            None => self.custody.failed(call),
        }
        tags.iter().for_each(|tag| self.agent.found(now, tag));
    }

    fn adopt_dialogs(&mut self, now: Now, snapshot: &Snapshot) -> Option<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for dialog in snapshot.dialogs() {
            let Some(session) = self.agent.adopt(now, dialog, address(self.index)) else {
                self.forget_sessions(sessions);
                return None;
            };
            sessions.push(session);
        }
        Some(sessions)
    }

    /// A call is another's.
    fn forget(&mut self, core: &mut Core, now: Now, call: CallId, at: &PeerName) {
        core.say(format_args!("p{} has lost {call}", self.index));
        if core.is_wrong(Wrong::ForgetsNothing) {
            return;
        }
        let sessions = self.front.forget_quietly(call);
        core.truth.forgotten(self.index, &sessions);
        self.forget_sessions(sessions);
        self.servers.forget_call(now, call, at);
    }

    fn forget_sessions(&mut self, sessions: impl IntoIterator<Item = SessionId>) {
        // One may have ended just now.
        sessions.into_iter().for_each(|session| _ = self.agent.forget(session));
    }
}

/// The segments of a state that can be carried on here.
fn judge(front: &Front, octets: &[u8]) -> Option<BTreeSet<SegmentId>> {
    let snapshot = Snapshot::read(octets).ok()?;
    front.may_adopt(&snapshot).then(|| snapshot.segments())
}

fn in_short(said: &ToKeeper) -> String {
    match said {
        ToKeeper::Keep { call, stand, .. } => format!("keep {call} as {}.{}", stand.epoch, stand.version),
        said => format!("{said:?}"),
    }
}

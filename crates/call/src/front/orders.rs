//! Orders of people and programs to live calls: start, stop, pause, resume; by API, and by headers of clients.
//!
//! Here they are read, and it is said how far each reaches; [pauses](super::pauses) and [stops](super::stops) are carried
//! out elsewhere.

use model::{CallId, Incident, Now, PauseSource, TenantId};
use sip::{RequestInfo, SessionId};

use super::Front;
use super::stops::Came;
use crate::command::{Ask, Changed, Command, CommandError, Done, Recording};
use crate::pausing::Asker;
use crate::reach::Reach;
use crate::signals::{self, Signal};

impl Front {
    /// Carries out an order of a person or a program, as far as it can be at once: see [`Done::awaits`].
    ///
    /// # Errors
    /// When the tenant has no such call here, when it is over, or when it cannot be done now.
    pub fn handle_command(&mut self, now: Now, command: Command) -> Result<Done, CommandError> {
        self.is_in_progress(command.call, &command.tenant)?;
        let call = self.calls.resolve(command.call);
        self.touch(call);
        let by = PauseSource::Api(command.by.clone());
        let changed = match command.ask {
            Ask::Pause { timeout } => self.pause(now, call, Asker::Order, by, timeout),
            Ask::Resume => self.resume(now, call, Asker::Order, &by),
            Ask::Stop => self.stop(now, call, Reach::Order, command.by, Came::Alone),
            Ask::Start => self.start(now, call, &Reach::Order, command.by, Came::Alone)?,
        };
        self.indicate(call);
        Ok(self.done(now, call, changed))
    }

    /// Whether a call of the tenant is in progress here.
    ///
    /// # Errors
    /// When the tenant has no such call here, or when it is over.
    pub fn is_in_progress(&self, call: CallId, tenant: &TenantId) -> Result<(), CommandError> {
        let live = self.calls.get(self.calls.resolve(call)).filter(|c| c.record.tenant == *tenant);
        let live = live.ok_or(CommandError::NoSuchCall)?;
        if live.legs.is_empty() { Err(CommandError::NotLive) } else { Ok(()) }
    }

    /// Whether a call goes on. One that ended does not, though its last segments may not be sealed yet.
    #[must_use]
    pub fn goes_on(&self, call: CallId) -> bool {
        self.calls.get(self.calls.resolve(call)).is_some_and(|c| c.record.ended.is_none())
    }

    /// How a call stands.
    pub(super) fn done(&self, now: Now, call: CallId, changed: Changed) -> Done {
        let Some(live) = self.calls.get(call) else {
            return Done { call, recording: Recording::Off, changed, awaits: Vec::new() };
        };
        let recording = match live.pausing.open() {
            _ if live.stopped().is_some() => Recording::Off,
            Some(pause) => Recording::Paused {
                since: pause.since,
                until: live.pausing.until().map(|at| now.wall + at.since(now.mono)),
            },
            None => Recording::On,
        };
        Done { call, recording, changed, awaits: live.awaited() }
    }

    /// What a request orders by a header, before its SDP is looked at.
    pub(super) fn obey_header(&mut self, now: Now, session: SessionId, request: &RequestInfo, came: Came) {
        let Some((signal, by)) = signals::read(request).filter(|_| self.config.orders_by_header) else {
            return;
        };
        let Some(leg) = self.legs.get(&session) else { return };
        let (call, reach, asker) = (leg.call, Reach::Trunk(leg.trunk.name.clone()), Asker::Header(session));
        let who = by.describe();
        match signal {
            Signal::Pause => _ = self.pause(now, call, asker, by, None),
            Signal::Resume => _ = self.resume(now, call, asker, &by),
            Signal::Stop => _ = self.stop(now, call, reach, who, came),
            Signal::Start => {
                if let Err(e) = self.start(now, call, &reach, who, came) {
                    let text = format!("the client ordered to start, which cannot be done: {e}");
                    self.alarm(Incident::NotRecorded, Some(call), None, text);
                }
            }
        }
    }
}

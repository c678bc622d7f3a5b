//! What is different where segments may lie on several record servers.
//!
//! ```text
//!  Order::Open ──► nobody says whether it is opened ──► the same streams as another segment, elsewhere
//!                                                 └──► too late for that: who waits is refused
//!  no record server takes calls ──► 600;  none of those that are reached does ──► 503
//! ```
//!
//! Which of them has which segment is known to [`crate::RecordServers`]; here is one abstract record server.

use std::time::Duration;

use model::peer::FileNames;
use model::{CallId, Failure, NodeNumber, Now, OpenSegment, Route};
use sip::{RequestInfo, SessionId};

use super::{Front, Intake, OPEN_DEADLINE, Timer};
use crate::anchors::Copies;
use crate::leg::Leg;
use crate::live_call::Vain;
use crate::servers::Room;
use crate::trunk::Anchoring;

/// How often the same streams are ordered anew: where three record servers say nothing, something else is wrong.
const ANEW_MAX: u8 = 2;
/// Until when after the first order: a record server is found and answers within three seconds, and until [`OPEN_DEADLINE`]
/// somebody waits for it.
const ANEW_WITHIN: Duration = Duration::from_secs(2);

/// Stands in the Contact of a call that was sent elsewhere, and so in the Request-URI by which it comes there.
const PLACED: &str = "callspool-placed";

/// How many record servers segments may lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Servers {
    One,
    Several,
}

impl Front {
    /// The same over several record servers: a segment that takes over may have other ports, and a call may lie in several
    /// places.
    #[must_use]
    pub fn over_several(mut self) -> Self {
        self.servers = Servers::Several;
        self
    }

    /// The same where what goes through the proxy has so many copies: with two, no call that does has a state before its copies
    /// are gathered.
    #[must_use]
    pub fn with_copies(mut self, copies: Copies) -> Self {
        self.copies = copies;
        self
    }

    /// A segment of a call is to have streams of this leg.
    pub(super) fn note_copies(&mut self, call: CallId, route: Route) {
        if let Some(live) = self.calls.get_mut(call) {
            live.is_doubled |= self.copies == Copies::Two && route == Route::Anchored;
        }
    }

    /// Whether record servers take new calls, from now on.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Who gets the next call that begins, from now on: it is sent there with 302 (RFC 3261 section 8.1.3.4), and the front
    /// of that node does all for it that this one would. None: it is taken here.
    pub fn set_redirect(&mut self, to: Option<String>) {
        self.redirect = to;
    }

    /// Where a call goes that begins by this request, if not here. One that was sent here is kept: two fronts could send it
    /// to and fro.
    pub(super) fn redirects(&self, request: &RequestInfo) -> Option<String> {
        let is_taken = self.intake == Intake::Open && !has_parameter(&request.uri, PLACED);
        let to = self.redirect.as_ref().filter(|_| is_taken)?;
        Some(format!("{to};{PLACED}"))
    }

    /// Nobody said in time whether a segment is opened, and whoever was asked is told that it need not be. It never was: its
    /// number is free, and the same streams are ordered as another segment, while there is time.
    pub fn unanswered(&mut self, now: Now, open: Box<OpenSegment>) {
        let segment = open.segment;
        let Some(call) = self.calls.of_segment(segment) else { return };
        if let Some(live) = self.calls.get_mut(call) {
            // It may be there all the same, under the number that another gets.
            live.files = FileNames::ById;
        }
        let vain = self.calls.get(call).and_then(|live| live.in_vain(segment));
        let is_soon = |vain: &Vain| vain.tries <= ANEW_MAX && now.mono.since(vain.since) <= ANEW_WITHIN;
        match vain.filter(is_soon) {
            _ if self.legs_in(segment).is_empty() => self.withdrawn(now, segment),
            Some(vain) => self.open_anew(now, call, *open, vain),
            None => {
                let why = Failure::Resources("no record server answered".to_owned());
                self.order_refused(now, segment, &why);
            }
        }
    }

    fn open_anew(&mut self, now: Now, call: CallId, open: OpenSegment, vain: Vain) {
        let legs = self.legs_in(open.segment);
        self.timers.clear(Timer::Open(open.segment));
        self.admission.gone(open.segment);
        let from = self.calls.get_mut(call).and_then(|live| live.withdraw(open.segment));
        self.calls.forget_segment(open.segment);
        if let Some(leg) = legs.first().and_then(|session| self.legs.get_mut(session)) {
            leg.keep(open.metadata);
        }
        let moved = legs.into_iter().filter_map(|session| {
            let pending = self.legs.get_mut(&session).map(Leg::take_pending)?;
            Some((session, pending))
        });
        let moved = moved.collect();
        self.open_segment(now, call, moved, open.trigger, from);
        let Some(live) = self.calls.get_mut(call) else { return };
        if let Some(segment) = live.opening() {
            live.stands_in(segment, vain);
            self.timers.set(Timer::Open(segment), vain.since + OPEN_DEADLINE);
        }
    }

    /// By which way the media of a new leg come.
    pub(super) fn route_of(&self, now: Now, leg: &Leg) -> Route {
        let is_anchored = self.servers == Servers::Several
            && match leg.trunk.relay {
                Anchoring::Never => false,
                Anchoring::Always => true,
                Anchoring::OnceRefused => self.refusers.has(now.mono, &leg.trunk.name, leg.client),
            };
        if is_anchored { Route::Anchored } else { Route::Direct }
    }

    /// A client refuses to be told of other ports: media of its next calls go through us, where its trunk wants that.
    pub(super) fn refuses_ports(&mut self, now: Now, session: SessionId) {
        if let Some(leg) = self.legs.get(&session) {
            self.refusers.note(now.mono, leg.trunk.name.clone(), leg.client);
        }
    }

    /// Where every segment lies, when there is one record server only.
    pub(super) fn only_node(&self) -> Option<NodeNumber> {
        (self.servers == Servers::One).then_some(self.config.node)
    }

    /// Why new calls are refused although they are taken.
    pub(super) fn why_full(&self) -> &'static str {
        match self.room {
            Room::Free => "the limit of calls is reached",
            Room::Full => "no record server has room for another call",
            Room::Unreachable => "no record server that takes calls is reached",
        }
    }
}

/// Whether a URI has a parameter (RFC 3261 section 19.1.1).
fn has_parameter(uri: &str, name: &str) -> bool {
    let parameters = uri.split('?').next().unwrap_or_default().split(';').skip(1);
    parameters.map(|p| p.split('=').next().unwrap_or_default()).any(|p| p.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_one_of_the_uri_and_no_header_of_it() {
        for (uri, has) in [
            ("sip:rec1:5060;callspool-placed", true),
            ("sip:4711@rec1;transport=tcp;Callspool-Placed=", true),
            ("sip:rec1", false),
            ("sip:callspool-placed@rec1;x=callspool-placed", false),
            ("sip:rec1?callspool-placed=;callspool-placed", false),
        ] {
            assert_eq!(has_parameter(uri, PLACED), has, "{uri}");
        }
    }
}

//! Who paused a call, and who may resume it. It belongs to the call and outlives its segments.
//!
//! ```text
//!  asked by         ended by
//!  API              API, time-out
//!  INFO, SIP header INFO, SIP header, API, time-out
//!  SDP inactive     SDP active
//! ```
//!
//! A call is paused as long as one of the three asks for it: a re-INVITE never ends what a person ordered, and a
//! button on a phone does not end what the application with the card form began.

use model::{OpenPause, PauseSource};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pausing {
    api: Option<OpenPause>,
    signal: Option<OpenPause>,
    sdp: Option<OpenPause>,
    /// Who asked last, for a pause or its end.
    last: Option<PauseSource>,
}

impl Pausing {
    /// The pause that goes on, as it began.
    pub(crate) fn open(&self) -> Option<&OpenPause> {
        [&self.api, &self.signal, &self.sdp].into_iter().flatten().min_by_key(|p| p.since)
    }

    /// Two calls are one: paused as long as somebody asks for it in either.
    pub(crate) fn join(&mut self, other: Self) {
        let earlier = |a: Option<OpenPause>, b: Option<OpenPause>| match (a, b) {
            (Some(a), Some(b)) => Some(if b.since < a.since { b } else { a }),
            (a, b) => a.or(b),
        };
        self.api = earlier(self.api.take(), other.api);
        self.signal = earlier(self.signal.take(), other.signal);
        self.sdp = earlier(self.sdp.take(), other.sdp);
        self.last = self.last.take().or(other.last);
    }

    /// The dialogs are over, and with them what they asked for. What a person ordered outlives a hold that hangs up.
    pub(crate) fn dialogs_ended(&mut self) {
        (self.signal, self.sdp) = (None, None);
    }

    /// Who asked last.
    pub(crate) fn last(&self) -> PauseSource {
        self.last.clone().unwrap_or(PauseSource::Sdp)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.open().is_some()
    }

    /// Whether somebody ordered it, SDP apart: only that has a time-out.
    pub(crate) fn is_ordered(&self) -> bool {
        self.api.is_some() || self.signal.is_some()
    }

    /// Whether a header beside an offer ordered it: then the client means a pause by `a=inactive`. A key of a
    /// phone says nothing of that.
    pub(crate) fn is_signaled(&self) -> bool {
        self.signal.as_ref().is_some_and(|p| matches!(p.by, PauseSource::Sip(_)))
    }

    /// Whether the client asks for it, in these words.
    pub(crate) fn is_asked_by(&self, by: &PauseSource) -> bool {
        self.signal.as_ref().is_some_and(|p| p.by == *by)
    }

    /// Somebody asks for a pause; false when the same one asked before.
    pub(crate) fn ask(&mut self, pause: OpenPause) -> bool {
        let slot = match pause.by {
            PauseSource::Api(_) => &mut self.api,
            PauseSource::Info(_) | PauseSource::Sip(_) => &mut self.signal,
            PauseSource::Sdp => &mut self.sdp,
            PauseSource::Timeout => return false,
        };
        let is_new = slot.is_none();
        if is_new {
            self.last = Some(pause.by.clone());
        }
        slot.get_or_insert(pause);
        is_new
    }

    /// Somebody asks to go on: ends what they may end. Whether that was anything.
    pub(crate) fn resume(&mut self, by: &PauseSource) -> bool {
        let ended = match by {
            PauseSource::Api(_) | PauseSource::Timeout => {
                let ended = self.is_ordered();
                (self.api, self.signal) = (None, None);
                ended
            }
            PauseSource::Info(_) | PauseSource::Sip(_) => self.signal.take().is_some(),
            PauseSource::Sdp => self.sdp.take().is_some(),
        };
        if ended {
            self.last = Some(by.clone());
        }
        ended
    }
}

/// Whether a segment is to keep what arrives, as far as its record server was told.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: bool,
    /// The number of the last order.
    ordered: u64,
    /// The number of an order that waits until the segment is open.
    reserved: Option<u64>,
    /// The number of the last that was carried out.
    carried_out: u64,
}

impl Gate {
    /// The gate of a segment that begins: open, or closed.
    pub(crate) fn begin(closed: bool) -> Self {
        Self { closed, ..Self::default() }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) const fn set(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// An order of this number will be given when the segment is open; one that waits already stays.
    pub(crate) fn reserve(&mut self, order: u64) {
        let order = *self.reserved.get_or_insert(order);
        self.ordered = order;
    }

    pub(crate) const fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// An order is given: its number, the reserved one if there is one.
    pub(crate) fn order(&mut self, next: u64) -> u64 {
        self.ordered = self.reserved.take().unwrap_or(next);
        self.ordered
    }

    pub(crate) fn carried_out(&mut self, order: u64) {
        self.carried_out = self.carried_out.max(order);
    }

    /// The order that is still to be carried out before the gate stands as told.
    pub(crate) fn awaited(&self) -> Option<u64> {
        (self.carried_out < self.ordered).then_some(self.ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::WallTime;

    #[test]
    fn each_ends_what_it_may_end() {
        let api = || PauseSource::Api("alice".to_owned());
        let info = || PauseSource::Info("Record: off".to_owned());
        let sip = || PauseSource::Sip("X-AC-Action: pause-siprec".to_owned());
        let check = |asked: Vec<PauseSource>, resumed: PauseSource, paused: bool| {
            let mut pausing = Pausing::default();
            for by in &asked {
                pausing.ask(OpenPause { since: WallTime(1), by: by.clone() });
            }
            pausing.resume(&resumed);
            assert_eq!(pausing.is_paused(), paused, "{asked:?} {resumed:?}");
        };
        check(vec![api()], api(), false);
        check(vec![api()], info(), true);
        check(vec![api()], PauseSource::Sdp, true);
        check(vec![api()], PauseSource::Timeout, false);
        check(vec![info()], sip(), false);
        check(vec![info()], api(), false);
        check(vec![info(), PauseSource::Sdp], PauseSource::Sdp, true);
        check(vec![PauseSource::Sdp], api(), true);
        check(vec![PauseSource::Sdp], PauseSource::Sdp, false);
        check(vec![api(), info(), PauseSource::Sdp], api(), true);
    }
}

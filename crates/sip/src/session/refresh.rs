//! The session timer (RFC 4028): what is agreed, and the refresh when it is ours.
//!
//! We run a timer only where the peer asked for one: a recording must not end because a client says it knows
//! timers and then does not refresh. Where it leaves the choice, it refreshes, for it knows best whether the
//! call goes on.

use std::time::Duration;

use model::Now;
use sipx_sip::session::{ABSOLUTE_MIN_INTERVAL, MinSe, Refresher, SessionExpires};
use sipx_sip::{HeaderName, Headers, Method, Response};

use super::{Exchange, Fate, Session, State};
use crate::core::Core;
use crate::event::{AgentConfig, EndCause};
use crate::message;
use crate::timers::{SessionTimer, TxId};

/// RFC 4028 section 10: who does not refresh gives up this long before the end, or a third of the interval.
const GIVE_UP_EARLY: Duration = Duration::from_secs(32);
/// A day: nobody notices a dead call later than this, whatever the peer asks for.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// How soon to try again when something else was under way.
const RETRY: Duration = Duration::from_secs(5);
/// Refusals of one refresh that are followed up at once or nearly: each of several proxies may want a longer
/// interval, and offers may cross more than once.
const REFUSED_MAX: u8 = 5;

/// What a request asks for, decided, to be said in its 2xx.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    interval: Duration,
    refresher: Refresher,
    /// `Require: timer` in the 2xx: the peer must read who refreshes.
    require: bool,
}

/// The timer that runs.
#[derive(Clone, Copy)]
pub(crate) struct Refresh {
    interval: Duration,
    /// The longest `Min-SE` that was asked for (section 7.4); zero: none.
    least: Duration,
    ours: bool,
    /// How often this refresh was refused.
    refused: u8,
    /// The UPDATE that is out.
    pub(super) tx: Option<TxId>,
}

impl Refresh {
    const fn new(interval: Duration, ours: bool) -> Self {
        Self { interval, least: Duration::ZERO, ours, refused: 0, tx: None }
    }
}

/// Decides on a request (section 9). The error is the `Min-SE` for a 422.
pub(crate) fn negotiate(config: &AgentConfig, headers: &Headers) -> Result<Option<Terms>, Duration> {
    let Some(Ok(asked)) = headers.typed::<SessionExpires>() else { return Ok(None) };
    let knows = message::lists(headers, &HeaderName::Supported, "timer")
        || message::lists(headers, &HeaderName::Require, "timer");
    let floor = config.min_se.max(ABSOLUTE_MIN_INTERVAL);
    if asked.interval < floor && knows {
        return Err(floor);
    }
    let by_default = if knows { Refresher::Uac } else { Refresher::Uas };
    let refresher = asked.refresher.unwrap_or(by_default);
    Ok(Some(Terms {
        interval: asked.interval.clamp(ABSOLUTE_MIN_INTERVAL, INTERVAL_MAX),
        refresher,
        require: refresher == Refresher::Uac,
    }))
}

impl Terms {
    /// Says them in a 2xx.
    pub(super) fn write(&self, headers: &mut Headers) {
        let value = format!("{};refresher={}", self.interval.as_secs(), self.refresher.as_str());
        message::push(headers, HeaderName::SessionExpires, value);
        if self.require {
            message::push(headers, HeaderName::Require, "timer");
        }
    }
}

impl Session {
    /// Runs the timer that our 2xx agreed to, or none.
    pub(super) fn run_terms(&mut self, core: &mut Core, now: Now, terms: Option<Terms>) {
        let refresh = terms.map(|t| Refresh::new(t.interval, t.refresher == Refresher::Uas));
        self.run_refresh(core, now, refresh);
    }

    /// Runs the timer that a 2xx of the peer agrees to, or none (section 7.2).
    pub(super) fn run_agreed(&mut self, core: &mut Core, now: Now, headers: &Headers) {
        let agreed = headers.typed::<SessionExpires>().and_then(Result::ok).map(|agreed| {
            let interval = agreed.interval.clamp(ABSOLUTE_MIN_INTERVAL, INTERVAL_MAX);
            Refresh::new(interval, agreed.refresher != Some(Refresher::Uas))
        });
        self.run_refresh(core, now, agreed);
    }

    /// The interval of the timer that runs, and whether its refresh is ours.
    pub(super) fn refreshed(&self) -> Option<(Duration, bool)> {
        self.refresh.map(|refresh| (refresh.interval, refresh.ours))
    }

    /// Runs the timer of a session that another agent had. Since when it ran nobody knows: half the interval may be over,
    /// so that a refresh of ours goes soon; not at once, as thousands of sessions may come at a time.
    pub(super) fn run_adopted(&mut self, core: &mut Core, now: Now, (interval, ours): (Duration, bool)) {
        let interval = interval.clamp(ABSOLUTE_MIN_INTERVAL, INTERVAL_MAX);
        self.run_refresh(core, now, Some(Refresh::new(interval, ours)));
        if ours {
            let draw = u32::from_str_radix(core.tokens.next().get(..2).unwrap_or("0"), 16).unwrap_or(0);
            self.set_timer(core, SessionTimer::Refresh, now.mono + interval / 16 + interval / 8 / 256 * draw);
        }
    }

    fn run_refresh(&mut self, core: &mut Core, now: Now, refresh: Option<Refresh>) {
        self.clear_timer(core, SessionTimer::Refresh);
        self.clear_timer(core, SessionTimer::Expire);
        if let Some(refresh) = refresh {
            let early = GIVE_UP_EARLY.min(refresh.interval / 3);
            self.set_timer(core, SessionTimer::Expire, now.mono + refresh.interval.saturating_sub(early));
            if refresh.ours {
                self.set_timer(core, SessionTimer::Refresh, now.mono + refresh.interval / 2);
            }
        }
        self.refresh = refresh;
    }

    /// What a request of ours says about the timer that runs (section 7.4): from the side of this request.
    pub(super) fn write_refresh(&self, headers: &mut Headers) {
        message::push(headers, HeaderName::Supported, message::SUPPORTED);
        if let Some(refresh) = &self.refresh {
            let refresher = if refresh.ours { "uac" } else { "uas" };
            let value = format!("{};refresher={refresher}", refresh.interval.as_secs());
            message::push(headers, HeaderName::SessionExpires, value);
            if !refresh.least.is_zero() {
                message::push(headers, HeaderName::MinSe, refresh.least.as_secs().to_string());
            }
        }
    }

    /// Half the interval is over: UPDATE where the peer allows it, else a re-INVITE with the same SDP.
    pub(super) fn refresh_now(&mut self, core: &mut Core, now: Now) -> Fate {
        let is_idle = matches!(self.state, State::Established(Exchange::Idle)) && self.unacked.is_none();
        let Some(refresh) = &mut self.refresh else { return Fate::Lives };
        if refresh.tx.is_some() || !is_idle || self.leaving.is_some() {
            self.set_timer(core, SessionTimer::Refresh, now.mono + RETRY);
            return Fate::Lives;
        }
        if self.peer.update || self.sdp.is_empty() {
            self.refresh_by_update(core, now);
        } else {
            let sdp = self.sdp.clone();
            self.offer(core, now, Some(sdp), true);
        }
        Fate::Lives
    }

    fn refresh_by_update(&mut self, core: &mut Core, now: Now) {
        let way = self.dialog.way(core);
        let mut request = self.dialog.request(core, Method::Update, &way, None);
        let contact = self.contact(core);
        message::push(&mut request.headers, HeaderName::Contact, contact);
        self.write_refresh(&mut request.headers);
        self.prove(core, &mut request);
        message::end_request(&mut request, None);
        let tx = core.endpoint.open_client(now.mono, way.to, way.transport, request, Some(self.id));
        if let Some(refresh) = &mut self.refresh {
            refresh.tx = Some(tx);
        }
    }

    /// The answer to a refresh by UPDATE. Gives `None` when the transaction is another one.
    pub(super) fn on_refresh_response(
        &mut self,
        core: &mut Core,
        now: Now,
        tx: TxId,
        response: &Response,
    ) -> Option<Fate> {
        let refresh = self.refresh.as_mut().filter(|refresh| refresh.tx == Some(tx))?;
        let status = response.status.code();
        if response.status.is_provisional() {
            return Some(Fate::Lives);
        }
        refresh.tx = None;
        match status {
            200..=299 => {
                self.dialog.retarget(&response.headers);
                self.run_agreed(core, now, &response.headers);
                Some(Fate::Lives)
            }
            408 | 481 => Some(self.lost(core, now, EndCause::RequestTimeout)),
            405 | 501 if !self.sdp.is_empty() => {
                self.peer.update = false;
                Some(self.refresh_now(core, now))
            }
            _ => {
                self.refresh_again(core, now, Some(response));
                Some(Fate::Lives)
            }
        }
    }

    /// A refresh by UPDATE that got no answer. Gives `None` when the transaction is another one.
    pub(super) fn on_refresh_failed(
        &mut self,
        core: &mut Core,
        now: Now,
        tx: TxId,
        transport: bool,
    ) -> Option<Fate> {
        let refresh = self.refresh.as_mut().filter(|refresh| refresh.tx == Some(tx))?;
        refresh.tx = None;
        if transport {
            // The peer may come back on another connection: there is time until the session expires.
            self.refresh_again(core, now, None);
            return Some(Fate::Lives);
        }
        Some(self.lost(core, now, EndCause::RequestTimeout))
    }

    /// A refresh was refused, or got no answer: once more, at once with a longer interval where 422 asks for one
    /// (section 7.4), after a moment where offers have crossed (491), else in a while. The session expires when none
    /// succeeds.
    pub(super) fn refresh_again(&mut self, core: &mut Core, now: Now, refusal: Option<&Response>) {
        let status = refusal.map(|response| response.status.code());
        let glare = if status == Some(491) { self.glare_wait(core) } else { Duration::ZERO };
        let Some(refresh) = &mut self.refresh else { return };
        refresh.refused = refresh.refused.saturating_add(1);
        // By the interval that was agreed: the session ends by that one until a refresh succeeds.
        let in_a_while = (refresh.interval / 10).max(RETRY);
        let asked = refusal.and_then(|response| response.headers.typed::<MinSe>()).and_then(Result::ok);
        let least = asked.map_or(Duration::ZERO, |MinSe(least)| least.min(INTERVAL_MAX));
        let is_longer = least > refresh.interval;
        refresh.interval = refresh.interval.max(least);
        refresh.least = refresh.least.max(least);
        let wait = match status {
            _ if refresh.refused > REFUSED_MAX => in_a_while,
            Some(422) if is_longer => Duration::ZERO,
            Some(491) => glare,
            _ => in_a_while,
        };
        self.set_timer(core, SessionTimer::Refresh, now.mono + wait);
    }
}

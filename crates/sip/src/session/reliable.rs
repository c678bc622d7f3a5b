//! Reliable provisional responses (RFC 3262), as server: a 180 to a client that takes or demands them goes with a
//! number, again and again until PRACK names it.
//!
//! Our provisional responses never carry SDP, so none holds the 200 up, and PRACK never brings an offer that could be
//! answered. As client we ask for none: our INVITE does not say that we support `100rel`.

use bytes::Bytes;
use model::{Mono, Now};
use sipx_sip::rel::{MAX_FIRST_RSEQ, RAck};
use sipx_sip::{HeaderName, Request};

use super::{ANSWER_WAIT, Fate, Session, State};
use crate::core::Core;
use crate::endpoint::timing;
use crate::event::EndCause;
use crate::flow::Flow;
use crate::message;
use crate::request::body_parts;
use crate::timers::{SessionTimer, TxId};

/// The last provisional response that is or was to be acknowledged.
pub(super) struct Provisional {
    rseq: u32,
    /// Of the INVITE.
    cseq: u32,
    tx: TxId,
    bytes: Bytes,
    interval: std::time::Duration,
    /// When the INVITE is given up, if nobody has acknowledged it.
    ends: Mono,
    is_acknowledged: bool,
}

impl Session {
    /// 180 with a number; none while the last one waits for its PRACK (section 3).
    pub(super) fn ring_reliably(&mut self, core: &mut Core, now: Now) {
        let State::Invited(pending) = &self.state else { return };
        let (tx, cseq) = (pending.tx, pending.cseq);
        let rseq = match &self.provisional {
            Some(last) if !last.is_acknowledged => return,
            Some(last) => last.rseq.saturating_add(1),
            None => first_number(core),
        };
        let sent = self.provisionally(core, now, |headers| {
            message::push(headers, HeaderName::Require, "100rel");
            message::push(headers, HeaderName::RSeq, rseq.to_string());
        });
        let Some(bytes) = sent else { return };
        let (interval, ends) = (timing().t1, now.mono + ANSWER_WAIT);
        let provisional = Provisional { rseq, cseq, tx, bytes, interval, ends, is_acknowledged: false };
        self.provisional = Some(Box::new(provisional));
        self.set_timer(core, SessionTimer::Provisional, now.mono + interval);
    }

    /// T1, doubling without end; after 64 times T1 the INVITE is refused (section 3).
    pub(super) fn repeat_provisional(&mut self, core: &mut Core, now: Now) -> Fate {
        let Some(last) = &mut self.provisional else { return Fate::Lives };
        if now.mono >= last.ends {
            self.answer(core, now, 504, "Server Time-out");
            return self.end(core, EndCause::RequestTimeout, None);
        }
        last.interval *= 2;
        let again = (now.mono + last.interval).min(last.ends);
        if let Some(to) = core.endpoint.route(last.tx) {
            core.endpoint.counters.retransmitted += 1;
            core.endpoint.send(to, last.bytes.clone());
        }
        self.set_timer(core, SessionTimer::Provisional, again);
        Fate::Lives
    }

    /// PRACK: of the last one 200, also after the 200 to the INVITE; of anything else 481.
    pub(super) fn on_prack(&mut self, core: &mut Core, now: Now, flow: &Flow, request: &Request) -> Fate {
        let named = request.headers.typed::<RAck>().and_then(Result::ok);
        let last = self.provisional.as_mut().filter(|last| {
            let is_it = |rack: RAck| {
                rack.rseq == last.rseq
                    && rack.cseq == last.cseq
                    && rack.method.eq_ignore_ascii_case(b"INVITE")
            };
            !last.is_acknowledged && named.is_some_and(is_it)
        });
        let Some(last) = last else { return self.answer_within(core, now, flow, request, 481, |_| {}) };
        last.is_acknowledged = true;
        last.bytes = Bytes::new();
        self.clear_timer(core, SessionTimer::Provisional);
        // An offer may come only after an answer (section 5), and our provisional responses carry none.
        let offers =
            body_parts(&request.headers, request.body()).iter().any(|part| part.is("application/sdp"));
        self.answer_within(core, now, flow, request, if offers { 488 } else { 200 }, |_| {})
    }
}

/// Numbers begin anywhere in the lower half, so that they never wrap (section 3).
fn first_number(core: &mut Core) -> u32 {
    let draw = u32::from_str_radix(core.tokens.next().get(..8).unwrap_or("1"), 16).unwrap_or(1);
    (draw % MAX_FIRST_RSEQ) + 1
}

//! One call: what it does at which input. No socket, no clock: [`Call::handle`] takes time and input and
//! returns what is to be done.
//!
//! ```text
//!            answered               Hold step       all paused          answered
//!  Inviting ─────────► Talking ───────────► Pausing ──────────► Holding ────────► Held
//!     │                   ▲   ▲─────── refused ───────────────────┘                │ Resume step
//!     │ refused, timeout  │ answered                                               ▼
//!     │                   └──────────────────────────────────────────────────── Resuming
//!     ▼      End step, BYE of the peer, interrupt: from any of them
//!  Finishing (streams report) ────► Leaving (BYE sent) ────► Over
//! ```
//!
//! Media stop before the re-INVITE that holds them and before the BYE, so that what was sent is known exactly
//! when the recorder is told.

use std::time::Duration;

use media::sdp::{Direction, MediaLine};
use model::{Keys, Mono, Now, Protection};
use sip::EndCause;

use super::moves::{CallInput, Do, Step};
use super::plan::{CallPlan, Hold};
use super::report::{AnswerReport, CallReport, Ending, StreamReport};
use super::sdp::{LocalSdp, LocalStream, lines, remotes};

/// The streams end by themselves when the call has had its length; a busy machine sends the last packet late.
const END_MARGIN: Duration = Duration::from_millis(20);

/// A step that comes while a re-INVITE is on its way waits for its answer.
const STEP_RETRY: Duration = Duration::from_millis(50);
/// How long a cancelled INVITE may take to end by itself: some retransmissions of the CANCEL.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Inviting,
    /// CANCEL is sent; a 2xx may still come.
    Cancelling,
    Talking,
    Pausing {
        left: usize,
    },
    Holding,
    Held,
    Resuming,
    Finishing {
        left: usize,
        then: Then,
    },
    Leaving,
    Over,
}

/// What follows when the streams have reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Bye,
    Nothing,
}

/// The machine of one call.
pub(super) struct Call {
    phase: Phase,
    local: LocalSdp,
    delayed_offer: bool,
    vanish: bool,
    duration: Duration,
    holds: Vec<Hold>,
    timeout: Duration,
    invited: Mono,
    /// What each stream is encrypted by, and whether a handshake says it.
    keys: Vec<(Option<Keys>, bool)>,
    /// For each stream, whether it has ever been started.
    started: Vec<bool>,
    report: CallReport,
}

impl Call {
    /// A call whose INVITE is about to be sent; gives its offer, unless that is delayed.
    pub(super) fn new(
        number: u32,
        plan: &CallPlan,
        duration: Duration,
        streams: Vec<LocalStream>,
        now: Now,
    ) -> (Self, Option<String>, Vec<Do>) {
        let started = vec![false; streams.len()];
        let keys = streams.iter().map(|s| (s.keys.clone(), s.certificate.is_some())).collect();
        let reports = streams
            .iter()
            .map(|s| StreamReport { label: s.label.clone(), local: Some(s.rtp), ..StreamReport::default() })
            .collect();
        let session_id = u64::try_from(now.wall.millis()).unwrap_or_default();
        let mut local = LocalSdp::new(plan, streams, session_id);
        let offer = (!plan.delayed_offer).then(|| local.offer(false));
        let offered = offer.as_ref().and_then(|o| media::sdp::read(o.as_bytes()).ok());
        let report = CallReport {
            call: number,
            ok: false,
            sip_call_id: String::new(),
            status: 0,
            reason: String::new(),
            setup_ms: None,
            offered: offered.as_ref().map(lines).unwrap_or_default(),
            answers: Vec::new(),
            streams: reports,
            holds: 0,
            ended: Ending::Failed,
            interrupted: false,
            problems: Vec::new(),
        };
        let call = Self {
            phase: Phase::Inviting,
            local,
            delayed_offer: plan.delayed_offer,
            vanish: plan.vanish,
            duration,
            holds: plan.holds.clone(),
            timeout: plan.timeout,
            invited: now.mono,
            keys,
            started,
            report,
        };
        let timeout = Do::Later(call.invited + call.timeout, Step::AnswerTimeout);
        (call, offer, vec![timeout])
    }

    /// Whether it was answered and is not over.
    pub(super) fn is_up(&self) -> bool {
        !matches!(self.phase, Phase::Inviting | Phase::Cancelling | Phase::Over)
    }

    /// What it came to; final when it is over.
    pub(super) fn report(&self) -> &CallReport {
        &self.report
    }

    /// Something that went wrong outside.
    pub(super) fn problem(&mut self, what: impl Into<String>) {
        self.report.problems.push(what.into());
    }

    /// What happens now.
    pub(super) fn handle(&mut self, now: Now, input: CallInput) -> Vec<Do> {
        match input {
            CallInput::Accepted { status, call_id, sdp } => {
                self.learn_call_id(call_id);
                self.accepted(now, status, sdp.as_deref())
            }
            CallInput::Refused { status, reason, call_id } => {
                self.learn_call_id(call_id);
                self.refused(now, status, reason)
            }
            CallInput::Reoffered { sdp } => self.reoffered(sdp.as_deref()),
            CallInput::Confirmed { sdp } => match sdp.as_deref().map(media::sdp::read) {
                Some(Ok(answer)) if self.phase == Phase::Talking => self.start_all(&answer),
                _ => Vec::new(),
            },
            CallInput::Ended(cause) => self.ended(cause),
            CallInput::Paused => self.paused(),
            CallInput::Finished { index, report } => self.finished(index, *report),
            CallInput::Step(step) => self.step(now, step),
            CallInput::Interrupt => self.interrupt(now),
        }
    }

    fn accepted(&mut self, now: Now, status: u16, sdp: Option<&[u8]>) -> Vec<Do> {
        let read = sdp.map(media::sdp::read).and_then(Result::ok);
        let answered = read.as_ref().map(lines).unwrap_or_default();
        self.note_answer(now, status, String::new(), answered);
        match self.phase {
            Phase::Inviting => self.answered(now, status, read),
            // The CANCEL crossed the 2xx (RFC 3261 section 9.1): there is a dialog, so it is ended.
            Phase::Cancelling => self.leave(Then::Bye),
            Phase::Holding => {
                self.report.holds += 1;
                let takes = |l: &MediaLine| matches!(l.direction, Direction::RecvOnly | Direction::SendRecv);
                if read.is_none_or(|sdp| sdp.media.iter().any(|l| !l.is_off() && takes(l))) {
                    self.problem("the hold was not answered as inactive");
                }
                self.phase = Phase::Held;
                Vec::new()
            }
            Phase::Resuming => {
                self.phase = Phase::Talking;
                match read {
                    Some(answer) => self.start_all(&answer),
                    None => self.fail("the resume was answered without SDP"),
                }
            }
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, now: Now, status: u16, sdp: Option<media::Sdp>) -> Vec<Do> {
        self.report.status = status;
        self.report.reason = "OK".into();
        self.report.setup_ms = Some(self.elapsed_ms(now));
        self.phase = Phase::Talking;
        let Some(sdp) = sdp else {
            return self.fail("the answer has no SDP that can be read");
        };
        let mut todo = Vec::new();
        if self.delayed_offer {
            todo.push(Do::Ack(self.local.answer(&sdp, false)));
        }
        todo.extend(self.start_all(&sdp));
        let later = |after: Duration, step| Do::Later(now.mono + after, step);
        for hold in &self.holds {
            todo.push(later(hold.start, Step::Hold));
            todo.push(later(hold.start + hold.length, Step::Resume));
        }
        todo.push(later(self.duration + END_MARGIN, Step::End));
        todo
    }

    fn refused(&mut self, now: Now, status: u16, reason: String) -> Vec<Do> {
        self.note_answer(now, status, reason.clone(), Vec::new());
        match self.phase {
            Phase::Inviting | Phase::Cancelling => {
                let cancelled = self.phase == Phase::Cancelling;
                (self.report.status, self.report.reason) = (status, reason);
                if !cancelled {
                    self.report.setup_ms = Some(self.elapsed_ms(now));
                    self.report.ended = Ending::Refused;
                    let what = format!("refused: {status} {}", self.report.reason);
                    self.problem(what);
                }
                self.leave(Then::Nothing)
            }
            // The agent has tried again after a 491 (RFC 3261 section 14.1); the plan is off, so the call ends.
            Phase::Holding => self.fail(&format!("the hold was refused: {status} {reason}")),
            Phase::Resuming => self.fail(&format!("the resume was refused: {status} {reason}")),
            _ => Vec::new(),
        }
    }

    fn reoffered(&mut self, sdp: Option<&[u8]>) -> Vec<Do> {
        if !self.is_up() {
            return vec![Do::Refuse(481, "Call Does Not Exist")];
        }
        let held = !matches!(self.phase, Phase::Talking);
        let Some(bytes) = sdp else {
            return vec![Do::Accept(self.local.offer(held))];
        };
        let Ok(offer) = media::sdp::read(bytes) else {
            return vec![Do::Refuse(488, "Not Acceptable Here")];
        };
        let mut todo = vec![Do::Accept(self.local.answer(&offer, held))];
        if !held {
            todo.extend(self.start_all(&offer));
        }
        todo
    }

    fn ended(&mut self, cause: EndCause) -> Vec<Do> {
        let leaving = matches!(self.phase, Phase::Leaving);
        match (self.phase, cause) {
            (Phase::Over, _) => return Vec::new(),
            (Phase::Leaving, EndCause::Local | EndCause::Bye) => {}
            (Phase::Inviting, EndCause::TransportFailed) => {
                self.report.ended = Ending::Failed;
                self.problem("the peer cannot be reached");
            }
            (Phase::Inviting, _) => {
                self.report.ended = Ending::Timeout;
                self.problem("no final answer in time");
            }
            (Phase::Cancelling, _) => {}
            (_, EndCause::Bye) => {
                self.report.ended = Ending::RemoteBye;
                self.problem("the peer hung up");
            }
            (_, cause) => {
                self.report.ended = Ending::Failed;
                self.problem(format!("the session failed: {cause:?}"));
            }
        }
        if leaving {
            return self.over();
        }
        match &mut self.phase {
            Phase::Finishing { then, .. } => {
                *then = Then::Nothing;
                Vec::new()
            }
            _ => self.leave(Then::Nothing),
        }
    }

    fn paused(&mut self) -> Vec<Do> {
        let Phase::Pausing { left } = &mut self.phase else { return Vec::new() };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return Vec::new();
        }
        self.hold()
    }

    fn hold(&mut self) -> Vec<Do> {
        self.phase = Phase::Holding;
        vec![Do::Reinvite(self.local.offer(true))]
    }

    fn finished(&mut self, index: usize, report: StreamReport) -> Vec<Do> {
        if let Some(slot) = self.report.streams.get_mut(index) {
            *slot = report;
        }
        let Phase::Finishing { left, then } = &mut self.phase else { return Vec::new() };
        *left = left.saturating_sub(1);
        let then = *then;
        if *left > 0 { Vec::new() } else { self.all_finished(then) }
    }

    fn step(&mut self, now: Now, step: Step) -> Vec<Do> {
        let later = vec![Do::Later(now.mono + STEP_RETRY, step)];
        match (step, self.phase) {
            (Step::AnswerTimeout, Phase::Inviting) => {
                self.report.ended = Ending::Timeout;
                self.problem(format!("no final answer in {:?}", self.timeout));
                self.cancel(now)
            }
            (Step::GiveUp, Phase::Cancelling) => self.leave(Then::Nothing),
            (Step::Hold, Phase::Talking) => {
                let streams: Vec<usize> = self.running().collect();
                if streams.is_empty() {
                    return self.hold();
                }
                self.phase = Phase::Pausing { left: streams.len() };
                streams.into_iter().map(|index| Do::Pause { index }).collect()
            }
            (Step::Resume, Phase::Held) => {
                self.phase = Phase::Resuming;
                vec![Do::Reinvite(self.local.offer(false))]
            }
            (Step::Hold, Phase::Held | Phase::Resuming) => later,
            (Step::Resume, Phase::Talking | Phase::Pausing { .. } | Phase::Holding) => later,
            (Step::End, Phase::Pausing { .. } | Phase::Holding | Phase::Resuming) => later,
            (Step::End, Phase::Talking | Phase::Held) => self.end_as_planned(),
            _ => Vec::new(),
        }
    }

    fn end_as_planned(&mut self) -> Vec<Do> {
        if self.report.holds < u32::try_from(self.holds.len()).unwrap_or(u32::MAX) && !self.report.interrupted
        {
            self.problem("it ended before its holds");
        }
        if self.vanish && !self.report.interrupted {
            self.report.ended = Ending::Vanished;
            return self.leave(Then::Nothing);
        }
        self.report.ended = Ending::Bye;
        self.leave(Then::Bye)
    }

    fn cancel(&mut self, now: Now) -> Vec<Do> {
        self.phase = Phase::Cancelling;
        vec![Do::Cancel, Do::Later(now.mono + CANCEL_PATIENCE, Step::GiveUp)]
    }

    fn interrupt(&mut self, now: Now) -> Vec<Do> {
        self.report.interrupted = true;
        match self.phase {
            Phase::Inviting => {
                self.report.ended = Ending::Cancelled;
                self.cancel(now)
            }
            Phase::Cancelling | Phase::Finishing { .. } | Phase::Leaving | Phase::Over => Vec::new(),
            // Whatever re-INVITE is on its way: a BYE ends it too.
            _ => self.end_as_planned(),
        }
    }

    /// Ends the call because it cannot be what was asked for.
    fn fail(&mut self, why: &str) -> Vec<Do> {
        self.problem(why);
        self.leave(Then::Bye)
    }

    /// Ends the streams, then the dialog.
    fn leave(&mut self, then: Then) -> Vec<Do> {
        let streams: Vec<usize> = self.running().collect();
        if streams.is_empty() {
            return self.all_finished(then);
        }
        self.phase = Phase::Finishing { left: streams.len(), then };
        streams.into_iter().map(|index| Do::Finish { index }).collect()
    }

    fn all_finished(&mut self, then: Then) -> Vec<Do> {
        match then {
            Then::Bye => {
                self.phase = Phase::Leaving;
                vec![Do::Bye]
            }
            Then::Nothing => self.over(),
        }
    }

    fn over(&mut self) -> Vec<Do> {
        self.phase = Phase::Over;
        self.report.ok = self.report.problems.is_empty() && self.report.ended != Ending::Cancelled;
        vec![Do::Over]
    }

    fn start_all(&mut self, sdp: &media::Sdp) -> Vec<Do> {
        let mut todo = Vec::new();
        for (index, remote) in remotes(sdp, self.started.len()).into_iter().enumerate() {
            match (remote, self.started.get_mut(index)) {
                (Some(remote), Some(started)) => {
                    let (ours, shakes) =
                        self.keys.get(index).map_or((None, false), |(k, s)| (k.as_ref(), *s));
                    let same = |k: &&Keys| ours.is_some_and(|ours| ours.suite == k.suite);
                    let theirs = remote.keys.iter().find(same).or(remote.keys.first());
                    let protection = match (ours, theirs) {
                        _ if shakes => match remote.handshake.clone() {
                            Some(handshake) => Protection::Dtls(handshake),
                            None => {
                                self.problem(format!(
                                    "stream {} is answered without a certificate",
                                    index + 1
                                ));
                                continue;
                            }
                        },
                        (None, _) => Protection::None,
                        (Some(outbound), Some(inbound)) => {
                            Protection::Srtp { inbound: inbound.clone(), outbound: outbound.clone() }
                        }
                        (Some(_), None) => {
                            self.problem(format!("stream {} is answered without a key", index + 1));
                            continue;
                        }
                    };
                    *started = true;
                    todo.push(Do::Start { index, remote: Box::new(remote), protection });
                }
                _ => self.problem(format!("stream {} is not taken", index + 1)),
            }
        }
        todo
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        self.started.iter().enumerate().filter(|(_, started)| **started).map(|(index, _)| index)
    }

    fn note_answer(&mut self, now: Now, status: u16, reason: String, lines: Vec<String>) {
        let to = match self.phase {
            Phase::Inviting | Phase::Cancelling => "INVITE",
            Phase::Holding => "hold",
            Phase::Resuming => "resume",
            _ => "other",
        };
        let at_ms = self.elapsed_ms(now);
        self.report.answers.push(AnswerReport { at_ms, to, status, reason, lines });
    }

    fn elapsed_ms(&self, now: Now) -> f64 {
        (now.mono.since(self.invited).as_secs_f64() * 1e6).round() / 1e3
    }

    fn learn_call_id(&mut self, call_id: Option<String>) {
        if let Some(call_id) = call_id.filter(|_| self.report.sip_call_id.is_empty()) {
            self.report.sip_call_id = call_id;
        }
    }
}

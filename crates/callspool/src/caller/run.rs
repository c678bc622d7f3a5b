//! All calls under one owner: `select` chooses what is next, `apply` changes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use media::srtp::Entropy;
use model::protection::Handshake;
use model::{Mono, Protection};
use sip::{Destination, Event, SessionId};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::call::Call;
use super::invite;
use super::moves::{CallInput, Do, Step};
use super::plan::{CallPlan, Encryption, KeyExchange};
use super::ports::StreamSockets;
use super::report::{CallReport, Summary};
use super::sdp::LocalStream;
use super::seed;
use super::sender::{NewStream, Sender, StreamKey, Told};
use super::stream::PacketConfig;
use super::voice::Voice;
use crate::clock;
use crate::dtls::{self, Clients, Identity};
use crate::net::{DriverInput, SipDriver};

/// New calls that are late are made up for in a burst no longer than this.
const CATCH_UP: Duration = Duration::from_millis(100);

/// What is queued at the end, a BYE or its answer, has this long to go out.
const CLOSE: Duration = Duration::from_secs(1);

/// How reports are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON object per call, then one with the summary.
    Json,
    /// Only the summary, as text.
    Quiet,
}

struct Live {
    call: Call,
    session: SessionId,
    /// The sockets of streams that were not started yet.
    sockets: Vec<Option<StreamSockets>>,
    /// Second holds of those of RTP, where handshakes are made.
    shaking: Vec<Option<UdpSocket>>,
}

enum Wake {
    Sip(DriverInput),
    Sender(Told),
    Timer,
    Interrupt,
}

/// The owner.
pub(super) struct Caller<'a> {
    plan: CallPlan,
    duration: Duration,
    voices: Vec<Arc<Voice>>,
    driver: SipDriver,
    destination: Destination,
    sender: Sender,
    told: UnboundedReceiver<Told>,
    interrupts: mpsc::Receiver<()>,
    out: &'a mut dyn Write,
    format: Format,
    calls: BTreeMap<u32, Live>,
    by_session: HashMap<SessionId, u32>,
    agenda: BinaryHeap<Reverse<(Mono, u32, Step)>>,
    /// What keys are made of.
    entropy: Entropy,
    /// What is shown in handshakes, where some are made.
    identity: Option<Arc<Identity>>,
    tell: UnboundedSender<Told>,
    made: u32,
    /// Calls that were answered and are not over.
    up: usize,
    next_start: Mono,
    summary: Summary,
    setups: Vec<f64>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(
        plan: CallPlan,
        voices: Vec<Arc<Voice>>,
        driver: SipDriver,
        destination: Destination,
        interrupts: mpsc::Receiver<()>,
        out: &'a mut dyn Write,
        format: Format,
    ) -> std::io::Result<Self> {
        let (tell, told) = mpsc::unbounded_channel();
        let longest = voices.iter().map(|v| v.length()).max().unwrap_or_default();
        Ok(Self {
            duration: plan.duration.unwrap_or(longest),
            sender: Sender::start(tell.clone())?,
            next_start: clock::mono(),
            voices,
            driver,
            destination,
            told,
            interrupts,
            out,
            format,
            calls: BTreeMap::new(),
            by_session: HashMap::new(),
            agenda: BinaryHeap::new(),
            entropy: Entropy::new(seed()?),
            identity: identity(&plan)?,
            plan,
            tell: tell.clone(),
            made: 0,
            up: 0,
            summary: Summary::default(),
            setups: Vec::new(),
        })
    }

    /// Makes all calls, and comes back when the last one is over.
    pub(super) async fn run(mut self) -> std::io::Result<Summary> {
        loop {
            self.start_due()?;
            if self.calls.is_empty() && self.made >= self.plan.calls {
                break;
            }
            let wake = self.select().await;
            self.apply(wake)?;
            while let Some(event) = self.driver.poll_event() {
                self.sip_event(event)?;
            }
        }
        self.summary.retransmitted = self.driver.agent().stats().retransmitted;
        self.driver.close(CLOSE).await;
        self.summary.latest_ms = round_ms(self.sender.stop());
        self.summary.setup_ms = percentiles(&mut self.setups);
        match self.format {
            Format::Json => {
                let summary = serde_json::json!({ "summary": self.summary });
                writeln!(self.out, "{summary}")?;
            }
            Format::Text | Format::Quiet => writeln!(self.out, "{}", self.summary)?,
        }
        Ok(self.summary)
    }

    async fn select(&mut self) -> Wake {
        let may_start = self.made < self.plan.calls && self.calls.len() < self.plan.concurrency;
        let start = may_start.then_some(self.next_start);
        let step = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let wake = start.into_iter().chain(step).min();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(clock::instant(at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(()) = self.interrupts.recv() => Wake::Interrupt,
            () = timer => Wake::Timer,
            Some(told) = self.told.recv() => Wake::Sender(told),
            input = self.driver.select() => Wake::Sip(input),
        }
    }

    fn apply(&mut self, wake: Wake) -> std::io::Result<()> {
        match wake {
            Wake::Sip(input) => self.driver.apply(input),
            Wake::Sender(Told::Paused(key)) => self.handle(key.call, CallInput::Paused)?,
            Wake::Sender(Told::Finished(key, report)) => {
                self.handle(key.call, CallInput::Finished { index: key.index, report })?;
            }
            Wake::Sender(Told::Shaken(key, rtp, rtcp, Ok(protection))) => {
                let protection = self.encrypting(*protection);
                self.sender.begin(key, rtp, rtcp, protection);
            }
            Wake::Sender(Told::Shaken(key, .., Err(why))) => {
                if let Some(live) = self.calls.get_mut(&key.call) {
                    live.call.problem(format!("stream {}: {why}", key.index + 1));
                }
            }
            Wake::Timer => self.steps_due()?,
            Wake::Interrupt => {
                self.plan.calls = self.made;
                let all: Vec<u32> = self.calls.keys().copied().collect();
                all.into_iter().try_for_each(|n| self.handle(n, CallInput::Interrupt))?;
            }
        }
        Ok(())
    }

    fn start_due(&mut self) -> std::io::Result<()> {
        while self.made < self.plan.calls && self.calls.len() < self.plan.concurrency {
            let now = clock::mono();
            if now < self.next_start {
                break;
            }
            let interval = Duration::from_secs_f64(1.0 / self.plan.rate.max(0.001));
            let earliest = Mono(now.0.saturating_sub(u64::try_from(CATCH_UP.as_nanos()).unwrap_or(0)));
            self.next_start = (self.next_start + interval).max(earliest);
            self.made += 1;
            self.start(self.made)?;
        }
        Ok(())
    }

    fn start(&mut self, number: u32) -> std::io::Result<()> {
        let bound: std::io::Result<Vec<StreamSockets>> =
            self.voices.iter().map(|_| StreamSockets::bind(self.plan.local)).collect();
        let (sockets, failure) = match bound {
            Ok(sockets) => (sockets, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let label = |n: usize| (n + 1).to_string();
        let streams = sockets.iter().enumerate();
        let by = |exchange| self.plan.encryption.filter(|e| e.exchange == exchange);
        let (sdes, identity) = (by(KeyExchange::Sdes), self.identity.clone());
        let socket = |s: &StreamSockets| identity.as_ref().and_then(|_| s.rtp.try_clone().ok());
        let shaking = sockets.iter().map(socket).collect();
        let streams = streams.map(|(n, s)| LocalStream {
            rtp: s.local,
            label: label(n),
            keys: sdes.and_then(|e| self.entropy.keys(e.suite)),
            certificate: identity.as_ref().map(|i| i.fingerprint()),
        });
        let streams = streams.collect();
        let (mut call, offer, todo) = Call::new(number, &self.plan, self.duration, streams, clock::now());
        if let Some(error) = failure {
            call.problem(format!("no sockets for its media: {error}"));
            self.summary.calls += 1;
            self.summary.failed += 1;
            return self.write(call.report());
        }
        let outgoing =
            invite::outgoing(&self.plan, number, offer, self.voices.len(), self.destination, clock::wall());
        let session = self.driver.with(|agent, now| agent.invite(now, outgoing));
        self.by_session.insert(session, number);
        let sockets = sockets.into_iter().map(Some).collect();
        self.calls.insert(number, Live { call, session, sockets, shaking });
        self.carry_out(number, todo)
    }

    fn steps_due(&mut self) -> std::io::Result<()> {
        let now = clock::mono();
        while let Some(Reverse((at, number, step))) = self.agenda.peek().copied() {
            if at > now {
                break;
            }
            self.agenda.pop();
            self.handle(number, CallInput::Step(step))?;
        }
        Ok(())
    }

    fn sip_event(&mut self, event: Event) -> std::io::Result<()> {
        let (session, input) = match event {
            Event::Accepted { session, status, headers, sdp, .. } => {
                let (call_id, sdp) = (call_id(&headers), sdp.map(|p| p.bytes.to_vec()));
                (session, CallInput::Accepted { status, call_id, sdp })
            }
            Event::Refused { session, status, reason, headers } => {
                (session, CallInput::Refused { status, reason, call_id: call_id(&headers) })
            }
            Event::Reoffered { session, request } => {
                (session, CallInput::Reoffered { sdp: request.sdp().map(|p| p.bytes.to_vec()) })
            }
            Event::Confirmed { session, answer } => {
                (session, CallInput::Confirmed { sdp: answer.map(|p| p.bytes.to_vec()) })
            }
            Event::Ended { session, cause, .. } => (session, CallInput::Ended(cause)),
            // Nobody calls a caller.
            Event::Invited { session, .. } => {
                let _ = self.driver.with(|agent, now| agent.refuse(now, session, 486, "Busy Here", &[]));
                return Ok(());
            }
            Event::Sought { tag } => {
                self.driver.with(|agent, _| agent.not_found(&tag));
                return Ok(());
            }
            Event::Informed { .. } | Event::Ringing { .. } | Event::Unacknowledged { .. } => return Ok(()),
        };
        match self.by_session.get(&session) {
            Some(number) => self.handle(*number, input),
            // A call that vanished answers nothing.
            None => Ok(()),
        }
    }

    fn handle(&mut self, number: u32, input: CallInput) -> std::io::Result<()> {
        let Some(live) = self.calls.get_mut(&number) else { return Ok(()) };
        let was_up = live.call.is_up();
        let todo = live.call.handle(clock::now(), input);
        match (was_up, live.call.is_up()) {
            (false, true) => self.up += 1,
            (true, false) => self.up -= 1,
            _ => {}
        }
        self.summary.most_at_once = self.summary.most_at_once.max(self.up);
        self.carry_out(number, todo)
    }

    fn carry_out(&mut self, number: u32, todo: Vec<Do>) -> std::io::Result<()> {
        for action in todo {
            let Some(live) = self.calls.get_mut(&number) else { return Ok(()) };
            let session = live.session;
            let key = |index| StreamKey { call: number, index };
            let done = match action {
                Do::Later(at, step) => {
                    self.agenda.push(Reverse((at, number, step)));
                    Ok(())
                }
                Do::Start { index, remote, protection } => {
                    if let Some(sockets) = live.sockets.get_mut(index).and_then(Option::take) {
                        self.open(key(index), sockets);
                    }
                    if let Protection::Dtls(terms) = protection {
                        self.shake(key(index), remote.rtp, remote.rtcp, terms);
                        continue;
                    }
                    let protection = self.encrypting(protection);
                    self.sender.begin(key(index), remote.rtp, remote.rtcp, protection);
                    Ok(())
                }
                Do::Pause { index } => {
                    self.sender.pause(key(index));
                    Ok(())
                }
                Do::Finish { index } => {
                    self.sender.finish(key(index));
                    Ok(())
                }
                Do::Reinvite(sdp) => self.driver.with(|a, now| a.reinvite(now, session, Some(sdp.into()))),
                Do::Accept(sdp) => self.driver.with(|a, now| a.accept(now, session, sdp.into(), &[])),
                Do::Refuse(code, reason) => {
                    self.driver.with(|a, now| a.refuse(now, session, code, reason, &[]))
                }
                Do::Bye => self.driver.with(|a, now| a.bye(now, session, None)),
                Do::Ack(sdp) => self.driver.with(|a, now| a.ack_with(now, session, sdp.into())),
                Do::Cancel => self.driver.with(|a, now| a.cancel(now, session)),
                Do::Over => return self.over(number),
            };
            if done.is_err() {
                // The session went away under the call's feet; its end may have been told already.
                self.handle(number, CallInput::Ended(sip::EndCause::Local))?;
            }
        }
        Ok(())
    }

    /// Makes a handshake, in a thread of its own, before anything is sent.
    fn shake(&mut self, key: StreamKey, rtp: SocketAddr, rtcp: Option<SocketAddr>, terms: Handshake) {
        let socket =
            self.calls.get(&key.call).and_then(|l| l.shaking.get(key.index)?.as_ref()?.try_clone().ok());
        let (Some(socket), Some(identity)) = (socket, self.identity.clone()) else { return };
        let tell = self.tell.clone();
        std::thread::spawn(move || {
            let shaken = dtls::shake(&identity, terms, &socket, rtp)
                .map(|(inbound, outbound)| Box::new(Protection::Srtp { inbound, outbound }));
            // Whoever hears of it may be gone.
            let _ = tell.send(Told::Shaken(key, rtp, rtcp, shaken));
        });
    }

    /// What is really encrypted by.
    fn encrypting(&mut self, protection: Protection) -> Protection {
        match (protection, self.plan.encryption) {
            (Protection::Srtp { inbound, outbound }, Some(Encryption { suite, wrong_key: true, .. })) => {
                let outbound = self.entropy.keys(suite).unwrap_or(outbound);
                Protection::Srtp { inbound, outbound }
            }
            (protection, _) => protection,
        }
    }

    fn open(&self, key: StreamKey, sockets: StreamSockets) {
        let Some(voice) = self.voices.get(key.index) else { return };
        let seed = self.plan.impairments.seed;
        let packets = PacketConfig {
            payload_type: self.plan.payload_type(),
            frame_samples: self.plan.frame_samples(),
            impairments: self.plan.impairments,
            // Differs between streams and calls, the same for the same seed.
            seed: seed.wrapping_mul(1_000_003).wrapping_add(u64::from(key.call) * 16 + key.index as u64),
        };
        let (length, label) = (self.duration, (key.index + 1).to_string());
        self.sender.open(key, NewStream { sockets, voice: Arc::clone(voice), packets, length, label });
    }

    fn over(&mut self, number: u32) -> std::io::Result<()> {
        let Some(live) = self.calls.remove(&number) else { return Ok(()) };
        self.by_session.remove(&live.session);
        let report = live.call.report();
        let summary = &mut self.summary;
        summary.calls += 1;
        summary.ok += u32::from(report.ok);
        summary.failed += u32::from(!report.ok);
        if (200..300).contains(&report.status) {
            summary.answered += 1;
            self.setups.extend(report.setup_ms);
        } else if report.status != 0 {
            *summary.refusals.entry(report.status).or_default() += 1;
        }
        for stream in &report.streams {
            summary.packets += stream.packets;
            summary.unsent += stream.unsent;
        }
        self.write(report)
    }

    fn write(&mut self, report: &CallReport) -> std::io::Result<()> {
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut self.out, report)?;
                writeln!(self.out)
            }
            Format::Text => writeln!(self.out, "{report}"),
            Format::Quiet => Ok(()),
        }
    }
}

/// What is shown in handshakes.
fn identity(plan: &CallPlan) -> std::io::Result<Option<Arc<Identity>>> {
    match plan.encryption {
        Some(Encryption { exchange: KeyExchange::Dtls, .. }) => {
            Ok(Some(Arc::new(Identity::make(Clients::Verified).map_err(std::io::Error::other)?)))
        }
        _ => Ok(None),
    }
}

fn call_id(headers: &[(String, String)]) -> Option<String> {
    headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Call-ID")).map(|(_, value)| value.clone())
}

fn round_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The median, 99 of 100, and the worst.
fn percentiles(values: &mut [f64]) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| values.get((values.len() * percent / 100).min(values.len().saturating_sub(1)));
    Some([*at(50)?, *at(99)?, *at(100)?])
}

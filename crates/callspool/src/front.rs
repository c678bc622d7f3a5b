//! The signalling task: one owner of the SIP agent, the front machine and the ways to the record servers.
//!
//! It chooses one input at a time (`select`), changes the machines by it (`apply`), and carries out all that
//! follows before it looks for the next. It never waits for a record server, the catalogue or a disk.

mod carry;

use std::time::{Duration, Instant};

use call::{Action, Front, FrontConfig, FrontStats, Intake, Room, TrunkGate};
use tokio::sync::{mpsc, watch};

use crate::clock::now;
use crate::live_calls::{Awaited, LiveCommand, NoEar};
use crate::metrics::{Queued, Signalled};
use crate::net::{Alarm, DriverInput, SipDriver};
use crate::pulse::Pulse;
use crate::recorder::{AlarmThresholds, Recorder, Teller};
use crate::servers::{Came, Outcome, Servers};
use crate::supervise::Supervisor;

/// How long segments may take to be sealed after every call was ended at a stop.
const SEAL_GRACE: Duration = Duration::from_secs(10);
/// How long answers that are queued may take to leave at a stop.
const SEND_GRACE: Duration = Duration::from_millis(500);
/// How often the task goes round when nothing comes, and tells what it does.
const ROUND: Duration = Duration::from_secs(1);

/// So much is taken from record servers before others have their turn: one that talks without end holds up no call.
const IN_A_ROW_MAX: u32 = 64;

/// What can move the task.
enum Input {
    Sip(DriverInput),
    Server(Came),
    /// Nobody else has anything: record servers may go on.
    Turn,
    Command(LiveCommand),
    Timeout,
    Round,
    Order(FrontOrder),
    Stop,
}

/// What the operator wants of the task.
pub(crate) enum FrontOrder {
    /// To take no new calls.
    Close,
    /// To take new calls.
    Open,
    /// To go on with other settings.
    Tune(Box<Tuning>),
}

/// Settings that can be changed while it runs.
pub(crate) struct Tuning {
    pub(crate) front: FrontConfig,
    /// How long live calls may go on after a stop was asked for.
    pub(crate) grace: Duration,
    /// What becomes of new calls when none are taken.
    pub(crate) closed: Intake,
    /// When something is told as an alarm.
    pub(crate) thresholds: AlarmThresholds,
}

/// What the task has to do, as others see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Load {
    /// Whether new calls are taken.
    pub(crate) taking: bool,
    /// Dialogs in progress.
    pub(crate) dialogs: usize,
    /// Calls in progress, lingering ones included, and how many may be.
    pub(crate) calls: usize,
    pub(crate) calls_max: usize,
    /// Calls since the start that were refused at a limit, or that no record server opened.
    pub(crate) refused: u64,
    /// Whether a new call finds a record server.
    pub(crate) room: Room,
}

impl Load {
    pub(crate) const fn of(stats: &FrontStats, taking: bool, room: Room) -> Self {
        Self {
            taking,
            dialogs: stats.dialogs,
            calls: stats.calls,
            calls_max: stats.calls_max,
            refused: stats.refused + stats.not_recorded,
            room,
        }
    }
}

pub(crate) struct FrontTask {
    pub(crate) driver: SipDriver<TrunkGate>,
    pub(crate) front: Front,
    pub(crate) servers: Servers,
    /// Orders of people.
    pub(crate) commands: mpsc::Receiver<LiveCommand>,
    pub(crate) awaited: Awaited,
    pub(crate) teller: Teller,
    /// Becomes true when the process is to stop.
    pub(crate) stop: watch::Receiver<bool>,
    /// How long live calls may go on then.
    pub(crate) grace: Duration,
    /// What becomes of new calls when none are taken.
    pub(crate) closed: Intake,
    pub(crate) orders: mpsc::Receiver<FrontOrder>,
    /// Renewed each round.
    pub(crate) load: watch::Sender<Load>,
    /// Renewed each round.
    pub(crate) signalled: watch::Sender<Signalled>,
    pub(crate) pulse: Pulse,
    pub(crate) supervisor: Supervisor,
    /// When the next round without an input is due.
    pub(crate) round: Instant,
    pub(crate) alarms: Alarms,
    /// It is to stop: others carry on its calls, and it takes none of theirs.
    pub(crate) is_leaving: bool,
    /// Things that came from record servers without anything else between them.
    pub(crate) in_a_row: u32,
}

/// What the task waits for beside its driver.
#[derive(Default)]
pub(crate) struct Alarms {
    front: Alarm,
    round: Alarm,
}

impl FrontTask {
    /// Runs until it is told to stop; then refuses new calls, has other proxies carry on those that there are, lets the rest
    /// end for the grace time, and ends what is left. Media of calls that others have come here until their clients know. Until when what it recorded should be sealed.
    pub(crate) async fn run(mut self) -> Instant {
        loop {
            match self.select().await {
                Input::Stop => break,
                input => self.apply(input),
            }
        }
        self.front.set_intake(self.closed.clone());
        self.is_leaving = true;
        self.servers.leave();
        self.carry_out();
        self.go_round();
        let grace = self.grace;
        self.go_on_while(grace, |t| t.front.stats().dialogs > 0 || t.servers.handed_on() > 0).await;
        let left = self.front.stats().dialogs;
        if left > 0 {
            tracing::warn!("{left} calls are ended because callspool stops");
        }
        self.front.end_all(now());
        self.carry_out();
        let sealed_by = Instant::now() + SEAL_GRACE;
        self.go_on_while(SEAL_GRACE, |t| t.front.stats().calls > 0).await;
        // What follows has deadlines, and no rounds.
        self.pulse.waits();
        self.driver.close(SEND_GRACE).await;
        if self.servers.are_several() {
            // What they were told last is on its way.
            tokio::time::sleep(crate::desk::SEND_GRACE).await;
        }
        sealed_by
    }

    async fn go_on_while(&mut self, limit: Duration, wanted: impl Fn(&Self) -> bool) {
        let end = tokio::time::Instant::now() + limit;
        while wanted(self) {
            let input = tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                input = self.select_running() => input,
            };
            self.apply(input);
        }
    }

    async fn select(&mut self) -> Input {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = stop.wait_for(|s| *s) => Input::Stop,
            input = self.select_running() => input,
        }
    }

    async fn select_running(&mut self) -> Input {
        let timers = [self.front.next_timeout(), self.servers.next_timeout()];
        let timer = timers.into_iter().flatten().min().map(crate::clock::instant);
        tokio::select! {
            biased;
            () = self.alarms.round.at(Some(self.round)) => Input::Round,
            () = self.alarms.front.at(timer) => Input::Timeout,
            came = self.servers.next(), if self.in_a_row < IN_A_ROW_MAX => Input::Server(came),
            Some(order) = self.orders.recv() => Input::Order(order),
            Some(command) = self.commands.recv() => Input::Command(command),
            input = self.driver.select() => Input::Sip(input),
            () = std::future::ready(()), if self.in_a_row >= IN_A_ROW_MAX => Input::Turn,
        }
    }

    fn apply(&mut self, input: Input) {
        self.pulse.goes_on();
        self.in_a_row = if matches!(input, Input::Server(_)) { self.in_a_row + 1 } else { 0 };
        match input {
            Input::Sip(input) => self.driver.apply(input),
            Input::Server(came) => self.servers.apply(now(), came),
            Input::Command(LiveCommand::Order { command, answer }) => {
                let outcome = self.front.handle_command(now(), command);
                self.awaited.answer(outcome, answer);
            }
            Input::Command(LiveCommand::Join { command, answer }) => {
                // Nobody may wait any more; they are joined all the same.
                let _ = answer.send(self.front.join(now(), command));
            }
            Input::Command(LiveCommand::Forget { calls, tenant }) => self.front.forget_over(&tenant, calls),
            Input::Command(LiveCommand::Keys { given, answer }) => {
                let outcome = self.front.give_keys(now(), given);
                self.awaited.answer(outcome, answer);
            }
            Input::Command(LiveCommand::Listen { call, tenant, answer }) => {
                let ear = match (self.front.is_in_progress(call, &tenant), self.servers.local()) {
                    (Ok(()), Some(recorder)) => recorder.listening().begin(call).map_err(NoEar::Crowded),
                    (Ok(()), None) => Err(NoEar::Elsewhere),
                    (Err(e), _) => Err(NoEar::Call(e)),
                };
                // Nobody may wait any more; the ear is dropped then.
                let _ = answer.send(ear);
            }
            Input::Timeout => {
                self.servers.handle_timeout(now());
                self.front.handle_timeout(now());
            }
            Input::Round => self.go_round(),
            Input::Order(order) => self.obey(order),
            Input::Stop | Input::Turn => {}
        }
        self.carry_out();
    }

    fn go_round(&mut self) {
        self.round = Instant::now() + ROUND;
        let stats = self.front.stats();
        let taking = *self.front.intake() == Intake::Open;
        self.load.send_replace(Load::of(&stats, taking, self.servers.room()));
        let (net, messages) = self.driver.counts();
        let (agent, flows) = (self.driver.agent().stats(), self.driver.open_flows());
        let (placer, media) = self.servers.local().map_or((0, 0), Recorder::queued);
        let (reports, commands) = (self.servers.waiting(), self.commands.len());
        let newcomers = self.driver.newcomers();
        let queued = Queued { newcomers, reports, commands, placer, media };
        let (unread, credentials) = (self.driver.unread(), self.driver.gate_mut().judged());
        self.signalled.send_replace(Signalled {
            front: stats,
            opening_wait: self.front.opening_wait(now()),
            agent,
            net,
            messages,
            unread,
            credentials,
            flows,
            queued,
            servers: self.servers.views(),
            relayed: self.servers.relayed(),
        });
        let what = match (self.is_leaving && self.servers.are_several(), taking) {
            (true, _) => "stopping, calls go on at other proxies",
            (false, true) => "recording",
            (false, false) => "taking no new calls",
        };
        self.supervisor.status(format!("{what}: {} calls, {}", stats.dialogs, self.servers.summary()));
    }

    fn obey(&mut self, order: FrontOrder) {
        match order {
            FrontOrder::Close => self.front.set_intake(self.closed.clone()),
            FrontOrder::Open => self.front.set_intake(Intake::Open),
            FrontOrder::Tune(tuning) => {
                let Tuning { front, grace, closed, thresholds } = *tuning;
                if let Some(recorder) = self.servers.local() {
                    recorder.set_thresholds(thresholds);
                }
                self.driver.gate_mut().configure(front.trunks.clone());
                self.front.configure(front);
                if *self.front.intake() != Intake::Open {
                    self.front.set_intake(closed.clone());
                }
                (self.grace, self.closed) = (grace, closed);
            }
        }
        self.go_round();
    }

    /// Does all that follows from an input, until nothing more does.
    fn carry_out(&mut self) {
        self.front.set_writing_behind(self.servers.are_behind());
        self.front.set_room(self.servers.room());
        if let Some(away) = self.driver.gate_mut().take_turned_away() {
            self.front.turned_away(now(), away);
        }
        loop {
            if let Some(event) = self.driver.poll_event() {
                self.hear(event);
            } else if let Some(action) = self.front.poll_action() {
                self.act(action);
            } else if let Some(outcome) = self.servers.poll(now()) {
                self.heed(outcome);
            } else if !self.hand_on() {
                break;
            }
        }
        self.driver.set_full(self.front.is_full());
        self.tell_listeners();
        match self.driver.take_shed() {
            (0, 0) => {}
            (shed, 0) => self.front.count_refused(now(), shed),
            (shed, crowded) => {
                self.front.count_refused(now(), shed);
                self.front.count_crowded(now(), crowded);
            }
        }
    }

    /// A call that begins goes to whoever is to get the next one.
    fn place(&mut self, event: sip::Event) {
        if !self.servers.redirects() {
            return self.front.handle_event(now(), event);
        }
        let sent = self.front.stats().redirected;
        self.front.set_redirect(self.servers.redirect());
        self.front.handle_event(now(), event);
        if self.front.stats().redirected > sent {
            self.servers.sent();
        }
    }

    /// Whoever listens to a call that is over is told at once.
    fn tell_listeners(&self) {
        let Some(listening) = self.servers.local().map(Recorder::listening) else { return };
        if listening.is_empty() {
            return;
        }
        for call in listening.calls().into_iter().filter(|c| !self.front.goes_on(*c)) {
            listening.end(call);
        }
    }

    /// What record servers have to say.
    fn heed(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Report(report) => {
                self.awaited.take_note(&report);
                self.front.handle_report(now(), report);
            }
            Outcome::Unanswered(open) => self.front.unanswered(now(), open),
            Outcome::Tell(tenant, kind) => self.teller.tell(tenant, kind),
            Outcome::Alarm(occurrence) => self.teller.occurred(occurrence),
        }
    }

    fn act(&mut self, action: Action) {
        let done = match action {
            Action::Accept { session, sdp } => {
                self.driver.with(|agent, now| agent.accept(now, session, sdp, &[]))
            }
            Action::Refuse { session, code, reason, headers } => {
                self.driver.with(|agent, now| agent.refuse(now, session, code, reason, &headers))
            }
            Action::Reoffer { session, sdp } => {
                self.driver.with(|agent, now| agent.reinvite(now, session, Some(sdp)))
            }
            Action::AskMetadata { session, content_type, body } => {
                let disposition = [("Content-Disposition".to_owned(), "recording-session".to_owned())];
                let body = sip::Body { content_type: content_type.into(), bytes: body.into() };
                self.driver.with(|agent, now| agent.update(now, session, &disposition, Some(body)))
            }
            Action::HangUp { session, reason } => {
                self.driver.with(|agent, now| agent.bye(now, session, Some(&reason)))
            }
            Action::Order(order) => {
                self.servers.order(now(), order);
                Ok(())
            }
            Action::Tell(tenant, kind) => {
                self.teller.tell(tenant, kind);
                Ok(())
            }
            Action::Alarm(occurrence) => {
                self.teller.occurred(occurrence);
                Ok(())
            }
        };
        if let Err(e) = done {
            // The client hung up while we were about to answer: its end is on the way to the front.
            tracing::debug!("{e}");
        }
    }
}

//! What an operator wants of a running process, by signal or by the control socket, until it is to stop.
//!
//! | signal | command | what |
//! | --- | --- | --- |
//! | `SIGTERM`, `SIGINT` | `callspool stop --node` | stop: no new calls, the others end or are ended, all is sealed |
//! | `SIGHUP` | `callspool reload` | read the configuration again |
//! | `SIGUSR1` | `callspool stop --when-idle` | no new calls, stop when the last one has ended |
//! | | `callspool drain` | no new calls, until `callspool drain --off` |
//! | | `callspool sides CALL` | who of a call is the agent and who is external |
//! | | `callspool join CALL CALL` | that two calls are one |
//! | | `callspool pause`, `resume`, `start`, `stop CALL` | what is recorded of a call |
//! | | `callspool keys CALL STREAM` | by what a stream is encrypted |

use std::sync::Arc;

use api::ApiState;
use api::port::{
    Changed, JoinedCalls, Joins, KeysRequest, LiveCalls, LiveOrder, LiveRecording, LiveState, Notes,
};
use model::{CallId, Sides, TenantId};
use store::LIST_MAX;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use crate::certificates::Renewables;
use crate::config::{Config, Problem};
use crate::control::{AlarmsStand, Answer, Ask, Asked, BY, JoinStands, LiveStands, SidesStand};
use crate::desk::DeskLink;
use crate::elsewhere::{AcrossLink, Need};
use crate::front::{FrontOrder, Load};
use crate::gathering::{CallStands, GatherLink, Wish};
use crate::logging::LogLevel;
use crate::recorder::Teller;
use crate::reload::{Reloaded, Reloader};
use crate::serve::alarm_rules;
use crate::supervise::{Phase, Supervisor};
use crate::users::TrunkUsers;
use crate::webhook::Webhooks;

/// The signalling task as seen from here.
pub(crate) struct FrontLink {
    pub(crate) orders: mpsc::Sender<FrontOrder>,
    pub(crate) load: watch::Receiver<Load>,
    /// What a configuration means for it.
    pub(crate) tuning: fn(&Config, &TrunkUsers) -> FrontOrder,
}

/// See the module.
pub(crate) struct Operator {
    pub(crate) signals: Signals,
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) reloader: Reloader,
    pub(crate) log: LogLevel,
    /// Read again at a reload.
    pub(crate) certificates: Renewables,
    pub(crate) supervisor: Supervisor,
    /// None on a node that takes no calls.
    pub(crate) front: Option<FrontLink>,
    /// None on a node that is no record server.
    pub(crate) desk: Option<DeskLink>,
    /// Orders to its calls.
    pub(crate) live: Option<Arc<dyn LiveCalls>>,
    /// What people note of calls.
    pub(crate) notes: Arc<dyn Notes>,
    /// Calls that people join.
    pub(crate) joins: Arc<dyn Joins>,
    /// Whoever gathers segments.
    pub(crate) gather: GatherLink,
    /// What other nodes have of calls.
    pub(crate) across: AcrossLink,
    pub(crate) webhooks: Webhooks,
    /// What is told of alarms.
    pub(crate) teller: Teller,
    /// The page and the interface, where they are served.
    pub(crate) page: Option<ApiState>,
    /// Who holds service addresses, where this node keeps some.
    pub(crate) addresses: Option<address::View>,
    /// To stop when no call is left.
    pub(crate) when_idle: bool,
}

enum Input {
    Stop,
    StopWhenIdle,
    Reload,
    Asked(Ask, oneshot::Sender<Answer>),
    Idle,
}

impl Operator {
    /// Serves the operator until the process is to stop; gives back what goes on until its end.
    pub(crate) async fn until_stop(mut self) -> (Signals, Webhooks) {
        self.serve().await;
        (self.signals, self.webhooks)
    }

    async fn serve(&mut self) {
        loop {
            match self.select().await {
                Input::Stop => return,
                Input::Idle => {
                    tracing::info!("no call is left");
                    return;
                }
                Input::StopWhenIdle => self.stop_when_idle().await,
                Input::Reload => {
                    self.reload().await;
                }
                Input::Asked(Ask::Live { order, tenant, call }, answer) => {
                    self.order_call(order, tenant, call, answer);
                }
                Input::Asked(Ask::Keys(given), answer) => self.give_keys(*given, answer),
                Input::Asked(Ask::Sides { tenant, call, to }, answer) => {
                    self.correct_sides(tenant, call, to, answer);
                }
                Input::Asked(Ask::Join { tenant, calls }, answer) => self.join_calls(tenant, calls, answer),
                Input::Asked(Ask::Gather { wish, call }, answer) => self.gather(wish, call, answer),
                Input::Asked(Ask::Across { need, tenant, call }, answer) => {
                    self.look_across(need, tenant, call, answer);
                }
                Input::Asked(ask, answer) => {
                    let stops = ask == Ask::Stop;
                    let said = self.answer(ask).await;
                    let _ = answer.send(said);
                    if stops {
                        return;
                    }
                }
            }
        }
    }

    async fn select(&mut self) -> Input {
        let idle = async {
            if !self.when_idle {
                std::future::pending().await
            }
            // A task that is gone has no calls either.
            if let Some(front) = &mut self.front {
                let _ = front.load.wait_for(|load| !load.taking && load.dialogs == 0).await;
            }
            if let Some(desk) = &mut self.desk {
                let _ = desk.busy.wait_for(|segments| *segments == 0).await;
            }
        };
        tokio::select! {
            input = self.signals.next() => input,
            Some((ask, answer)) = self.asked.recv() => Input::Asked(ask, answer),
            () = idle => Input::Idle,
        }
    }

    async fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Status => Answer::done(self.status()),
            Ask::Alarms => self.alarms(),
            Ask::Reload => self.reload().await,
            Ask::Drain => {
                self.order(FrontOrder::Close).await;
                Answer::done("no new calls are taken; `callspool drain --off` takes them again")
            }
            Ask::Undrain => {
                self.when_idle = false;
                self.order(FrontOrder::Open).await;
                Answer::done("new calls are taken")
            }
            Ask::Stop => Answer::done("stopping: calls end within node.shutdown_grace"),
            Ask::StopWhenIdle => {
                self.stop_when_idle().await;
                Answer::done("no new calls are taken; it stops when the last one has ended")
            }
            // Answered elsewhere: it may take a while.
            Ask::Live { .. }
            | Ask::Sides { .. }
            | Ask::Join { .. }
            | Ask::Keys(_)
            | Ask::Gather { .. }
            | Ask::Across { .. } => Answer::refused(Vec::new()),
        }
    }

    fn status(&self) -> String {
        let addresses = self.addresses.iter().flat_map(|view| view.shown());
        let lines = addresses.map(|shown| format!("\n{}", crate::addresses::line(&shown)));
        std::iter::once(self.supervisor.line()).chain(lines).collect()
    }

    fn alarms(&self) -> Answer {
        let lasting = self.teller.told().lasting().into_iter().take(LIST_MAX).map(Into::into);
        let stand = AlarmsStand { catalog_away: self.teller.is_catalog_away(), lasting: lasting.collect() };
        Answer { alarms: Some(stand), ..Answer::done("what lasts, by the memory of this process") }
    }

    /// Passes an order on to whoever holds the call. Nothing waits for its answer here.
    fn order_call(&self, order: LiveOrder, tenant: TenantId, call: CallId, answer: oneshot::Sender<Answer>) {
        let Some(live) = self.live.clone() else { return refuse_elsewhere(answer) };
        tokio::spawn(async move {
            let outcome = live.order(tenant, call, order, BY.to_owned()).await;
            // Nobody may wait any more; the order stands all the same.
            let _ = answer.send(match outcome {
                Ok(state) => stands(&state),
                Err(e) => Answer::refused(vec![e.to_string()]),
            });
        });
    }

    /// The same with keys of one of its streams.
    fn give_keys(&self, given: KeysRequest, answer: oneshot::Sender<Answer>) {
        let Some(live) = self.live.clone() else { return refuse_elsewhere(answer) };
        tokio::spawn(async move {
            let (call, stream) = (given.call, given.stream);
            let _ = answer.send(match live.give_keys(given).await {
                Ok(stands) => {
                    let as_before = if stands.changed == Changed::Yes { "" } else { ", as before" };
                    Answer::done(format!("stream {stream} of call {call} has its keys{as_before}"))
                }
                Err(e) => Answer::refused(vec![e.to_string()]),
            });
        });
    }

    /// Writes who of a call is the agent. It may block on a disk, and nothing waits for it here.
    fn correct_sides(&self, tenant: TenantId, call: CallId, to: Sides, answer: oneshot::Sender<Answer>) {
        let notes = Arc::clone(&self.notes);
        tokio::task::spawn_blocking(move || {
            // Nobody may wait any more; what is written stands all the same.
            let _ = answer.send(match notes.correct(&tenant, call, to, BY) {
                Ok((sides, changed)) => sides_are(sides.call, sides.now, changed),
                Err(e) => Answer::refused(vec![e.to_string()]),
            });
        });
    }

    /// Has two calls joined by whoever can. Nothing waits for it here.
    fn join_calls(&self, tenant: TenantId, calls: [CallId; 2], answer: oneshot::Sender<Answer>) {
        let joining = self.joins.join(tenant, calls, BY.to_owned());
        tokio::spawn(async move {
            // Nobody may wait any more; they are joined all the same.
            let _ = answer.send(match joining.await {
                Ok(joined) => are_one(calls, joined),
                Err(e) => Answer::refused(vec![e.to_string()]),
            });
        });
    }

    /// Has calls gathered, or says how that stands. Nothing waits for it here.
    fn gather(&self, wish: Wish, call: Option<(TenantId, CallId)>, answer: oneshot::Sender<Answer>) {
        let link = self.gather.clone();
        tokio::spawn(async move {
            let found = match call {
                None => link.all(wish).await.map(Ok),
                Some((tenant, call)) => match link.call(tenant.clone(), call, wish).await {
                    Ok(Some(stands)) => Ok(Ok(vec![stands])),
                    Ok(None) if wish == Wish::Know => Ok(Ok(Vec::new())),
                    Ok(None) => Ok(Err(format!("there is no call {call} of {tenant} here"))),
                    Err(e) => Err(e),
                },
            };
            // Nobody may wait any more; what is wanted stands all the same.
            let _ = answer.send(match found {
                Ok(Ok(calls)) => gathering_stands(calls),
                Ok(Err(why)) => Answer::refused(vec![why]),
                Err(e) => Answer::refused(vec![e.to_string()]),
            });
        });
    }

    /// Says what other nodes have of a call, or has it fetched. It may take long, and nothing waits for it here.
    fn look_across(&self, need: Need, tenant: TenantId, call: CallId, answer: oneshot::Sender<Answer>) {
        let link = self.across.clone();
        tokio::task::spawn_blocking(move || {
            // Nobody may wait any more; what was fetched is there for the next one.
            let _ = answer.send(match link.find(need, &tenant, call) {
                Ok(found) => {
                    let text = format!("{} segments are at other nodes", found.segments.len());
                    Answer { across: Some((*found).clone()), ..Answer::done(text) }
                }
                Err(why) => Answer::refused(vec![why]),
            });
        });
    }

    async fn stop_when_idle(&mut self) {
        tracing::info!("no new calls are taken; callspool stops when the last one has ended");
        self.order(FrontOrder::Close).await;
        self.when_idle = true;
    }

    async fn order(&mut self, order: FrontOrder) {
        if let Some(desk) = &self.desk {
            match order {
                FrontOrder::Close => _ = desk.drained.send_replace(true),
                FrontOrder::Open => _ = desk.drained.send_replace(false),
                FrontOrder::Tune(_) => {}
            }
        }
        if let Some(front) = &self.front {
            // Only a task that has ended does not take it; that is told elsewhere.
            let _ = front.orders.send(order).await;
        }
    }

    async fn reload(&mut self) -> Answer {
        self.supervisor.tell(Phase::Reloading);
        let answer = match self.reloader.reload() {
            Ok(reloaded) => self.take_over(reloaded).await,
            Err(problems) => refused(&problems),
        };
        for line in &answer.text {
            if answer.done { tracing::info!("{line}") } else { tracing::error!("{line}") }
        }
        self.supervisor.tell(Phase::Ready);
        answer
    }

    async fn take_over(&mut self, reloaded: Reloaded) -> Answer {
        let config = self.reloader.config();
        if let Err(e) = self.log.set(&config.log.level) {
            tracing::error!("the level of the log stays as it is: {e}");
        }
        if let Some(front) = &self.front {
            let _ = front.orders.send((front.tuning)(config, self.reloader.users())).await;
        }
        self.teller.set_rules(alarm_rules(config));
        if let Some(page) = &self.page {
            page.allow_hosts(config.api.allowed_hosts.clone());
        }
        let renewed = self.webhooks.apply(self.reloader.webhooks(), self.teller.newest()).await;
        let Reloaded { mut in_effect, at_restart } = reloaded;
        for name in renewed {
            let table = format!("webhook.{name}");
            if !in_effect.iter().any(|setting| setting.starts_with(&format!("{table}."))) {
                in_effect.push(format!("the files of {table}"));
            }
        }
        let mut text = vec![match in_effect.is_empty() {
            true => "configuration read; nothing new is in effect".to_owned(),
            false => format!("configuration read; in effect now: {}", in_effect.join(", ")),
        }];
        if !at_restart.is_empty() {
            text.push(format!("in effect after a restart only: {}", at_restart.join(", ")));
        }
        for certificate in &self.certificates {
            let told = certificate.reload();
            if let Err(told) = &told {
                tracing::error!("{told}");
            }
            text.push(told.unwrap_or_else(|told| told));
        }
        Answer { done: true, text, in_effect, at_restart, ..Answer::default() }
    }
}

/// How gathering stands, in words and as data.
fn gathering_stands(calls: Vec<CallStands>) -> Answer {
    let mut text = Vec::new();
    for stands in &calls {
        text.push(format!("call {}: {}", stands.call, stands.describe()));
        text.extend(
            stands.missing.iter().map(|missing| format!("  {} (since {})", missing.what, missing.since)),
        );
        text.extend(stands.trouble.iter().map(|why| format!("  it failed {} times: {why}", stands.failures)));
    }
    if text.is_empty() {
        text.push("nothing is left to be gathered here".to_owned());
    }
    Answer { done: true, text, gathering: Some(calls), ..Answer::default() }
}

/// How a call stands, in words and as data.
fn stands(state: &LiveState) -> Answer {
    let call = state.call;
    let (recording, resumes_at, text) = match state.recording {
        LiveRecording::On => ("on", None, "is recorded".to_owned()),
        LiveRecording::Paused { until: None, .. } => ("paused", None, "is paused".to_owned()),
        LiveRecording::Paused { until: Some(at), .. } => {
            ("paused", Some(at), format!("is paused until {at}"))
        }
        LiveRecording::Off => ("off", None, "is not recorded".to_owned()),
    };
    let changed = state.changed == Changed::Yes;
    let as_before = if changed { "" } else { ", as before" };
    Answer {
        call: Some(LiveStands { call, recording: recording.to_owned(), resumes_at, changed }),
        ..Answer::done(format!("call {call} {text}{as_before}"))
    }
}

/// The sides of a call, in words and as data.
fn sides_are(call: CallId, sides: Sides, changed: Changed) -> Answer {
    let changed = changed == Changed::Yes;
    let as_before = if changed { "" } else { ", as before" };
    let text = format!("the sides of call {call}: {}{as_before}", sides.describe());
    Answer { sides: Some(SidesStand { call, sides, changed }), ..Answer::done(text) }
}

/// What two calls are that were joined, in words and as data.
fn are_one(calls: [CallId; 2], joined: JoinedCalls) -> Answer {
    let JoinedCalls { call, changed } = joined;
    let changed = changed == Changed::Yes;
    let as_before = if changed { "" } else { ", as before" };
    let [one, other] = calls;
    let text = format!("calls {one} and {other} are one: {call}{as_before}");
    Answer { joined: Some(JoinStands { call, changed }), ..Answer::done(text) }
}

fn refuse_elsewhere(answer: oneshot::Sender<Answer>) {
    let text = "no record server runs here; ask the node that does".to_owned();
    _ = answer.send(Answer::refused(vec![text]));
}

fn refused(problems: &[Problem]) -> Answer {
    let mut text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    text.push("the configuration cannot be used, and nothing is changed".to_owned());
    Answer::refused(text)
}

/// The signals that mean something.
pub(crate) struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hang_up: Option<Signal>,
    user: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        let of =
            |kind| signal(kind).inspect_err(|e| tracing::error!("a signal would not be noticed: {e}")).ok();
        Self {
            terminate: of(SignalKind::terminate()),
            interrupt: of(SignalKind::interrupt()),
            hang_up: of(SignalKind::hangup()),
            user: of(SignalKind::user_defined1()),
        }
    }

    async fn next(&mut self) -> Input {
        tokio::select! {
            () = received(&mut self.terminate) => Input::Stop,
            () = received(&mut self.interrupt) => Input::Stop,
            () = received(&mut self.hang_up) => Input::Reload,
            () = received(&mut self.user) => Input::StopWhenIdle,
        }
    }

    /// Waits for another signal to stop.
    pub(crate) async fn stop(&mut self) {
        while !matches!(self.next().await, Input::Stop) {}
    }
}

async fn received(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending().await
    }
}

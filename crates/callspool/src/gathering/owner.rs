//! The one owner of the machine that gathers: it tells it what happens and does what it says.
//!
//! One function chooses what is next and does nothing else, another changes the state and waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Answer, CallHoldings, CallId, Care, Copy, CopyOf, Incident, Now, PeerName, TenantId};
use peers::{Asker, Inquiry, Roster, Told};
use spool::gathering::{Input, Step, Synchronizer, Windows};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::hands::{Finished, Hands, Heard};
use super::{CallStands, Command, GatherFigures, Means, Prepared, Settings, Wish, look};
use crate::clock::now;
use crate::desk::Cares;
use crate::elsewhere::Elsewhere;
use crate::recorder::Teller;
use crate::volumes::Volumes;

/// How often room and hours are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a call is looked at again that could not be.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Calls that could not be looked at and wait for that, at most: those beyond are found by looking through everything.
const AGAIN_MAX: usize = 4_096;
/// How soon calls are looked for that were put off for others: looking through everything takes minutes of the disks.
const PUT_OFF_FOR: Duration = Duration::from_secs(600);
/// Calls that are told to a person at once.
const STANDS_MAX: usize = 1_000;
/// People who wait until a call was looked for.
const ASKERS_MAX: usize = 64;

/// See the module.
pub(super) struct Owner {
    settings: Settings,
    machine: Synchronizer,
    asker: Asker,
    roster: Roster,
    hands: Hands,
    heard: Heard,
    inquiries: mpsc::Receiver<Inquiry>,
    notices: mpsc::Receiver<String>,
    commands: mpsc::Receiver<Command>,
    volumes: Volumes,
    teller: Teller,
    cares: Cares,
    figures: Arc<GatherFigures>,
    stop: watch::Receiver<bool>,
    /// Who waits for an answer, by its ticket.
    asked: BTreeMap<u64, oneshot::Sender<Answer>>,
    last: u64,
    /// People who wait until a call was looked at.
    waiting: BTreeMap<CallId, Vec<Waits>>,
    /// Directories that could not be looked at, or of which nothing more could be kept in mind, and when they are looked at again.
    again: BTreeMap<String, Instant>,
    /// Whether there were more of them than are remembered.
    has_forgotten: bool,
    /// When calls that were put off are looked for.
    scan_at: Option<Instant>,
    windows: Option<(bool, bool)>,
    /// Why peers cannot be asked, as it was said last: attempts follow one another.
    away: BTreeMap<PeerName, String>,
}

/// A person who waits.
struct Waits {
    tenant: TenantId,
    answer: oneshot::Sender<Option<CallStands>>,
}

enum Event {
    Told(Told),
    Asked(Inquiry),
    Finished(Finished),
    Found(CallHoldings),
    Noticed(String),
    Wanted(Command),
    Timeout,
    Look,
}

/// One whose threads run, and which has no connections yet.
pub(super) struct Starting {
    settings: Settings,
    machine: Synchronizer,
    prepared: Prepared,
    hands: Hands,
    heard: Heard,
    volumes: Volumes,
    teller: Teller,
    cares: Cares,
    commands: mpsc::Receiver<Command>,
    figures: Arc<GatherFigures>,
    elsewhere: Option<Elsewhere>,
    stop: watch::Receiver<bool>,
}

impl Starting {
    /// Starts the threads.
    pub(super) fn new(
        settings: Settings,
        machine: Synchronizer,
        prepared: Prepared,
        means: Means,
    ) -> io::Result<Self> {
        let Means { cares, volumes, disks, teller, commands, figures, elsewhere, stop } = means;
        let (hands, heard) = Hands::start(settings.node, &volumes, disks, &teller)?;
        Ok(Self {
            settings,
            machine,
            prepared,
            hands,
            heard,
            volumes,
            teller,
            cares,
            commands,
            figures,
            elsewhere,
            stop,
        })
    }

    /// Dials, and runs until it is told to stop.
    pub(super) async fn run(self) {
        let Self {
            settings,
            machine,
            prepared,
            hands,
            heard,
            volumes,
            teller,
            cares,
            commands,
            figures,
            elsewhere,
            stop,
        } = self;
        let Prepared { own, roster, peers, inquiries, tell } = prepared;
        // Doors have senders of their own.
        drop(tell);
        let asker = Asker::start(own, roster.clone(), peers);
        if let Some(elsewhere) = &elsewhere {
            elsewhere.ask_by(asker.questions());
        }
        let owner = Owner {
            settings,
            machine,
            asker,
            roster,
            hands,
            heard,
            inquiries,
            notices: teller.scattered().listen(),
            commands,
            volumes,
            teller,
            cares,
            figures,
            stop,
            asked: BTreeMap::new(),
            last: 0,
            waiting: BTreeMap::new(),
            again: BTreeMap::new(),
            has_forgotten: false,
            scan_at: None,
            windows: None,
            away: BTreeMap::new(),
        };
        owner.run().await;
    }
}

impl Owner {
    async fn run(mut self) {
        self.look_around();
        self.hands.scan();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while let Some(event) = self.next(&mut look).await {
            self.apply(event);
            self.drain();
        }
    }

    /// What comes next; none when it is to stop.
    async fn next(&mut self, look: &mut tokio::time::Interval) -> Option<Event> {
        let due = self.machine.next_timeout().map(|at| Instant::now() + at.since(now().mono));
        let due = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => None,
            Some(finished) = self.heard.finished.recv() => Some(Event::Finished(finished)),
            told = self.asker.told() => Some(Event::Told(told)),
            Some(inquiry) = self.inquiries.recv() => Some(Event::Asked(inquiry)),
            Some(command) = self.commands.recv() => Some(Event::Wanted(command)),
            Some(directory) = self.notices.recv() => Some(Event::Noticed(directory)),
            Some(held) = self.heard.found.recv(), if self.machine.has_room_for_found(now().mono) => {
                Some(Event::Found(held))
            },
            () = due => Some(Event::Timeout),
            _ = look.tick() => Some(Event::Look),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Told(told) => self.told(told),
            Event::Asked(Inquiry { name, from, request, answer }) => {
                tracing::debug!(%name, node = from.get(), "asks: {request:?}");
                self.last += 1;
                self.asked.insert(self.last, answer);
                self.machine.handle(now(), Input::Asked { from, ticket: self.last, request });
            }
            Event::Finished(finished) => self.finished(finished),
            Event::Found(held) => {
                // What is in mind is known better than by a look that was taken some time ago.
                if self.machine.standing(held.call.call).is_none() {
                    self.own(held);
                }
            }
            Event::Noticed(directory) => self.hands.look_at(directory),
            Event::Wanted(command) => self.wanted(command),
            Event::Timeout => self.machine.handle_timeout(now()),
            Event::Look => self.look_around(),
        }
    }

    fn told(&mut self, told: Told) {
        let input = match told {
            Told::Up { name, node } => {
                self.away.remove(&name);
                tracing::info!(record_server = %name, node = node.get(), "can be asked for segments");
                GatherFigures::add(&self.figures.up, 1);
                Input::Up(node)
            }
            Told::Down { name, node, why } => {
                if self.away.get(&name) != Some(&why) {
                    tracing::warn!(record_server = %name, "cannot be asked for segments: {why}");
                    self.away.insert(name, why);
                }
                let Some(node) = node else { return };
                self.figures.up.fetch_sub(1, Ordering::Relaxed);
                Input::Down(node)
            }
            Told::Answered { from, ticket, answer } => {
                if let Answer::Octets { octets, .. } = &answer {
                    GatherFigures::add(&self.figures.fetched, octets.len() as u64);
                }
                Input::Answered { from, ticket, answer }
            }
            Told::Unanswered { from, why, .. } => {
                tracing::debug!(node = from.get(), "a question is not answered: {why}");
                let [_, node] = &self.figures.failed;
                return GatherFigures::add(node, 1);
            }
        };
        self.machine.handle(now(), input);
    }

    fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Local { ticket, result } => {
                self.hands.done(ticket);
                if result.is_err() {
                    let [disk, _] = &self.figures.failed;
                    GatherFigures::add(disk, 1);
                }
                self.machine.handle(now(), Input::Done { ticket, result });
            }
            Finished::Looked { asked, held: Ok(held) } => {
                if self.hands.may_believe(&held) {
                    self.looked(&asked, held);
                }
            }
            Finished::Looked { asked, held: Err(e) } => {
                self.hands.looked();
                tracing::debug!("what is here of {asked} is not known: {e}; it is looked at again");
                if let Some(key) = look::key_of(&asked) {
                    let unread = Input::Unread { call: key.call, why: e.to_string() };
                    self.machine.handle(now(), unread);
                }
                self.look_later(asked);
            }
            Finished::Told => self.hands.looked(),
            Finished::Found { call, directory: Some(directory) } => {
                self.hands.looked();
                tracing::debug!(%call, "it lies in {directory}");
                self.hands.look_at(directory);
            }
            Finished::Found { call, directory: None } => {
                self.hands.looked();
                for Waits { answer, .. } in self.waiting.remove(&call).unwrap_or_default() {
                    // Nobody may wait any more.
                    let _ = answer.send(None);
                }
            }
        }
    }

    fn looked(&mut self, asked: &str, held: CallHoldings) {
        if !self.machine.has_room() && self.machine.standing(held.call.call).is_none() {
            self.look_later(asked.to_owned());
        }
        let (call, tenant, asked_for) = (held.call.call, held.call.tenant.clone(), look::key_of(asked));
        self.own(held);
        let mut waiting = self.waiting.remove(&call).unwrap_or_default();
        // It turned out to be another call: whoever asked by the first name is answered by it.
        if let Some(other) = asked_for.filter(|key| key.call != call) {
            waiting.extend(self.waiting.remove(&other.call).unwrap_or_default());
            self.own(CallHoldings::nothing(other));
        }
        if !waiting.is_empty() {
            self.machine.handle(now(), Input::Wanted(call));
        }
        for Waits { tenant: whose, answer } in waiting {
            let stands = (whose == tenant).then(|| self.stands(call, &tenant));
            let _ = answer.send(stands);
        }
    }

    fn look_later(&mut self, directory: String) {
        if self.again.len() < AGAIN_MAX {
            self.again.insert(directory, Instant::now() + LOOK_AGAIN);
        } else {
            self.has_forgotten = true;
        }
    }

    /// What is here of a call. What the machine tells of it at once is no news, or was not told before a crash.
    fn own(&mut self, mut held: CallHoldings) {
        let of_it = held.directories.iter().map(|d| d.place.of.call).chain([held.call.call]);
        let is_had = of_it.into_iter().any(|call| self.cares.has(call));
        held.care = if is_had { Care::Somebody } else { Care::Nobody };
        self.machine.handle(now(), Input::Own(held));
        while let Some(step) = self.machine.poll() {
            match step {
                Step::Tell { call, copies } => self.hands.tell(call, copies),
                step => self.step(step),
            }
        }
    }

    fn wanted(&mut self, command: Command) {
        match command {
            Command::Call { tenant, call, wish, answer } => match (self.machine.standing(call), wish) {
                (Some(standing), _) if standing.call.tenant != tenant => _ = answer.send(None),
                (Some(_), Wish::Gather) => {
                    self.machine.handle(now(), Input::Wanted(call));
                    _ = answer.send(Some(self.stands(call, &tenant)));
                }
                (standing, Wish::Know) => _ = answer.send(standing.map(CallStands::from)),
                (None, Wish::Gather) => {
                    // What is beyond hears that there is no answer.
                    if self.waiting.len() < ASKERS_MAX {
                        self.hands.look_for(tenant.clone(), call);
                        self.waiting.entry(call).or_default().push(Waits { tenant, answer });
                    }
                }
            },
            Command::All { wish, answer } => {
                let calls: Vec<CallId> = self.machine.standings().map(|s| s.call.call).collect();
                if wish == Wish::Gather {
                    calls.iter().for_each(|call| self.machine.handle(now(), Input::Wanted(*call)));
                }
                let stands = self.machine.standings().take(STANDS_MAX).map(CallStands::from).collect();
                let _ = answer.send(stands);
            }
        }
    }

    fn stands(&self, call: CallId, tenant: &TenantId) -> CallStands {
        let standing = self.machine.standing(call).map(CallStands::from);
        standing.unwrap_or_else(|| CallStands::at_rest(call, tenant.clone(), self.settings.mode))
    }

    /// What has no event of its own: room, hours, what is to be tried again.
    fn look_around(&mut self) {
        let Now { wall, .. } = now();
        self.machine.handle(now(), Input::Room(self.volumes.room()));
        let is_open =
            |hours: Option<crate::config::hours::Hours>| hours.is_none_or(|hours| hours.are_now(wall));
        let windows = (is_open(self.settings.window), is_open(self.settings.purge_window));
        if self.windows.replace(windows) != Some(windows) {
            let (gather, purge) = windows;
            self.machine.handle(now(), Input::Windows(Windows { gather, purge }));
        }
        for clash in self.roster.clashes() {
            self.teller.alarm(&self.settings.tenant, Incident::NotGathered, None, None, clash);
        }
        let due: BTreeSet<String> = self
            .again
            .iter()
            .filter(|(_, at)| **at <= Instant::now())
            .map(|(asked, _)| asked.clone())
            .collect();
        for directory in due {
            self.again.remove(&directory);
            self.hands.look_at(directory);
        }
        let cares = &self.cares;
        let is_had = |directory: &str| look::key_of(directory).is_some_and(|key| cares.has(key.call));
        let after = self.settings.conclude_after;
        let due = self.teller.scattered().not_concluded().due(now().mono, after, is_had);
        due.into_iter().for_each(|directory| self.hands.look_at(directory));
        self.has_forgotten |= self.teller.scattered().has_missed() | self.hands.has_forgotten();
        if self.machine.has_put_off() {
            self.scan_at.get_or_insert(Instant::now() + PUT_OFF_FOR);
        }
        self.has_forgotten |= self.scan_at.take_if(|at| *at <= Instant::now()).is_some();
        if self.has_forgotten && self.machine.has_room() {
            self.has_forgotten = false;
            self.hands.scan();
        }
        // Who asked has been told by now that there is no answer.
        self.asked.retain(|_, answer| !answer.is_closed());
        for waits in self.waiting.values_mut() {
            waits.retain(|waits| !waits.answer.is_closed());
        }
        self.waiting.retain(|_, waits| !waits.is_empty());
        self.figures.waiting.store(self.machine.calls_in_mind() as u64, Ordering::Relaxed);
        self.drain();
    }

    /// Does all that the machine says.
    fn drain(&mut self) {
        while let Some(step) = self.machine.poll() {
            self.step(step);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Local { ticket, volume, local } => {
                if let Err(why) = self.hands.carry_out(ticket, &volume, local) {
                    self.machine.handle(now(), Input::Done { ticket, result: Err(why) });
                }
            }
            Step::Ask { to, ticket, request } => self.asker.ask(to, ticket, request),
            Step::Answer { ticket, answer, .. } => {
                if let Answer::Octets { octets, .. } = &answer {
                    GatherFigures::add(&self.figures.served, octets.len() as u64);
                }
                if let Some(asked) = self.asked.remove(&ticket) {
                    // It may wait no longer.
                    let _ = asked.send(answer);
                }
            }
            Step::Recall(key) => self.hands.look_at(look::directory(&key)),
            Step::Tell { call, copies } => {
                let is_call = |copy: &Copy| copy.of == CopyOf::Call(call.call);
                if copies.iter().any(|copy| is_call(copy) && copy.state.is_gathered()) {
                    tracing::info!(call = %call.call, "all segments of it are here");
                    GatherFigures::add(&self.figures.gathered, 1);
                }
                self.hands.tell(call, copies);
            }
            Step::Purged { call, segments } => {
                tracing::info!(call = %call.call, "{} segments that another node has are removed", segments.len());
                GatherFigures::add(&self.figures.removed, segments.len() as u64);
            }
            Step::Alarm(occurrence) => self.teller.occurred(occurrence),
        }
    }
}

//! A cluster, who calls it, and what happens to both, one thing after the other.
//!
//! ```text
//!  0 s ── calls begin, faults come and go ── 75 s: all is well ── 85 s: who still calls hangs up
//!      ── until proxies hold nothing: they stop ── until all is gathered ── what must hold in the end is looked at
//! ```

mod faults;
mod finale;
mod owners;

use std::collections::VecDeque;
use std::net::IpAddr;

use model::{Now, PeerName};

use crate::callers::Callers;
use crate::core::{Core, Event, FromProxy, Input, Presence};
use crate::network::Toward;
use crate::proxy::Proxy;
use crate::scenario::{FORGOTTEN, HEALED, HUNG_UP, MS, S, Scenario, Who};
use crate::server::Server;

/// How often record servers say how they are: a fifth of what the real ones do, so that a life is cheap.
pub(crate) const BEAT: u64 = 500 * MS;
/// How often it is looked whether every call is cared for.
const LOOKS_EVERY: u64 = 250 * MS;
/// How long nobody may care for a call: until a record server is missed (1.8 s), three are asked, and one that may return is
/// waited for.
const UNCARED_MAX: u64 = 12 * S;
/// How long after the last fault proxies may hold anything: until a segment is given up that is never closed, its call is
/// concluded, and that is forgotten.
const SETTLED_WITHIN: u64 = 480 * S;
/// How long gathering may take: a failure is tried again after ten minutes at most.
const GATHERED_WITHIN: u64 = 3_600 * S;

/// See the module.
pub(crate) struct World {
    pub(crate) core: Core,
    scenario: Scenario,
    proxies: Vec<Proxy>,
    pub(crate) servers: Vec<Server>,
    callers: Callers,
    /// Of proxies, then of record servers.
    processes: [Vec<Process>; 2],
    phase: Phase,
    pub(crate) steps: u64,
}

/// How far a life is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Calls,
    /// Proxies have stopped.
    Gathers,
    Over,
}

/// What runs, or not.
#[derive(Default)]
struct Process {
    is_alive: bool,
    /// It stands still until then.
    hangs: bool,
    /// What came meanwhile.
    unread: VecDeque<Input>,
    /// How far its wall clock is off, in nanoseconds.
    skew: i64,
    /// When it is to be woken, as far as that is planned.
    timer: Option<u64>,
}

pub(crate) fn server_name(index: usize) -> PeerName {
    // A letter and a number are a name, and there is always a first.
    let name = char::from(b'a' + u8::try_from(index % 26).unwrap_or(0)).to_string();
    name.parse().unwrap_or_else(|_| server_name(0))
}

/// Where media come to a record server.
pub(crate) fn media_address(index: usize) -> IpAddr {
    [10, 0, 0, u8::try_from(index + 1).unwrap_or(u8::MAX)].into()
}

/// Whose that is.
pub(crate) fn server_of(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(v4) if v4.octets()[..3] == [10, 0, 0] => usize::from(v4.octets()[3]).checked_sub(1),
        _ => None,
    }
}

impl World {
    pub(crate) fn new(mut core: Core, scenario: Scenario) -> Self {
        let seeds = [core.rng.octets(), core.rng.octets()];
        let proxies = (0..scenario.proxies).map(|index| Proxy::new(index, 0, &scenario, seeds, 0)).collect();
        let callers = Callers::new(&scenario, core.rng.octets());
        let processes = |n: usize| (0..n).map(|_| Process::default()).collect();
        Self {
            proxies,
            servers: (0..scenario.servers).map(|index| Server::new(index, scenario.servers)).collect(),
            callers,
            processes: [processes(scenario.proxies), processes(scenario.servers)],
            phase: Phase::Calls,
            steps: 0,
            scenario,
            core,
        }
    }

    /// Lives it to its end, or to the first thing that does not hold.
    pub(crate) fn live(&mut self) {
        for index in 0..self.servers.len() {
            self.start(Who::Server(index));
        }
        for index in 0..self.proxies.len() {
            self.start(Who::Proxy(index));
        }
        for caller in 0..self.callers.len() {
            self.core.schedule(self.callers.begins(caller), Event::Calls(caller));
        }
        for (at, fault) in self.scenario.faults.clone() {
            self.core.schedule(at, Event::Fault(fault));
        }
        self.core.schedule(HEALED, Event::Healed);
        self.core.schedule(HUNG_UP, Event::HungUp);
        self.core.schedule(FORGOTTEN, Event::HungUp);
        self.core.schedule(LOOKS_EVERY, Event::Look);
        while self.phase != Phase::Over && self.core.truth.violation.is_none() {
            let Some(event) = self.core.next(u64::MAX) else { return };
            self.steps += 1;
            self.happen(event);
            self.look_at_copies();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::To(who, run, input) => self.give(who, run, input),
            Event::Callers(proxy, bytes) => self.callers.receive(&mut self.core, proxy, bytes),
            Event::CallersTimer => self.callers.handle_timeout(&mut self.core),
            Event::Calls(caller) => self.callers.calls(&mut self.core, caller),
            Event::Does(caller, does) => self.callers.does(&mut self.core, caller, does),
            Event::Talks(caller) => self.callers.talks(&mut self.core, caller),
            Event::Orders(caller, ask) => self.order(caller, ask),
            Event::Dial(proxy, server) => self.dial(proxy, server),
            // What would begin when all is to be well does not begin.
            Event::Fault(fault) if self.core.at < HEALED => self.begin_fault(fault),
            Event::Over(fault) if self.core.at < HEALED => self.end_fault(fault),
            Event::Fault(_) | Event::Over(_) => {}
            Event::Start(who) => self.start(who),
            Event::Healed => self.heal(),
            Event::HungUp => self.callers.hang_up(&mut self.core),
            Event::Look => self.look(),
        }
    }

    fn process(&mut self, who: Who) -> &mut Process {
        match who {
            Who::Proxy(index) => &mut self.processes[0][index],
            Who::Server(index) => &mut self.processes[1][index],
        }
    }

    fn is_alive(&self, who: Who) -> bool {
        match who {
            Who::Proxy(index) => self.processes[0][index].is_alive,
            Who::Server(index) => self.processes[1][index].is_alive,
        }
    }

    /// Something comes to a process.
    fn give(&mut self, who: Who, run: u64, input: Input) {
        if self.core.run(who) != Some(run) || !self.is_alive(who) {
            return;
        }
        if self.process(who).hangs {
            return self.process(who).unread.push_back(input);
        }
        if matches!(input, Input::Timer) {
            let at = self.core.at;
            let process = self.process(who);
            if process.timer.is_some_and(|timer| timer <= at) {
                process.timer = None;
            }
        }
        let now = self.now(who);
        let next = match who {
            Who::Proxy(index) => {
                let proxy = &mut self.proxies[index];
                proxy.take(&mut self.core, now, input);
                proxy.next_timeout()
            }
            Who::Server(index) => {
                let server = &mut self.servers[index];
                server.take(&mut self.core, now, input);
                server.next_timeout()
            }
        };
        self.wake(who, next);
    }

    /// A process is to be woken then.
    fn wake(&mut self, who: Who, next: Option<u64>) {
        let Some(at) = next.map(|at| at.max(self.core.at + 1)) else { return };
        if self.process(who).timer.is_none_or(|timer| at < timer) {
            self.process(who).timer = Some(at);
            self.core.tell_at(at, who, Input::Timer);
        }
    }

    fn now(&mut self, who: Who) -> Now {
        let skew = self.process(who).skew;
        self.core.now(skew)
    }

    /// A process begins.
    fn start(&mut self, who: Who) {
        if self.is_alive(who) {
            return;
        }
        let run = self.core.next_run(who);
        let skew = self.process(who).skew;
        *self.process(who) = Process { is_alive: true, skew, ..Process::default() };
        self.core.say(format_args!("{who:?} starts, run {run}"));
        let now = self.now(who);
        match who {
            Who::Proxy(index) => {
                let seeds = [self.core.rng.octets(), self.core.rng.octets()];
                let given = self.proxies[index].given;
                self.proxies[index] = Proxy::new(index, run, &self.scenario, seeds, given);
                self.core.network.closed.remove(&index);
                for server in 0..self.servers.len() {
                    let at = self.core.at + self.core.rng.between(MS, 60 * MS);
                    self.core.schedule(at, Event::Dial(index, server));
                }
            }
            Who::Server(index) => {
                self.servers[index].begin(&mut self.core, now, run);
                let next = self.servers[index].next_timeout();
                self.wake(who, next);
                for other in 0..self.servers.len() {
                    self.meet(index, other);
                }
            }
        }
    }

    /// Two record servers can speak to each other.
    fn meet(&mut self, a: usize, b: usize) {
        let (there, here) = (Who::Server(a), Who::Server(b));
        if a == b || self.core.network.are_apart(a, b) || !self.is_alive(there) || !self.is_alive(here) {
            return;
        }
        self.core.hears_of(a, b, Presence::There, 500 * MS);
        self.core.hears_of(b, a, Presence::There, 500 * MS);
    }

    /// A proxy tries to reach a record server.
    fn dial(&mut self, proxy: usize, server: usize) {
        let (from, to) = (Who::Proxy(proxy), Who::Server(server));
        let (hangs, mute) = (self.process(from).hangs, self.process(to).hangs);
        if !self.is_alive(from) || self.core.network.link(proxy, server).is_up {
            return;
        }
        let at = self.core.at;
        let link = self.core.network.link(proxy, server);
        if hangs || mute || !self.processes[1][server].is_alive || !link.passes(at) {
            let at = at + self.core.rng.between(200 * MS, 1_000 * MS);
            return self.core.schedule(at, Event::Dial(proxy, server));
        }
        let number = link.make();
        let at = link.arrives(at, Toward::Server, &mut self.core.rng);
        self.core.tell_at(at, to, Input::Came(proxy, number, FromProxy::Up));
    }

    /// It is looked whether every call is cared for, and whether this phase is over.
    fn look(&mut self) {
        let at = self.core.at;
        let mut again = LOOKS_EVERY;
        match self.phase {
            Phase::Calls => {
                self.look_at_dialogs();
                self.look_at_owners();
                if at > HUNG_UP + S && self.callers.are_over() && self.held_by_proxies().is_none() {
                    self.stop_proxies();
                } else if at > HEALED + SETTLED_WITHIN {
                    let held = self.held_by_proxies().unwrap_or("callers still call".to_owned());
                    self.core.violated(format!("something stays although all is well: {held}"));
                }
            }
            Phase::Gathers => {
                again = 2 * S;
                if self.is_gathered() || at > HEALED + SETTLED_WITHIN + GATHERED_WITHIN {
                    self.look_at_the_end();
                    self.phase = Phase::Over;
                }
            }
            Phase::Over => return,
        }
        self.core.schedule(at + again, Event::Look);
    }

    fn held_by_proxies(&self) -> Option<String> {
        let proxies = self.proxies.iter().enumerate();
        let of_proxies =
            proxies.filter_map(|(n, proxy)| proxy.holds().map(|held| format!("proxy {n}: {held}")));
        let of_servers = self.servers.iter().filter_map(Server::holds);
        let all: Vec<_> = of_proxies.chain(of_servers).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Proxies have nothing to do any more, and stop.
    fn stop_proxies(&mut self) {
        self.core.say(format_args!("proxies stop"));
        self.phase = Phase::Gathers;
        self.core.ticks = 2 * S;
        for index in 0..self.proxies.len() {
            self.end_process(Who::Proxy(index));
        }
    }

    /// Whether nobody has anything to gather that can be gathered.
    fn is_gathered(&self) -> bool {
        self.servers.iter().all(|s| s.gathering.standings().is_empty() && s.holds().is_none())
    }

    /// Each dialog that is answered and not on hold has one segment, live at one record server that its proxy knows of; or
    /// has had none for a short time only.
    fn look_at_dialogs(&mut self) {
        let at = self.core.at;
        let mut dialogs = std::mem::take(&mut self.core.truth.dialogs);
        for ((proxy, session), dialog) in &mut dialogs {
            let process = &self.processes[0][*proxy];
            if dialog.is_over || !dialog.is_accepted || dialog.is_held || process.hangs || !process.is_alive {
                dialog.uncared = None;
                continue;
            }
            match self.cares(*proxy, &dialog.call_id) {
                Ok(true) => dialog.uncared = None,
                Ok(false) => {
                    let since = *dialog.uncared.get_or_insert(at);
                    if at - since > UNCARED_MAX {
                        let (caller, session) = (dialog.caller, session.0);
                        self.core.violated(format!(
                            "nobody has recorded caller {caller} (session {session} of proxy {proxy}) for {} s",
                            (at - since) / S
                        ));
                    }
                }
                Err(why) => self.core.violated(why),
            }
        }
        self.core.truth.dialogs = dialogs;
    }

    fn cares(&self, proxy: usize, call_id: &str) -> Result<bool, String> {
        let truth = &self.core.truth;
        let Some(call) = truth.call_of(proxy, call_id) else { return Ok(false) };
        let live: Vec<_> = truth.segments.iter().filter(|(_, s)| s.call == call && s.is_live).collect();
        if let [(first, _), (second, _), ..] = live[..] {
            return Err(format!("segments {first} and {second} of one call are both taken to be live"));
        }
        let Some((segment, known)) = live.first() else { return Ok(false) };
        let alive = self.servers.iter().filter(|server| self.processes[1][server.index].is_alive);
        let places = alive.filter(|server| server.recorder.has(**segment)).count();
        if places > 1 {
            return Err(format!("segment {segment} is live at {places} record servers"));
        }
        Ok(known.answer == crate::truth::Answer::Opened && places == 1)
    }
}

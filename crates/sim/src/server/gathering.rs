//! The real machine that gathers, with its disk and its ways to other record servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{CallHoldings, CallKey, Care, NodeNumber, Now, Place, Rank, RecordingState, VolumeName};
use spool::gathering::{Input as Said, Local, Mode, Step, Synchronizer, Terms, own};
use spool::{FileOp, Files, layout};

use super::Server;
use crate::core::{Core, Input};
use crate::scenario::{MS, Who};
use crate::world::server_name;
use crate::wrong::Wrong;

/// How long nobody may say how a call came out before record servers do. Shorter than some faults last, so that a proxy is back
/// now and then when that is done.
const CONCLUDE_AFTER: Duration = Duration::from_secs(15);

/// See the module.
pub(crate) struct Gathering {
    machine: Synchronizer,
    /// Other record servers that there are.
    pub(super) others: usize,
    /// When the disk is done with what it was asked for last.
    busy_until: u64,
}

impl Gathering {
    pub(super) fn new(number: NodeNumber, others: usize, first_ticket: u64) -> Self {
        let terms = Terms {
            node: number,
            volume: VolumeName::default(),
            mode: Mode::Gather,
            range: 4 << 10,
            octets_in_flight: 16 << 10,
            octets_per_second: 4 << 20,
            reserve: 1 << 10,
            others,
            conclude_after: CONCLUDE_AFTER,
        };
        Self { others, machine: Synchronizer::new(terms, first_ticket), busy_until: 0 }
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.machine.next_timeout().map(|at| at.0)
    }

    /// Calls that it has something to do about, each with how it stands.
    pub(crate) fn standings(&self) -> BTreeMap<CallKey, String> {
        self.machine.standings().map(|s| (s.call.clone(), format!("{s:?}"))).collect()
    }
}

impl Server {
    pub(super) fn gather(&mut self, core: &mut Core, now: Now, input: Input) {
        match input {
            Input::Timer => {
                self.gathering.machine.handle_timeout(now);
                self.drain(core);
            }
            Input::Local(ticket, local) => {
                let result = self.do_local(core, &local);
                let is_done = result.is_ok();
                core.say(format_args!("{}: {} {}", self.name, short(&local), is_done));
                self.look_after(core, &local);
                self.hand_in_room(core, now);
                self.say(core, now, Said::Done { ticket, result });
            }
            Input::Recall(key) => self.hand_in(core, now, &key),
            Input::Asked(from, ticket, request) => {
                if let (model::Request::List { call }, true) = (&request, core.is_wrong(Wrong::GivesUpEarly))
                {
                    self.give_up(core, call);
                }
                self.say(core, now, Said::Asked { from: number(from), ticket, request });
            }
            Input::Answered(from, ticket, answer) => {
                self.say(core, now, Said::Answered { from: number(from), ticket, answer });
            }
            Input::Met(other) => self.say(core, now, Said::Up(number(other))),
            Input::Missed(other) => self.say(core, now, Said::Down(number(other))),
            _ => {}
        }
    }

    pub(super) fn hand_in_room(&mut self, core: &mut Core, now: Now) {
        let room = self.disk.disk.room();
        self.say(core, now, Said::Room(room));
    }

    /// Gathering hears what is here of a call.
    pub(super) fn hand_in(&mut self, core: &mut Core, now: Now, key: &CallKey) {
        if let Some(mut held) = self.holdings(key) {
            if core.is_wrong(Wrong::ForgetsConclusions) {
                held.care = Care::Somebody;
            }
            self.say(core, now, Said::Own(held));
        }
    }

    /// What is here of a call. Of what is not durable nothing is said but that it is there.
    fn holdings(&self, key: &CallKey) -> Option<CallHoldings> {
        let files: &dyn Files = &self.disk.disk.now;
        let place = |rank| (Place { of: key.clone(), volume: VolumeName::default(), rank }, files);
        let places = [Rank::First, Rank::Twin].map(place);
        let mut held = own::holdings(self.number, key, &BTreeMap::new(), &places).ok()?;
        let unsettled: BTreeSet<_> = self.recorder.closing.unsettled().collect();
        let copies = held.directories.iter_mut().flat_map(|d| &mut d.copies);
        for copy in copies.filter(|copy| unsettled.contains(&copy.segment)) {
            (copy.ended_as, copy.state) = (None, RecordingState::Incomplete);
            copy.files.clear();
        }
        held.care =
            if self.care.has(key.call) || self.keeper.has(key.call) { Care::Somebody } else { Care::Nobody };
        Some(held)
    }

    fn say(&mut self, core: &mut Core, now: Now, said: Said) {
        self.gathering.machine.handle(now, said);
        self.drain(core);
    }

    fn drain(&mut self, core: &mut Core) {
        while let Some(step) = self.gathering.machine.poll() {
            self.step(core, step);
        }
    }

    fn step(&mut self, core: &mut Core, step: Step) {
        let here = Who::Server(self.index);
        match step {
            Step::Local { ticket, local, .. } => {
                let at = self.gathering.busy_until.max(core.at) + core.rng.between(MS / 10, 5 * MS);
                self.gathering.busy_until = at;
                core.tell_at(at, here, Input::Local(ticket, local));
            }
            Step::Ask { to, ticket, request } => {
                self.send(core, to, Input::Asked(self.index, ticket, request));
            }
            Step::Answer { to, ticket, answer } => {
                self.send(core, to, Input::Answered(self.index, ticket, answer));
            }
            Step::Recall(key) => core.tell_at(core.at + MS, here, Input::Recall(key)),
            Step::Tell { copies, .. } => copies.iter().for_each(|copy| core.tell_copy(copy)),
            Step::Purged { segments, .. } => core.say(format_args!("{}: purged {segments:?}", self.name)),
            Step::Alarm(alarm) => core.say(format_args!("{} ALARM {}", self.name, alarm.text)),
        }
    }

    fn send(&self, core: &mut Core, to: NodeNumber, what: Input) {
        let Some(to) = usize::from(to.get()).checked_sub(1) else { return };
        if !core.network.are_apart(self.index, to) {
            if core.log.keeps {
                let what: String = format!("{what:?}").chars().take(700).collect();
                core.say(format_args!("{} ► {}: {what}", self.name, server_name(to)));
            }
            let at = core.at + core.rng.between(MS, 40 * MS);
            core.tell_at(at, Who::Server(to), what);
        }
    }

    /// Something that may cost a copy was done: it is looked whether another is there.
    fn look_after(&self, core: &mut Core, local: &Local) {
        if let Local::File(FileOp::AppendLine { path, .. } | FileOp::Remove { path }) = local
            && let Some((directory, _)) = path.rsplit_once('/')
        {
            core.copies_at_risk.insert(directory.to_owned());
        }
    }

    /// A known wrong: what is here of a call is removed.
    fn give_up(&mut self, core: &mut Core, key: &CallKey) {
        let directory = layout::call_directory(&key.tenant, key.call_started, key.call);
        for name in self.disk.disk.now.list(&directory).unwrap_or_default() {
            let path = format!("{directory}/{name}");
            self.look_after(core, &Local::File(FileOp::Remove { path: path.clone() }));
            let _ = self.write(core, &FileOp::Remove { path });
        }
    }
}

fn number(index: usize) -> NodeNumber {
    u16::try_from(index + 1).ok().and_then(|n| NodeNumber::new(n).ok()).unwrap_or(NodeNumber::SINGLE)
}

fn short(local: &Local) -> String {
    match local {
        Local::Look(path) => format!("look {path}"),
        Local::Read { path, .. } => format!("read {path}"),
        Local::Digest(path) => format!("digest {path}"),
        Local::Sync => "sync".to_owned(),
        Local::File(op) => {
            let kind = format!("{op:?}");
            format!("{} {}", kind.split(' ').next().unwrap_or_default(), op.path())
        }
    }
}

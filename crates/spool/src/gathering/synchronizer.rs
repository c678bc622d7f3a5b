//! The machine of one node: takes in what it is told, and looks at the calls that are due.
//!
//! Each call is looked at when something of it changed or its time has come, never all of them for one. What is decided is
//! [a plan](super::plan), which is [carried out](super::running) with limits: so many jobs at a time, one for each node that
//! is spoken to, so many octets, and after failures longer and longer pauses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use model::{
    Answer, CallHoldings, CallId, CallKey, Copy, CopyOf, Incident, Location, Mono, NodeNumber, Now,
    Occurrence, RecordingState, Request, SegmentId, VolumeName, copy,
};

use super::job::{Aim, Came, Trouble};
use super::keeper::{Asker, Keeper};
use super::known::{self, Known};
use super::plan::{self, Plan, View};
use super::throttle::Throttle;
use super::{Got, Input, Local, Standing, Step, Terms, Windows};

/// Gathers calls on this node, and gives up its copies of those that others gathered.
#[derive(Debug)]
pub struct Synchronizer {
    pub(super) terms: Terms,
    pub(super) windows: Windows,
    pub(super) room: u64,
    /// Nodes that can be spoken to, with the room that they said they have.
    pub(super) up: BTreeMap<NodeNumber, Option<u64>>,
    pub(super) calls: BTreeMap<CallId, Known>,
    pub(super) agenda: BTreeSet<(Mono, CallId)>,
    /// Whom each node that a job speaks to is taken by.
    pub(super) taken: BTreeMap<NodeNumber, CallId>,
    pub(super) running: BTreeSet<CallId>,
    /// Calls that wait for a job to end, or for octets to arrive.
    pub(super) blocked: BTreeSet<CallId>,
    /// Calls that only wait, each since when.
    pub(super) waits: BTreeSet<(Mono, CallId)>,
    pub(super) has_put_off: bool,
    /// Segments of which it was told that copies differ.
    pub(super) told: BTreeSet<SegmentId>,
    /// Which call a ticket is of.
    pub(super) tickets: BTreeMap<u64, CallId>,
    pub(super) throttle: Throttle,
    pub(super) keeper: Keeper,
    pub(super) out: Out,
}

/// What is to be done, and the numbers that answers go by.
#[derive(Debug, Default)]
pub(super) struct Out {
    steps: VecDeque<Step>,
    last: u64,
}

impl Out {
    pub(super) fn say(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    pub(super) fn local(&mut self, volume: &VolumeName, local: Local) -> u64 {
        self.last += 1;
        self.say(Step::Local { ticket: self.last, volume: volume.clone(), local });
        self.last
    }

    pub(super) fn ask(&mut self, to: NodeNumber, request: Request) -> u64 {
        self.last += 1;
        self.say(Step::Ask { to, ticket: self.last, request });
        self.last
    }

    pub(super) fn alarm(&mut self, of: &CallKey, segment: Option<SegmentId>, text: String) {
        self.occurred(of, segment, Incident::NotGathered, text);
    }

    /// Something of a call is lost.
    pub(super) fn tell_failure(&mut self, of: &CallKey, text: String) {
        self.occurred(of, None, Incident::InternalFailure, text);
    }

    fn occurred(&mut self, of: &CallKey, segment: Option<SegmentId>, incident: Incident, text: String) {
        let (tenant, call) = (of.tenant.clone(), Some(of.call));
        self.say(Step::Alarm(Occurrence { tenant, incident, call, segment, text }));
    }
}

impl Synchronizer {
    /// One that knows of no call yet. `first_ticket` is another at each start, so that answers to an earlier process are
    /// nobody's.
    #[must_use]
    pub fn new(terms: Terms, first_ticket: u64) -> Self {
        Self {
            throttle: Throttle::new(terms.octets_in_flight, terms.octets_per_second),
            keeper: Keeper::new(terms.node),
            terms,
            windows: Windows { gather: true, purge: true },
            room: 0,
            up: BTreeMap::new(),
            calls: BTreeMap::new(),
            agenda: BTreeSet::new(),
            taken: BTreeMap::new(),
            running: BTreeSet::new(),
            blocked: BTreeSet::new(),
            waits: BTreeSet::new(),
            has_put_off: false,
            told: BTreeSet::new(),
            tickets: BTreeMap::new(),
            out: Out { steps: VecDeque::new(), last: first_ticket },
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Step> {
        self.out.steps.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Mono> {
        let due = self.agenda.first().map(|(at, _)| *at);
        due.into_iter().chain(self.keeper.next_timeout()).min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.run(now);
    }

    /// How a call stands; none when it is not in mind, because nothing is left to be done.
    #[must_use]
    pub fn standing(&self, call: CallId) -> Option<Standing> {
        self.calls.get(&call).map(|known| self.standing_of(known))
    }

    /// How all calls stand that something is left to be done about.
    pub fn standings(&self) -> impl Iterator<Item = Standing> {
        self.calls.values().map(|known| self.standing_of(known))
    }

    fn standing_of(&self, known: &Known) -> Standing {
        let stage = match known.job.as_ref().map(|job| &job.aim) {
            Some(Aim::Gather { .. }) => super::Stage::Gathering,
            Some(Aim::GiveUp { .. }) => super::Stage::Gathered,
            None => self.plan(known).stage,
        };
        let lacks = known.lacks.iter().map(|(lack, since)| (lack.clone(), *since)).collect();
        let (failures, trouble) = (known.failures, known.trouble.clone());
        Standing { call: known.key.clone(), stage, lacks, failures, trouble }
    }

    pub(super) fn plan(&self, known: &Known) -> Plan {
        let room = self.spare();
        plan::plan(&View { terms: &self.terms, windows: self.windows, room, up: &self.up, known })
    }

    /// Octets that may be written here for gathering.
    const fn spare(&self) -> u64 {
        self.room.saturating_sub(self.terms.reserve)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Own(held) => self.own(now, held),
            Input::Unread { call, why } => self.keeper.unread(&mut self.out, call, &why),
            Input::Holdings(node, held) => self.holdings(now, node, held),
            Input::Up(node) if node != self.terms.node => {
                self.up.insert(node, None);
                self.forget_answers(now, node);
            }
            Input::Up(_) => {}
            Input::Down(node) => {
                self.up.remove(&node);
                self.forget_answers(now, node);
            }
            Input::Room(room) => self.room = room,
            Input::Windows(windows) => {
                self.windows = windows;
                self.wake_all(now);
            }
            Input::Wanted(call) => {
                if let Some(known) = self.calls.get_mut(&call) {
                    (known.is_wanted, known.retry_at) = (true, now.mono);
                    known.spoiled.clear();
                    known.keepers.clear();
                }
                self.wake(call, now.mono);
            }
            Input::Asked { from, ticket, request } => {
                let room = self.spare();
                self.is_asked_for(now, from, &request);
                let asked = (Asker { to: from, ticket }, request);
                self.keeper.asked(now, &self.calls, room, &mut self.out, asked);
                self.look_after_kept(now);
            }
            Input::Answered { from, ticket, answer } => self.answered(now, from, ticket, answer),
            Input::Done { ticket, result } => self.done(now, ticket, result),
        }
        self.run(now);
    }

    /// Whoever asks for a call that is gathered here has copies: what they are is to be known here, since it is this one that
    /// stays, or that is given up.
    fn is_asked_for(&mut self, now: Now, from: NodeNumber, request: &Request) {
        let Request::Delete { place, .. } = request else { return };
        if let Some(known) = self.calls.get_mut(&place.of.call)
            && known.at(self.terms.node).is_some_and(|own| own.gathered)
        {
            known.heard.remove(&from);
            self.wake(place.of.call, now.mono);
        }
    }

    fn own(&mut self, now: Now, held: CallHoldings) {
        if !known::is_sound(&held) {
            let text = "what this node says that it holds of the call cannot be".to_owned();
            self.keeper.unread(&mut self.out, held.call.call, &text);
            return self.out.alarm(&held.call, None, text);
        }
        let (call, node) = (held.call.call, self.terms.node);
        if let Some(known) = self.take_in(&held.call) {
            known.take_own(node, held);
            // What a crash kept from being told is told now. Twice changes nothing.
            let is_news = |own: &CallHoldings| own.gathered || own.copies().any(|(_, copy)| !copy.is_kept());
            if known.at(node).is_some_and(is_news) {
                let (call, copies) = (known.key.clone(), copies_of(known, node));
                self.out.say(Step::Tell { call, copies });
            }
        }
        let room = self.spare();
        self.keeper.recalled(&self.calls, room, &mut self.out, call);
        self.look_after_kept(now);
        self.wake(call, now.mono);
    }

    fn holdings(&mut self, now: Now, node: NodeNumber, held: CallHoldings) {
        let call = held.call.call;
        if node != self.terms.node
            && known::is_sound(&held)
            && let Some(known) = self.take_in(&held.call)
        {
            known.nodes.insert(node, held);
            self.wake(call, now.mono);
        }
    }

    /// What a node was asked before it went or came is not answered any more.
    fn forget_answers(&mut self, now: Now, node: NodeNumber) {
        let mut waiting = Vec::new();
        for (call, known) in &mut self.calls {
            known.heard.remove(&node);
            known.listed_soon = 0;
            known.keepers.remove(&node);
            known.spoiled.retain(|(_, at)| *at != node);
            if let Some((ticket, _)) = known.listing.remove(&node) {
                self.tickets.remove(&ticket);
            }
            let waits = known.job.as_ref().and_then(|job| job.waits).and_then(|waits| waits.by);
            if waits.is_some_and(|(by, _)| by == node) {
                waiting.push(*call);
            }
        }
        for call in waiting {
            self.with(call, |machine, known| {
                let why = format!("node {} went away", node.get());
                machine.fail(now, known, Trouble::Passing(why));
            });
        }
        self.wake_all(now);
    }

    fn wake_all(&mut self, now: Now) {
        let calls: Vec<_> = self.calls.keys().copied().collect();
        calls.into_iter().for_each(|call| self.wake(call, now.mono));
    }

    /// Has a call looked at, at the latest then.
    pub(super) fn wake(&mut self, call: CallId, at: Mono) {
        if let Some(known) = self.calls.get_mut(&call) {
            Self::wake_known(&mut self.agenda, known, at);
        }
    }

    pub(super) fn wake_known(agenda: &mut BTreeSet<(Mono, CallId)>, known: &mut Known, at: Mono) {
        if known.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = known.due.replace(at) {
            agenda.remove(&(due, known.key.call));
        }
        agenda.insert((at, known.key.call));
    }

    fn run(&mut self, now: Now) {
        // Each is taken off the agenda before it is looked at, and nothing makes one due in the past: it ends.
        while let Some((at, call)) = self.agenda.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.agenda.remove(&(at, call));
            self.with(call, |machine, known| {
                known.due = None;
                machine.look(now, known);
            });
            self.forget(now, call);
        }
        self.keeper.run(now, self.windows, &self.calls, &mut self.out);
    }

    /// Works on a call and on the rest at once.
    pub(super) fn with(&mut self, call: CallId, work: impl FnOnce(&mut Self, &mut Known)) {
        if let Some(mut known) = self.calls.remove(&call) {
            work(self, &mut known);
            self.calls.insert(call, known);
        }
    }

    fn answered(&mut self, now: Now, from: NodeNumber, ticket: u64, answer: Answer) {
        let Some(call) = self.tickets.get(&ticket).copied() else { return };
        self.with(call, |machine, known| {
            if known.listing.get(&from).is_some_and(|(asked, _)| *asked == ticket) {
                machine.heard(now, known, from, answer);
            } else if known
                .job
                .as_ref()
                .and_then(|job| job.waits)
                .is_some_and(|waits| waits.ticket == ticket && waits.by.is_some_and(|(by, _)| by == from))
            {
                machine.came(now, known, Came::Answer(answer));
            }
        });
    }

    fn heard(&mut self, now: Now, known: &mut Known, from: NodeNumber, answer: Answer) {
        let Answer::Held { room, held } = answer else { return };
        // One that says what cannot be has not said anything: it is asked again, and named as what is waited for.
        if held.call != known.key || !known::is_sound(&held) {
            return;
        }
        if let Some((ticket, _)) = known.listing.remove(&from) {
            self.tickets.remove(&ticket);
        }
        known.heard.insert(from);
        known.nodes.insert(from, held);
        if let Some(said) = self.up.get_mut(&from) {
            *said = Some(room);
        }
        Self::wake_known(&mut self.agenda, known, now.mono);
    }

    fn done(&mut self, now: Now, ticket: u64, result: Result<Got, String>) {
        let Some(call) = self.tickets.get(&ticket).copied() else {
            self.keeper.done(now, &mut self.calls, &mut self.out, ticket, result);
            return self.look_after_kept(now);
        };
        self.with(call, |machine, known| {
            let waits = known.job.as_ref().and_then(|job| job.waits);
            if waits.is_none_or(|waits| waits.ticket != ticket || waits.by.is_some()) {
                return;
            }
            match result {
                Ok(got) => machine.came(now, known, Came::Local(got)),
                Err(why) => machine.fail(now, known, Trouble::Passing(why)),
            }
        });
    }

    /// Takes in what the keeper changed: a job on copies that are given up is over.
    fn look_after_kept(&mut self, now: Now) {
        for call in self.keeper.changed() {
            self.with(call, |machine, known| {
                machine.end(now, known);
                Self::wake_known(&mut machine.agenda, known, now.mono);
            });
            self.forget(now, call);
        }
    }
}

/// All that a node holds of a call, as the catalog has it.
pub(super) fn copies_of(known: &Known, node: NodeNumber) -> Vec<Copy> {
    let Some(own) = known.at(node) else { return Vec::new() };
    let at = Location::Node(node);
    let mut segments: BTreeMap<SegmentId, Vec<RecordingState>> = BTreeMap::new();
    for (_, copy) in own.copies() {
        segments.entry(copy.segment).or_default().push(copy.state);
    }
    // Of two copies here that which is there to stay, and of two of those the one that ended best.
    let of_segment = |states: &Vec<RecordingState>| {
        copy::ended_best(states.iter().copied()).or_else(|| states.iter().copied().min())
    };
    let segments = segments
        .iter()
        .filter_map(|(segment, states)| Some((CopyOf::Segment(*segment), of_segment(states)?)));
    let call = own.state.map(|state| (CopyOf::Call(known.key.call), state));
    segments.chain(call).map(|(of, state)| Copy { of, at: at.clone(), state }).collect()
}

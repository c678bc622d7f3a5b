//! The holder's side: says what is here, serves ranges of it, and gives copies up when it is asked to by one who may.
//!
//! Whoever asks has a durable copy with the same digest in a call that is gathered there, and what the log here says. All that is
//! checked again here: that these are the copies, that the log says no more by now, and [the rule](super::choice::may_give_up).
//! Then the copies are marked, durably, before it is answered. A copy that is marked in memory stays marked although the log
//! did not take it: nobody may be told to lean on it any more.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Answer, CallHoldings, CallId, CopyOf, Declined, HeldDirectory, LogMark, Mono, NodeNumber, Now, Place,
    RecordingState, Request, SegmentId, Transition,
};

use super::job::Aim;
use super::known::Known;
use super::noting::{Passed, read_log};
use super::purge::Purge;
use super::recalls::Recalls;
use super::synchronizer::{Out, copies_of};
use super::{Got, Local, RANGE_MAX, Step, Windows, choice, logs};
use crate::layout::{self, LOG_NAME};
use crate::log::{self, Entry};
use crate::op::FileOp;

/// Ranges that are read for others at a time: 32 MiB of memory at most.
const READS_MAX: usize = 32;
/// Directories that are given up at a time: each has its log in memory, of 4 MiB at most.
const GIVING_UP_MAX: usize = 8;
/// A segment's copies in one request, at most: as many as a node may say that it has.
const COPIES_MAX: usize = 4_096;

#[derive(Debug)]
pub(super) struct Keeper {
    node: NodeNumber,
    reads: BTreeMap<u64, Asker>,
    giving_up: BTreeMap<u64, GivingUp>,
    /// What is marked in memory and not noted yet, because a log did not take it.
    unnoted: BTreeMap<Place, Vec<(CopyOf, Vec<Passed>)>>,
    recalls: Recalls,
    purge: Purge,
    /// Calls whose copies here changed since it was asked.
    changed: BTreeSet<CallId>,
}

/// Who is to be answered, and what the answer is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asker {
    pub(super) to: NodeNumber,
    pub(super) ticket: u64,
}

#[derive(Debug)]
struct GivingUp {
    asker: Asker,
    call: CallId,
    place: Place,
    copies: Vec<(SegmentId, String)>,
    log: LogMark,
    state: RecordingState,
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Read,
    Append,
    Sync,
}

pub(super) type Calls = BTreeMap<CallId, Known>;

impl Keeper {
    pub(super) fn new(node: NodeNumber) -> Self {
        Self {
            node,
            reads: BTreeMap::new(),
            giving_up: BTreeMap::new(),
            unnoted: BTreeMap::new(),
            recalls: Recalls::default(),
            purge: Purge::new(node),
            changed: BTreeSet::new(),
        }
    }

    /// Calls whose copies here changed since this was asked last.
    pub(super) fn changed(&mut self) -> BTreeSet<CallId> {
        std::mem::take(&mut self.changed)
    }

    /// Whether something is under way about a call.
    pub(super) fn is_about(&self, call: CallId) -> bool {
        self.giving_up.values().any(|g| g.call == call) || self.purge.is_about(call)
    }

    /// Whether something about a call is here that may not be forgotten.
    pub(super) fn holds_on_to(&self, known: &Known) -> bool {
        let mut own = known.at(self.node).into_iter().flat_map(|own| &own.directories);
        self.is_about(known.key.call) || own.any(|d| self.unnoted.contains_key(&d.place))
    }

    pub(super) fn next_timeout(&self) -> Option<Mono> {
        self.purge.next_timeout().into_iter().chain(self.recalls.next_timeout()).min()
    }

    /// Removes what was given up, when it may.
    pub(super) fn run(&mut self, now: Now, windows: Windows, calls: &Calls, out: &mut Out) {
        decline(out, self.recalls.expire(now.mono), &Declined::Busy);
        let busy: BTreeSet<&Place> =
            self.giving_up.values().map(|g| &g.place).chain(self.unnoted.keys()).collect();
        self.purge.run(now, windows, calls, &busy, out);
    }

    pub(super) fn asked(
        &mut self,
        now: Now,
        calls: &Calls,
        room: u64,
        out: &mut Out,
        asked: (Asker, Request),
    ) {
        self.answer(calls, room, out, asked, Some(now.mono));
    }

    /// The shell has said what is here of a call: those who wait for that are answered.
    pub(super) fn recalled(&mut self, calls: &Calls, room: u64, out: &mut Out, call: CallId) {
        self.purge.notice(call);
        for asked in self.recalls.take(call) {
            self.answer(calls, room, out, asked, None);
        }
    }

    /// What is here of a call cannot be read, or cannot be what it says.
    pub(super) fn unread(&mut self, out: &mut Out, call: CallId, why: &str) {
        let waiting: Vec<_> = self.recalls.take(call).map(|(asker, _)| asker).collect();
        decline(out, waiting, &Declined::Disk(why.to_owned()));
    }

    /// `recall`: when it was asked, if the shell may be asked in turn.
    fn answer(
        &mut self,
        calls: &Calls,
        room: u64,
        out: &mut Out,
        asked: (Asker, Request),
        recall: Option<Mono>,
    ) {
        let (asker, request) = asked;
        let key = match &request {
            Request::List { call } => call,
            Request::Read { place, .. } | Request::Delete { place, .. } => &place.of,
        };
        let known = match &request {
            Request::List { call } => calls.get(&call.call).and_then(|k| k.at(self.node)),
            Request::Read { place, .. } | Request::Delete { place, .. } => {
                self.find(calls, place).map(|(_, own)| own)
            }
        };
        // Whether somebody has the call changes, and nobody tells.
        let is_old = |own: &CallHoldings| {
            matches!(&request, Request::List { call } if *call == own.call) && own.ended.is_none()
        };
        let Some(own) = known.filter(|own| recall.is_none() || !is_old(own)) else {
            let Some(now) = recall else {
                return reply(out, asker, Answer::Declined(Declined::Unknown));
            };
            let key = key.clone();
            let gone = self.recalls.wait(now, key.call, asker, request);
            if !gone.contains(&asker) {
                out.say(Step::Recall(key));
            }
            return decline(out, gone, &Declined::Busy);
        };
        match request {
            Request::List { call } => {
                // By the same id another call is meant: nothing of that is here.
                let held = if own.call == call { self.as_noted(own) } else { CallHoldings::nothing(call) };
                let fetched = calls.get(&own.call.call).map_or(0, |known| known.fetched);
                reply(out, asker, Answer::Held { room: room.saturating_add(fetched), held });
            }
            Request::Read { place, file, offset, length } => {
                self.read(own, out, asker, &place, &file, (offset, length));
            }
            Request::Delete { place, copies, log, state } => {
                let call = own.call.call;
                let giving_up = GivingUp { asker, call, place, copies, log, state, at: At::Read };
                self.give_up(calls, out, giving_up);
            }
        }
    }

    /// What is here, as others are to know it: what is not noted is not given up yet, so it is asked for again.
    fn as_noted(&self, own: &CallHoldings) -> CallHoldings {
        let mut held = own.clone();
        for directory in &mut held.directories {
            for (of, passed) in self.unnoted.get(&directory.place).into_iter().flatten() {
                let copy = directory.copies.iter_mut().find(|copy| CopyOf::Segment(copy.segment) == *of);
                if let (Some(copy), Some((Some(before), ..))) = (copy, passed.first()) {
                    copy.state = *before;
                }
            }
        }
        held
    }

    /// Where a directory of this node is in mind.
    fn find<'a>(&self, calls: &'a Calls, place: &Place) -> Option<(CallId, &'a CallHoldings)> {
        let has = |known: &&Known| {
            known.at(self.node).is_some_and(|own| own.directories.iter().any(|d| d.place == *place))
        };
        // One that turned out to be another is found among all.
        let found = calls.get(&place.of.call).filter(has).or_else(|| calls.values().find(has))?;
        Some((found.key.call, found.at(self.node)?))
    }

    fn read(
        &mut self,
        own: &CallHoldings,
        out: &mut Out,
        asker: Asker,
        place: &Place,
        file: &str,
        (offset, length): (u64, u32),
    ) {
        let of_it = own.directories.iter().filter(|d| d.place == *place).flat_map(|d| &d.copies);
        let is_here = file == LOG_NAME || of_it.flat_map(|copy| &copy.files).any(|f| f.name == file);
        if !is_here || self.reads.len() >= READS_MAX {
            let why = if is_here { Declined::Busy } else { Declined::Unknown };
            return reply(out, asker, Answer::Declined(why));
        }
        let path = format!("{}/{file}", logs::directory(place));
        let local = Local::Read { path, offset, length: length.min(RANGE_MAX) };
        self.reads.insert(out.local(&place.volume, local), asker);
    }

    fn give_up(&mut self, calls: &Calls, out: &mut Out, giving_up: GivingUp) {
        let GivingUp { asker, place, .. } = &giving_up;
        let is_taken = self.giving_up.values().any(|g| g.place == *place) || self.purge.is_at(place);
        if is_taken || self.giving_up.len() >= GIVING_UP_MAX || giving_up.copies.len() > COPIES_MAX {
            return reply(out, *asker, Answer::Declined(Declined::Busy));
        }
        if let Err(why) = self.may(calls, &giving_up) {
            return reply(out, *asker, Answer::Declined(why));
        }
        let log = layout::log_path(&logs::directory(place));
        let ticket = out.local(&place.volume, read_log(log));
        self.giving_up.insert(ticket, giving_up);
    }

    /// The states that copies are to have which may be given up and are not yet; or why not.
    fn may(&self, calls: &Calls, asked: &GivingUp) -> Result<Vec<(SegmentId, RecordingState)>, Declined> {
        let known = calls.get(&asked.call).ok_or(Declined::Unknown)?;
        let own = known.at(self.node).ok_or(Declined::Unknown)?;
        if known.job.as_ref().is_some_and(|job| matches!(job.aim, Aim::Gather { .. })) {
            return Err(Declined::Busy);
        }
        let mut states = Vec::new();
        for (segment, digest) in &asked.copies {
            let mut here = own.directories.iter().filter(|d| d.place == asked.place).flat_map(|d| &d.copies);
            let Some(copy) = here.find(|copy| copy.segment == *segment) else { continue };
            match copy.digest() {
                None => return Err(Declined::Live),
                Some(other) if other != digest => return Err(Declined::Differs),
                Some(_) if !copy.is_kept() => {}
                Some(_) if !choice::may_give_up(self.node, own.gathered, asked.asker.to) => {
                    return Err(Declined::Kept);
                }
                Some(_) => {
                    let state = choice::given_up(copy.state, asked.state);
                    states.push((*segment, state.map_err(|e| Declined::Impossible(e.to_string()))?));
                }
            }
        }
        // Its own copy of the call goes with the first of them.
        if let Some(state) = own.state.filter(|s| !states.is_empty() && (s.is_gathered() || s.is_segment())) {
            choice::given_up(state, asked.state).map_err(|e| Declined::Impossible(e.to_string()))?;
        }
        Ok(states)
    }

    pub(super) fn done(
        &mut self,
        now: Now,
        calls: &mut Calls,
        out: &mut Out,
        ticket: u64,
        result: Result<Got, String>,
    ) {
        if let Some(asker) = self.reads.remove(&ticket) {
            let answer = match result {
                Ok(Got::Octets { octets, is_end }) => Answer::Octets { octets, is_end },
                Ok(_) => Answer::Declined(Declined::Unknown),
                Err(why) => Answer::Declined(Declined::Disk(why)),
            };
            return reply(out, asker, answer);
        }
        match self.giving_up.remove(&ticket) {
            Some(giving_up) => match result {
                Ok(got) => self.go_on(now, calls, out, giving_up, got),
                Err(why) => reply(out, giving_up.asker, Answer::Declined(Declined::Disk(why))),
            },
            None => self.changed.extend(self.purge.done(now, calls, out, ticket, result)),
        }
    }

    fn go_on(&mut self, now: Now, calls: &mut Calls, out: &mut Out, mut asked: GivingUp, got: Got) {
        let volume = asked.place.volume.clone();
        let (next, local) = match (asked.at, got) {
            (At::Read, Got::Octets { octets, is_end }) => {
                if !is_end || !logs::says_no_more(&octets, &asked.log) {
                    return reply(out, asked.asker, Answer::Declined(Declined::LogGrew));
                }
                // Much may have happened since it was asked.
                let states = match self.may(calls, &asked) {
                    Ok(states) => states,
                    Err(why) => return reply(out, asked.asker, Answer::Declined(why)),
                };
                self.mark(calls, &asked, &states);
                match self.lines(now, &asked) {
                    Some(bytes) => {
                        let path = layout::log_path(&logs::directory(&asked.place));
                        (At::Append, Local::File(FileOp::AppendLine { path, bytes }))
                    }
                    // Marked before, which may not be durable: the answer was lost, or never sent.
                    None => (At::Sync, Local::Sync),
                }
            }
            (At::Append, _) => {
                self.unnoted.remove(&asked.place);
                self.purge.notice(asked.call);
                (At::Sync, Local::Sync)
            }
            (At::Sync, _) => {
                self.changed.insert(asked.call);
                if let Some(known) = calls.get(&asked.call) {
                    out.say(Step::Tell { call: known.key.clone(), copies: copies_of(known, self.node) });
                }
                return reply(out, asked.asker, Answer::Deleted);
            }
            (At::Read, _) => return reply(out, asked.asker, Answer::Declined(Declined::Unknown)),
        };
        asked.at = next;
        self.giving_up.insert(out.local(&volume, local), asked);
    }

    /// Marks copies in memory: from now on nobody leans on them.
    fn mark(&mut self, calls: &mut Calls, asked: &GivingUp, states: &[(SegmentId, RecordingState)]) {
        let Some(known) = calls.get_mut(&asked.call).filter(|_| !states.is_empty()) else { return };
        self.changed.insert(asked.call);
        let call = CopyOf::Call(known.key.call);
        let own = known.own_mut(self.node);
        let unnoted = self.unnoted.entry(asked.place.clone()).or_default();
        let here = own.directories.iter_mut().filter(|d| d.place == asked.place).flat_map(|d| &mut d.copies);
        for copy in here {
            if let Some((_, state)) = states.iter().find(|(segment, _)| *segment == copy.segment) {
                let passed = vec![(Some(copy.state), *state, "gathered elsewhere")];
                unnoted.push((CopyOf::Segment(copy.segment), passed));
                copy.state = *state;
            }
        }
        if let Some(passed) = own.state.and_then(|state| of_call(state, asked.state)) {
            own.state = passed.last().map(|(_, state, _)| *state);
            unnoted.push((call, passed));
        }
    }

    /// What the log of a directory is to say of what is marked there; none when it says so already. Segments come last: a
    /// loss of power that tears it leaves one that is kept, for which it is asked again.
    fn lines(&self, now: Now, asked: &GivingUp) -> Option<Vec<u8>> {
        let mut unnoted: Vec<_> = self.unnoted.get(&asked.place)?.iter().collect();
        unnoted.sort_by_key(|(of, _)| matches!(of, CopyOf::Segment(_)));
        let mut bytes = log::line(now.wall, &Entry::GivenUp { to: asked.asker.to, octets: asked.log.octets });
        let states = unnoted.into_iter();
        bytes.extend(states.flat_map(|(of, passed)| logs::of_states(now.wall, self.node, *of, passed)));
        Some(bytes)
    }
}

/// The states that the call's own copy here passes through when the call is given up for one elsewhere.
fn of_call(before: RecordingState, elsewhere: RecordingState) -> Option<Vec<Passed>> {
    let gone = choice::given_up(before, elsewhere).ok()?;
    if !before.is_gathered() {
        return Some(vec![(Some(before), gone, "gathered elsewhere")]);
    }
    let partial = before.apply(Transition::Continued).ok()?;
    Some(vec![
        (Some(before), partial, "another node gathered it too"),
        (Some(partial), gone, "gathered elsewhere"),
    ])
}

fn decline(out: &mut Out, askers: Vec<Asker>, why: &Declined) {
    askers.into_iter().for_each(|asker| reply(out, asker, Answer::Declined(why.clone())));
}

fn reply(out: &mut Out, asker: Asker, answer: Answer) {
    out.say(Step::Answer { to: asker.to, ticket: asker.ticket, answer });
}

/// The directories of a node that something is to be removed of.
pub(super) fn leftovers(own: &CallHoldings) -> impl Iterator<Item = &HeldDirectory> {
    let has_kept = own.copies().any(|(_, copy)| copy.is_kept());
    own.directories
        .iter()
        .filter(move |d| d.copies.iter().any(|copy| !copy.is_kept()) || (d.copies.is_empty() && !has_kept))
}

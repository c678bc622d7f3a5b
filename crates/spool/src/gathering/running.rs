//! Carries out what is planned about a call: its job, one need at a time, within the limits of the node.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{
    Answer, CallHoldings, HeldDirectory, Holding, Mono, Now, Place, RecordingState, Request, SegmentId,
};

use super::fetch::Fetch;
use super::job::{Aim, Came, Job, Need, Stage as Work, Trouble, Waits};
use super::known::Known;
use super::left::Leaving;
use super::synchronizer::{Synchronizer, copies_of};
use super::throttle::Leave as Allowed;
use super::{ANSWER_WITHIN, FAILURES_TOLD, LIST_EVERY, LIST_SOON, Lack, Mode, Step, pause_after};

/// Jobs at a time: each reads a disk and writes one, which recordings need more.
const JOBS_MAX: usize = 4;
/// Segments of which it was told that copies differ, at some octets each. Beyond, they are told of once more.
const TOLD_MAX: usize = 10_000;
/// How soon a call is looked at that found all jobs or its nodes taken, when nothing wakes it before.
const BLOCKED_FOR: Duration = Duration::from_secs(5);

impl Synchronizer {
    pub(super) fn look(&mut self, now: Now, known: &mut Known) {
        if known.job.is_some() {
            return self.go_on(now, known);
        }
        // Who has nothing of it, or only what is live, asks nobody: nodes that are asked recall the call, and would ask in their turn
        // for ever.
        let is_some = |copy: &Holding| copy.is_kept() && copy.digest().is_some();
        let has_some =
            known.at(self.terms.node).is_some_and(|own| own.copies().any(|(_, copy)| is_some(copy)));
        if self.terms.mode == Mode::Gather && has_some {
            self.list(now, known);
        }
        let mut plan = self.plan(known);
        self.note_lacks(now, known, std::mem::take(&mut plan.lacks));
        self.list_soon(now, known);
        self.mind_left(now, known, plan.is_left);
        if now.mono < known.retry_at {
            let at = known.retry_at;
            return Self::wake_known(&mut self.agenda, known, at);
        }
        if let Some(why) = plan.trouble {
            return self.fail(now, known, Trouble::Passing(why));
        }
        let Some(job) = plan.job else {
            return self.set_waits(known, Some(known.waits_since.unwrap_or(now.mono)));
        };
        self.set_waits(known, None);
        let is_taken = job.nodes().any(|node| self.taken.contains_key(&node));
        if is_taken || self.running.len() >= JOBS_MAX {
            self.blocked.insert(known.key.call);
            return Self::wake_known(&mut self.agenda, known, now.mono + BLOCKED_FOR);
        }
        self.taken.extend(job.nodes().map(|node| (node, known.key.call)));
        self.running.insert(known.key.call);
        job.fetches().for_each(|place| begin(known.own_mut(self.terms.node), place));
        known.job = Some(job);
        self.advance(now, known);
    }

    /// Asks nodes what they have that have not said so, or not for long.
    fn list(&mut self, now: Now, known: &mut Known) {
        let all = known.list_at <= now.mono;
        let is_first = known.list_at == Mono::ZERO;
        if all && !is_first && known.at(self.terms.node).is_some_and(|own| own.ended.is_none()) {
            // Whether somebody has the call may be otherwise by now.
            self.out.say(Step::Recall(known.key.clone()));
        }
        if all {
            known.list_at = now.mono + LIST_EVERY;
        }
        let mut at = known.list_at;
        for node in self.up.keys() {
            let asked = known.listing.get(node).map(|(_, until)| *until).filter(|until| *until > now.mono);
            // What it said before stands until it says something else.
            if !all && asked.is_none() && known.heard.contains(node) {
                continue;
            }
            let until = asked.unwrap_or(now.mono + ANSWER_WITHIN);
            if asked.is_none() {
                let ticket = self.out.ask(*node, Request::List { call: known.key.clone() });
                self.tickets.insert(ticket, known.key.call);
                if let Some((before, _)) = known.listing.insert(*node, (ticket, until)) {
                    self.tickets.remove(&before);
                }
            }
            at = at.min(until);
        }
        Self::wake_known(&mut self.agenda, known, at);
    }

    /// What is live at another node will be sealed there, and nobody tells.
    fn list_soon(&mut self, now: Now, known: &mut Known) {
        let here = self.terms.node;
        if !known.lacks.keys().any(|lack| matches!(lack, Lack::Live(_, node) if *node != here)) {
            return;
        }
        let pause = LIST_SOON.saturating_mul(1_u32.checked_shl(known.listed_soon).unwrap_or(u32::MAX));
        let soon = now.mono + pause.min(LIST_EVERY);
        if soon < known.list_at {
            known.listed_soon += 1;
            known.list_at = soon;
        }
        // Never in the past: it would be looked at for ever.
        Self::wake_known(&mut self.agenda, known, known.list_at.max(now.mono + LIST_SOON));
    }

    fn note_lacks(&mut self, now: Now, known: &mut Known, lacks: Vec<Lack>) {
        let before = std::mem::take(&mut known.lacks);
        for lack in lacks {
            // Once, though the call comes and goes: it stays so.
            if let Lack::Differs(segment, _) = &lack
                && self.tells_of(*segment)
            {
                self.out.alarm(&known.key, Some(*segment), lack.to_string());
            }
            let since = before.get(&lack).copied().unwrap_or(now.wall);
            known.lacks.insert(lack, since);
        }
    }

    fn tells_of(&mut self, segment: SegmentId) -> bool {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert(segment)
    }

    /// A job was held up, or waits for an answer that may be overdue.
    fn go_on(&mut self, now: Now, known: &mut Known) {
        let waits = known.job.as_ref().and_then(|job| job.waits);
        match waits {
            None => self.advance(now, known),
            Some(Waits { by: Some((node, until)), .. }) if until <= now.mono => {
                self.fail(now, known, Trouble::Passing(format!("node {} does not answer", node.get())));
            }
            Some(Waits { by: Some((_, until)), .. }) => Self::wake_known(&mut self.agenda, known, until),
            Some(Waits { by: None, .. }) => {}
        }
    }

    /// Has the job do what it needs next.
    fn advance(&mut self, now: Now, known: &mut Known) {
        while let Some(job) = &mut known.job {
            let call = known.key.call;
            let (by, octets, ticket) = match job.need() {
                Need::Over => {
                    let Some(stage) = job.next_stage() else { return self.finish(now, known) };
                    self.leave_behind(known, stage);
                    continue;
                }
                Need::Local(..) if job.is_noting() && !self.pin(known) => {
                    let why = "a copy here was given up meanwhile".to_owned();
                    return self.fail(now, known, Trouble::Passing(why));
                }
                Need::Local(volume, local) => (None, 0, self.out.local(&volume, local)),
                Need::Ask(to, _) if !self.up.contains_key(&to) => {
                    let why = format!("node {} is away", to.get());
                    return self.fail(now, known, Trouble::Passing(why));
                }
                Need::Ask(to, request) => {
                    let octets = match &request {
                        Request::Read { length, .. } => u64::from(*length),
                        Request::List { .. } | Request::Delete { .. } => 0,
                    };
                    match self.throttle.ask(now.mono, octets) {
                        Allowed::Now => {}
                        Allowed::At(at) => return Self::wake_known(&mut self.agenda, known, at),
                        Allowed::Later => {
                            self.blocked.insert(call);
                            return Self::wake_known(&mut self.agenda, known, now.mono + BLOCKED_FOR);
                        }
                    }
                    let until = now.mono + ANSWER_WITHIN;
                    Self::wake_known(&mut self.agenda, known, until);
                    (Some((to, until)), octets, self.out.ask(to, request))
                }
            };
            self.tickets.insert(ticket, call);
            if let Some(job) = &mut known.job {
                job.waits = Some(Waits { ticket, by, octets });
            }
            return;
        }
    }

    /// From now on others may be told to lean on the copies here. Not if one of them is given up already.
    fn pin(&self, known: &mut Known) -> bool {
        let own = known.own_mut(self.terms.node);
        let may = own.gathered || own.copies().all(|(_, copy)| copy.is_kept());
        own.gathered |= may;
        may
    }

    /// A stage is done.
    fn leave_behind(&mut self, known: &mut Known, stage: Work) {
        let node = self.terms.node;
        match stage {
            Work::Fetch(fetch) => {
                let Fetch { to, copy, .. } = *fetch;
                known.checked.insert((copy.segment, copy.node));
                put(known.own_mut(node), to, copy);
            }
            Work::Check(_) => {
                if let Some(Aim::GiveUp { recordings, .. }) = known.job.as_ref().map(|job| job.aim.clone()) {
                    known.checked.extend(recordings);
                }
            }
            Work::Leave(leave) => {
                let gone: BTreeSet<_> = leave.copies.iter().map(|(segment, _)| *segment).collect();
                for directory in known.nodes.get_mut(&leave.at).into_iter().flat_map(|h| &mut h.directories) {
                    directory
                        .copies
                        .retain(|c| directory.place != leave.source || !gone.contains(&c.segment));
                }
            }
            Work::Sync(_) | Work::Note(_) => {}
        }
    }

    fn finish(&mut self, now: Now, known: &mut Known) {
        let Some(job) = self.end(now, known) else { return };
        (known.failures, known.trouble) = (0, None);
        if let Aim::Gather { state, told } = job.aim {
            known.fetched = 0;
            known.was_left |= std::mem::take(&mut known.left) == Leaving::Certain;
            if let Some(text) = told {
                self.out.tell_failure(&known.key, text);
            }
            known.own_mut(self.terms.node).state = Some(state);
            let copies = copies_of(known, self.terms.node);
            self.out.say(Step::Tell { call: known.key.clone(), copies });
        }
        Self::wake_known(&mut self.agenda, known, now.mono);
    }

    /// A job is over, one way or another: others may begin.
    pub(super) fn end(&mut self, now: Now, known: &mut Known) -> Option<Job> {
        let job = known.job.take()?;
        if let Some(waits) = job.waits {
            self.tickets.remove(&waits.ticket);
            self.throttle.arrived(waits.octets, 0);
        }
        let call = known.key.call;
        self.taken.retain(|_, by| *by != call);
        self.running.remove(&call);
        self.unblock(now);
        Some(job)
    }

    fn unblock(&mut self, now: Now) {
        for call in std::mem::take(&mut self.blocked) {
            self.wake(call, now.mono);
        }
    }

    pub(super) fn fail(&mut self, now: Now, known: &mut Known, trouble: Trouble) {
        let job = self.end(now, known);
        if job.as_ref().is_some_and(Job::may_have_noted) {
            // Whether the log says what the call came to is read there.
            self.out.say(Step::Recall(known.key.clone()));
        }
        // What they say that they have may not be so any more.
        job.iter().flat_map(Job::nodes).for_each(|node| _ = known.heard.remove(&node));
        let key = known.key.clone();
        let mut retry_at = now.mono;
        match trouble {
            Trouble::Passing(why) => {
                known.failures = known.failures.saturating_add(1);
                retry_at = now.mono + pause_after(known.failures);
                if known.failures == FAILURES_TOLD {
                    self.out.alarm(&key, None, format!("the call is not gathered after many tries: {why}"));
                }
                known.trouble = Some(why);
            }
            Trouble::Spoiled(recording, node, why) => {
                known.spoiled.insert((recording, node));
                let text = format!("a copy at node {} is not what was sealed: {why}", node.get());
                if known.told.insert(text.clone()) {
                    self.out.alarm(&key, Some(recording.0), text.clone());
                }
                known.trouble = Some(text);
            }
            Trouble::Keeps(node) => _ = known.keepers.insert(node),
            Trouble::Refuses(node, why) => {
                known.keepers.insert(node);
                let text = format!("node {} keeps its copies: {why}", node.get());
                if known.told.insert(text.clone()) {
                    self.out.alarm(&key, None, text.clone());
                }
                known.trouble = Some(text);
            }
        }
        known.retry_at = retry_at;
        // Until a person is told it is not put off, else nobody ever would be.
        let is_told = known.failures >= FAILURES_TOLD;
        self.set_waits(known, is_told.then_some(known.waits_since.unwrap_or(now.mono)));
        Self::wake_known(&mut self.agenda, known, retry_at);
    }

    pub(super) fn came(&mut self, now: Now, known: &mut Known, came: Came) {
        let Some(job) = &mut known.job else { return };
        if let Some(waits) = job.waits.take() {
            self.tickets.remove(&waits.ticket);
            let came = match &came {
                Came::Answer(Answer::Octets { octets, .. }) => octets.len() as u64,
                _ => 0,
            };
            self.throttle.arrived(waits.octets, came);
            if waits.octets > 0 {
                self.unblock(now);
            }
        }
        if let Came::Answer(Answer::Octets { octets, .. }) = &came {
            known.fetched = known.fetched.saturating_add(octets.len() as u64);
        }
        match job.take(now.wall, came) {
            Ok(()) => self.advance(now, known),
            Err(trouble) => self.fail(now, known, trouble),
        }
    }
}

/// A directory is there from now on, whatever comes of it.
fn begin(own: &mut CallHoldings, place: &Place) {
    if own.directories.iter().all(|d| d.place != *place) {
        own.directories.push(HeldDirectory { place: place.clone(), copies: Vec::new() });
    }
}

/// A copy is in its place.
fn put(own: &mut CallHoldings, place: Place, copy: Holding) {
    let copy = Holding { state: copy.ended_as.unwrap_or(RecordingState::Partial), ..copy };
    match own.directories.iter_mut().find(|d| d.place == place) {
        Some(directory) => {
            directory.copies.retain(|other| other.segment != copy.segment);
            directory.copies.push(copy);
        }
        None => own.directories.push(HeldDirectory { place, copies: vec![copy] }),
    }
}

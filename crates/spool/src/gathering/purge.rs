//! Removing copies that were given up, in the window for it: files, manifest, and when nothing else is there the log and
//! the directory. One directory at a time.
//!
//! Before each of these is a sync, so a crash leaves what says what is left to be done. A log that says what may be known
//! nowhere else stays, and it is told. Doing it twice changes nothing.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use model::{CallHoldings, CallId, CallKey, HeldDirectory, Mono, NodeNumber, Now, Place, SegmentId};

use super::keeper::{Calls, leftovers};
use super::noting::read_log;
use super::synchronizer::Out;
use super::{FAILURES_TOLD, Got, Local, Step, Windows, logs};
use crate::layout::{self, LOG_NAME};
use crate::op::FileOp;

/// After a failure nothing is removed for so long: nobody waits for it.
const RETRY_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Purge {
    node: NodeNumber,
    now: Option<Purging>,
    /// Nothing is begun before.
    not_before: Mono,
    /// Calls of which something may be to be removed.
    calls: BTreeSet<CallId>,
    /// In a row.
    failures: u32,
}

#[derive(Debug)]
struct Purging {
    ticket: u64,
    call: CallId,
    key: CallKey,
    place: Place,
    segments: Vec<SegmentId>,
    /// What is left to be done, in this order.
    rest: VecDeque<Local>,
    /// Whether the directory goes too, if nothing else is in it.
    is_last: bool,
}

impl Purge {
    pub(super) const fn new(node: NodeNumber) -> Self {
        Self { node, now: None, not_before: Mono::ZERO, calls: BTreeSet::new(), failures: 0 }
    }

    pub(super) fn is_about(&self, call: CallId) -> bool {
        self.now.as_ref().is_some_and(|p| p.call == call)
    }

    pub(super) fn is_at(&self, place: &Place) -> bool {
        self.now.as_ref().is_some_and(|p| p.place == *place)
    }

    pub(super) fn next_timeout(&self) -> Option<Mono> {
        let waits = self.now.is_none() && !self.calls.is_empty() && self.not_before > Mono::ZERO;
        waits.then_some(self.not_before)
    }

    /// Copies of a call were given up, or may have been before this start.
    pub(super) fn notice(&mut self, call: CallId) {
        self.calls.insert(call);
    }

    /// Begins with the next directory, when it may. `busy`: those of which something is being noted.
    pub(super) fn run(
        &mut self,
        now: Now,
        windows: Windows,
        calls: &Calls,
        busy: &BTreeSet<&Place>,
        out: &mut Out,
    ) {
        if now.mono < self.not_before {
            return;
        }
        self.not_before = Mono::ZERO;
        if self.now.is_some() || !windows.purge {
            return;
        }
        let node = self.node;
        let has_some = |call: &CallId| {
            let own = calls.get(call).and_then(|known| known.at(node));
            own.is_some_and(|own| leftovers(own).next().is_some())
        };
        self.calls.retain(has_some);
        let open = self.calls.iter().filter_map(|call| calls.get(call)).filter(|known| known.job.is_none());
        let mut found = open.filter_map(|known| {
            let own = known.at(self.node)?;
            let is_last = own.copies().all(|(_, copy)| !copy.is_kept());
            let may = |place: &Place| !(busy.contains(place) || is_last && has_twins(own, place));
            let directory = leftovers(own).find(|d| may(&d.place))?;
            let gone: Vec<_> = directory.copies.iter().filter(|copy| !copy.is_kept()).collect();
            Some((known, directory, gone, is_last))
        });
        let Some((known, directory, gone, is_last)) = found.next() else { return };
        let place = directory.place.clone();
        let within = logs::directory(&place);
        // Before anything goes it must be certain that the log says so: what asked for it may have failed after that line.
        let mut rest = VecDeque::from([Local::Sync]);
        let remove = |name: &str| Local::File(FileOp::Remove { path: format!("{within}/{name}") });
        let files = || gone.iter().map(|copy| copy.files.split_first());
        rest.extend(files().flatten().flat_map(|(_, rest)| rest).map(|file| remove(&file.name)));
        // A manifest says what is left of its files, until it is certain that nothing is.
        rest.push_back(Local::Sync);
        rest.extend(files().flatten().map(|(manifest, _)| remove(&manifest.name)));
        rest.push_back(Local::Sync);
        rest.push_back(Local::Look(within));
        let segments = gone.iter().map(|copy| copy.segment).collect();
        let (call, key) = (known.key.call, place.of.clone());
        let ticket = rest.pop_front().map_or(0, |local| out.local(&place.volume, local));
        self.now = Some(Purging { ticket, call, key, place, segments, rest, is_last });
    }

    /// A step is done; the call of which something changed thereby.
    pub(super) fn done(
        &mut self,
        now: Now,
        calls: &mut Calls,
        out: &mut Out,
        ticket: u64,
        result: Result<Got, String>,
    ) -> Option<CallId> {
        let mut purging = self.now.take_if(|p| p.ticket == ticket)?;
        match result {
            Err(why) => {
                self.not_before = now.mono + RETRY_AFTER;
                self.failures = self.failures.saturating_add(1);
                if self.failures == FAILURES_TOLD {
                    out.alarm(&purging.key, None, format!("what was given up cannot be removed: {why}"));
                }
                return Some(purging.call);
            }
            Ok(Got::Names(names)) => purging.see(&names),
            Ok(Got::Octets { octets, is_end }) if !is_end || !logs::may_go(&octets) => {
                let within = logs::directory(&purging.place);
                let text = format!("{within}/{LOG_NAME} stays: it says what no other node may know");
                // A directory in which nothing was given up is none of ours.
                if !purging.segments.is_empty() {
                    out.alarm(&purging.key, None, text);
                }
                purging.rest.clear();
            }
            Ok(_) => {}
        }
        match purging.rest.pop_front() {
            Some(local) => {
                purging.ticket = out.local(&purging.place.volume, local);
                self.now = Some(purging);
                None
            }
            None => {
                self.failures = 0;
                self.forget(calls, &purging);
                let (call, key, mut segments) = (purging.call, purging.key, purging.segments);
                let own = calls.get(&call).and_then(|known| known.at(self.node));
                let is_here = |segment: &SegmentId| {
                    own.is_some_and(|own| own.copies().any(|(_, copy)| copy.segment == *segment))
                };
                segments.retain(|segment| !is_here(segment));
                out.say(Step::Purged { call: key, segments });
                Some(call)
            }
        }
    }

    fn forget(&self, calls: &mut Calls, purging: &Purging) {
        let Some(known) = calls.get_mut(&purging.call) else { return };
        let own = known.own_mut(self.node);
        for directory in own.directories.iter_mut().filter(|d| d.place == purging.place) {
            directory.copies.retain(|copy| !purging.segments.contains(&copy.segment));
        }
        // Its log stays as long as other copies do, and goes with the last.
        let is_gone = |d: &HeldDirectory| d.place == purging.place && d.copies.is_empty() && purging.is_last;
        own.directories.retain(|d| !is_gone(d));
    }
}

impl Purging {
    /// These are in the directory yet: when it is only what belongs to what is gone, it goes too.
    fn see(&mut self, names: &[(String, u64)]) {
        let within = logs::directory(&self.place);
        let path = |name: &str| format!("{within}/{name}");
        let fetched = fetched_in_part(names);
        let is_ours = |name: &str| name == LOG_NAME || layout::is_partial(name) || fetched.contains(name);
        if !self.is_last || !names.iter().all(|(name, _)| is_ours(name)) {
            return;
        }
        if names.iter().any(|(name, _)| name == LOG_NAME) {
            self.rest.push_back(read_log(path(LOG_NAME)));
        }
        let remove = |name: &str| Local::File(FileOp::Remove { path: path(name) });
        if !fetched.is_empty() {
            self.rest.extend(fetched.iter().map(|name| remove(name)));
            // What shows that they were being fetched goes last.
            self.rest.push_back(Local::Sync);
        }
        let partial = names.iter().filter(|(name, _)| layout::is_partial(name));
        self.rest.extend(partial.map(|(name, _)| remove(name)));
        self.rest.push_back(remove(LOG_NAME));
        if self.place.rank.is_first() {
            // A crash may have left it with nothing in it.
            let path = layout::twin_directory(&within);
            self.rest.push_back(Local::File(FileOp::RemoveDir { path }));
        }
        self.rest.push_back(Local::File(FileOp::RemoveDir { path: within.clone() }));
    }
}

/// Whether a directory has another in it that something is in, which is to go before.
fn has_twins(own: &CallHoldings, place: &Place) -> bool {
    let is_in =
        |other: &Place| !other.rank.is_first() && (&other.of, &other.volume) == (&place.of, &place.volume);
    place.rank.is_first() && own.directories.iter().any(|d| is_in(&d.place))
}

/// Files that have their names, of segments whose manifests have not: fetching them ended in between.
fn fetched_in_part(names: &[(String, u64)]) -> BTreeSet<&str> {
    let all = || names.iter().map(|(name, _)| name.as_str());
    let stems = all().filter_map(|name| name.strip_suffix(&layout::partial_name(".json")));
    let open: Vec<&str> =
        stems.filter(|stem| !all().any(|name| name == layout::manifest_name(stem))).collect();
    let is_of = |stem: &&str, name: &str| {
        layout::part_number(stem, name).is_some() || name == layout::sidecar_name(stem)
    };
    all().filter(|name| open.iter().any(|stem| is_of(stem, name))).collect()
}

//! How segments are sealed, what the disk does not take then, and what a crash left.
//!
//! ```text
//!  end ──► sealed ──sync──► durable, unmarked, handed in to gathering
//!    └──► the disk fails ──► closed as after a crash, as soon as it is well
//!  start ──► markers ──────┘
//! ```

use std::collections::BTreeSet;

use model::{
    CallId, CallKey, Conclusion, Copy, CopyOf, EndReason, Failure, Location, Now, RecordingState, SegmentId,
    SegmentRecord, StreamRecord, WallTime, total,
};
use spool::layout::{self, ManifestPath};
use spool::log::{self, LogLine};
use spool::memory::Sealed;
use spool::repair::{left_open, repair_after};
use spool::{FileOp, Files, SegmentWriter, digest_of, gather};

use super::Server;
use super::recorder::Live;
use crate::core::Core;
use crate::world::World;
use crate::wrong::Wrong;

/// How often a conclusion is tried, once a second: what a disk does not take for so long it does not take for other reasons.
const TRIES_MAX: u32 = 120;

/// See the module.
#[derive(Default)]
pub(super) struct Closing {
    /// Segments that are to be closed as after a crash.
    open: Vec<Open>,
    /// Segments that are sealed and not durable, with how they are unmarked then.
    sealed: Vec<(SegmentId, CallKey, FileOp)>,
    /// How calls came out whose files do not take it, and how often that was tried.
    conclusions: Vec<(Conclusion, u32)>,
    /// Calls of which gathering is to hear when all is durable.
    changed: BTreeSet<CallKey>,
}

struct Open {
    segment: SegmentId,
    key: CallKey,
    at: ManifestPath,
    failure: Failure,
}

impl Closing {
    pub(super) fn open(&self) -> usize {
        self.open.len() + self.sealed.len() + self.conclusions.len() + self.changed.len()
    }

    /// Segments that gathering may not count on: what they are is not durable.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = SegmentId> {
        self.open.iter().map(|open| open.segment).chain(self.sealed.iter().map(|(segment, ..)| *segment))
    }
}

impl Server {
    /// A segment ended; how it came out.
    pub(super) fn seal(
        &mut self,
        core: &mut Core,
        now: Now,
        live: Live,
        records: Vec<StreamRecord>,
        at: WallTime,
        reason: EndReason,
    ) -> SegmentRecord {
        let Live { key, mut writer, failed, .. } = live;
        let done = match failed {
            Some(failure) => Err(failure),
            None => self.seal_well(core, now, &mut writer, records, at, reason),
        };
        let (segment, path) = (writer.record().id, writer.manifest_path());
        match done {
            Ok((record, unmark)) => {
                self.recorder.closing.sealed.push((segment, key, unmark));
                record
            }
            Err(failure) => {
                self.recorder.is_doubted = true;
                let known = ended_by(writer.record().clone(), failure.clone(), now.wall);
                if let Ok(at) = ManifestPath::parse(&path) {
                    let open = Open { segment, key, at, failure };
                    match self.close(core, now, &open) {
                        Ok(Some(record)) => return record,
                        Ok(None) | Err(_) => self.recorder.closing.open.push(open),
                    }
                }
                known
            }
        }
    }

    fn seal_well(
        &mut self,
        core: &mut Core,
        now: Now,
        writer: &mut SegmentWriter,
        records: Vec<StreamRecord>,
        at: WallTime,
        reason: EndReason,
    ) -> Result<(SegmentRecord, FileOp), Failure> {
        let mut ops = Vec::new();
        writer.end(now, at, reason, records, &mut ops);
        self.write_all(core, &ops)?;
        let disk = &self.disk.disk.now;
        let digests = writer.files().into_iter().map(|path| {
            let digest = digest_of(disk, &path)?;
            Ok((path, digest.bytes, digest.sha256))
        });
        let digests: std::io::Result<Vec<_>> = digests.collect();
        let digests = digests.map_err(|e| Failure::Storage(e.to_string()))?;
        let mut ops = Vec::new();
        let record = writer.seal(now, &digests, &mut ops);
        let unmark = ops.pop().unwrap_or(FileOp::Unmark { path: layout::marker_path(record.id) });
        if core.is_wrong(Wrong::NotesAnyState) {
            ops.extend(any_state(now, &record, writer.directory()));
        }
        self.write_all(core, &ops)?;
        Ok((record, unmark))
    }

    /// Closes a segment as after a crash. None: nothing of it is there.
    fn close(&mut self, core: &mut Core, now: Now, open: &Open) -> Result<Option<SegmentRecord>, Failure> {
        let disk = &self.disk.disk.now;
        let repair = repair_after(now, open.segment, &open.at, self.number, open.failure.clone(), disk)
            .map_err(|e| Failure::Storage(e.to_string()))?;
        let mut unmark = FileOp::Unmark { path: layout::marker_path(open.segment) };
        for op in repair.ops {
            match op {
                FileOp::Unmark { .. } => unmark = op,
                op => self.write(core, &op)?,
            }
        }
        core.say(format_args!("{} closes {}: {:?}", self.name, open.segment, repair.what));
        if repair.record.is_none() {
            self.write(core, &unmark)?;
        } else {
            self.correct(core, now, &open.key)?;
            self.recorder.closing.sealed.push((open.segment, open.key.clone(), unmark));
        }
        Ok(repair.record)
    }

    /// What a call had come to may be less grave than a segment of it that is closed anew.
    fn correct(&mut self, core: &mut Core, now: Now, key: &CallKey) -> Result<(), Failure> {
        let lines = self.log_of(key);
        let Some(outcome) = gather::outcome_here(&lines, self.number) else { return Ok(()) };
        let Some(noted) = gather::correct(now, self.number, key, &lines, outcome) else { return Ok(()) };
        self.write_all(core, &noted.ops)?;
        self.tell_call(core, key.call, noted.state);
        Ok(())
    }

    fn log_of(&self, key: &CallKey) -> Vec<LogLine> {
        let path = layout::log_path(&World::directory(key));
        log::read(self.disk.disk.now.bytes(&path).unwrap_or_default()).0
    }

    /// The catalog is to know what a call's copy here has come to.
    fn tell_call(&self, core: &mut Core, call: CallId, state: Option<RecordingState>) {
        if let Some(state) = state {
            core.tell_copy(&Copy { of: CopyOf::Call(call), at: Location::Node(self.number), state });
        }
    }

    /// At a start: what is marked as live is to be closed, and gathering is to hear of every call that is here.
    pub(super) fn find_open(&mut self, core: &mut Core) {
        let disk = &self.disk.disk.now;
        let markers = disk.paths().filter_map(|path| {
            let segment = layout::marked_segment(path)?;
            Some((path.to_owned(), segment, layout::read_marker(disk.bytes(path)?)))
        });
        let markers: Vec<_> = markers.collect();
        for (path, segment, at) in markers {
            let call = core.truth.segments.get(&segment).map(|known| known.call);
            let key = call.and_then(|call| core.truth.calls.get(&call)).map(|of| of.key.clone());
            match (at, key) {
                (Ok(at), Some(key)) => {
                    let failure = Failure::Process;
                    self.recorder.closing.open.push(Open { segment, key, at, failure });
                }
                // It is the first thing that is written of a segment: nothing else is there.
                _ => _ = self.write(core, &FileOp::Remove { path }),
            }
        }
        let here = core.truth.calls.values().map(|of| &of.key);
        let here: Vec<CallKey> = here.filter(|key| !self.disk.disk.is_without(key)).cloned().collect();
        here.iter().for_each(|key| self.find_unmarked(key));
        self.recorder.closing.changed.extend(here);
    }

    /// A loss of power may keep a manifest and lose the marker that was written a moment before.
    fn find_unmarked(&mut self, key: &CallKey) {
        let open = left_open(self.number, &World::directory(key), &self.disk.disk.now).unwrap_or_default();
        let closing = &mut self.recorder.closing;
        for (segment, at) in open {
            if !closing.open.iter().any(|open| open.segment == segment) {
                closing.open.push(Open { segment, key: key.clone(), at, failure: Failure::Process });
            }
        }
    }

    /// Tries what the disk did not take.
    pub(super) fn close_open(&mut self, core: &mut Core, now: Now) {
        if self.disk.is_failing {
            return;
        }
        self.recorder.is_doubted = false;
        for open in std::mem::take(&mut self.recorder.closing.open) {
            match self.close(core, now, &open) {
                Ok(_) => {}
                Err(why) => {
                    core.say(format_args!("{} cannot close {}: {why:?}", self.name, open.segment));
                    self.recorder.closing.open.push(open);
                }
            }
        }
        for (conclusion, tries) in std::mem::take(&mut self.recorder.closing.conclusions) {
            // One whose files are gone is given up.
            if tries < TRIES_MAX {
                self.conclude(core, now, conclusion, tries + 1);
            }
        }
    }

    /// Notes in a call's log how it came out, now or later.
    pub(super) fn conclude(&mut self, core: &mut Core, now: Now, mut conclusion: Conclusion, tries: u32) {
        let key = CallKey {
            call: conclusion.call,
            call_started: conclusion.call_started,
            tenant: conclusion.tenant.clone(),
        };
        let closing = &mut self.recorder.closing;
        if let Some(earlier) = closing.conclusions.iter().position(|(c, _)| c.call == conclusion.call) {
            conclusion.from = closing.conclusions.remove(earlier).0.from;
        }
        // A call is concluded after its segments are closed.
        let is_early = closing.open.iter().any(|open| open.key == key);
        // What is gathered elsewhere is concluded there.
        let is_gone = self.disk.disk.is_without(&key);
        let noted = gather::conclude(now, self.number, &conclusion, &self.log_of(&key));
        if is_early || is_gone || self.write_all(core, &noted.ops).is_err() {
            self.recorder.closing.conclusions.push((conclusion, tries));
            return;
        }
        if noted.state != conclusion.state {
            self.tell_call(core, key.call, noted.state);
        }
        self.recorder.closing.changed.insert(key);
    }

    /// All that was written is durable: what waited for that goes on.
    pub(super) fn sync(&mut self, core: &mut Core, now: Now) {
        if self.disk.is_failing {
            return;
        }
        if !core.is_wrong(Wrong::NeverSyncs) {
            self.disk.disk.sync();
        }
        for (segment, key, unmark) in std::mem::take(&mut self.recorder.closing.sealed) {
            if let Some(sealed) = self.files_of(&key, segment) {
                core.truth.sealed.insert(segment, (key.clone(), sealed));
            }
            if self.write(core, &unmark).is_err() {
                self.recorder.closing.sealed.push((segment, key.clone(), unmark));
            }
            self.recorder.closing.changed.insert(key);
        }
        for key in std::mem::take(&mut self.recorder.closing.changed) {
            self.hand_in(core, now, &key);
        }
    }

    /// The files of a sealed segment, the manifest last.
    fn files_of(&self, key: &CallKey, segment: SegmentId) -> Option<Sealed> {
        let disk = &self.disk.disk.now;
        let directory = World::directory(key);
        let manifests = disk.list(&directory).ok()?.into_iter().filter(|name| name.ends_with(".json"));
        let found = manifests.map(|name| format!("{directory}/{name}")).find_map(|path| {
            let read = spool::manifest::read(disk.bytes(&path)?).ok()?;
            (read.record.id == segment).then_some((path, read.record))
        });
        let (manifest, record) = found?;
        let files = record.parts.iter().map(|p| &p.file).chain(record.sidecar.iter().map(|s| &s.file));
        let paths = files.map(|file| format!("{directory}/{file}")).chain([manifest]);
        paths.map(|path| Some((path.clone(), disk.bytes(&path)?.to_vec()))).collect()
    }
}

/// The record of a segment that a failure ended, whatever end it was given before.
fn ended_by(mut record: SegmentRecord, failure: Failure, now: WallTime) -> SegmentRecord {
    let reason = EndReason::Internal(failure);
    let begun = RecordingState::begin(record.respondent);
    record.state = begun.apply(reason.transition()).unwrap_or(RecordingState::PartialInternalError);
    record.total = total::at_end(record.number, record.total.max(record.number), &reason);
    record.ended = Some(record.ended.unwrap_or(now).max(record.started));
    record.end = Some(reason);
    record
}

/// A change of state that the table does not have: a known wrong.
fn any_state(now: Now, record: &SegmentRecord, directory: &str) -> Option<FileOp> {
    let copy = model::Copy {
        of: model::CopyOf::Segment(record.id),
        at: model::Location::Node(record.node),
        state: RecordingState::Incomplete,
    };
    let entry = spool::log::Entry::State { copy, from: Some(record.state), why: "wrong".to_owned() };
    Some(FileOp::AppendLine { path: layout::log_path(directory), bytes: spool::log::line(now.wall, &entry) })
}

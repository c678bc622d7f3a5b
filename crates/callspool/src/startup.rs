//! What is done about what a crash left: segments that were open are repaired, and calls that it cut off are
//! concluded, so that nothing is live that does not live.
//!
//! What there is to do is listed before the first call is taken, so that nothing new is in the list; it is done
//! beside the recording, so that no call waits for it. What no list has is [looked for](unmarked) when that is done. It stops between two segments when the process stops, and
//! may be done again at any time.

mod joins;
mod unmarked;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{
    CallId, CallRecord, ChangeKind, Conclusion, EndReason, Failure, Incident, Join, NodeNumber,
    RecordingState, SegmentId, SegmentRecord, TenantId, VolumeName, WallTime, copy, total,
};
use spool::joining::is_concluded;
use spool::layout::{self, ManifestPath};
use spool::{Files, gather};
use store::{CallQuery, Catalog};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::catalog::{CatalogLink, tell_call};
use crate::clock::now;
use crate::config::Config;
use crate::gathering::key_of;
use crate::pending::Pending;
use crate::recorder::{self, Disk, Teller, When};
use crate::repository::{Marked, Markers, Repository};
use crate::whole::{ManifestFile, WholeCall};
use unmarked::Reach;

/// How long the catalogue and each volume may take to list what was cut off. What the catalogue does not tell in time
/// is told by the markers, or at the next start; a volume is asked again when everything else is repaired.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether a volume answers.
const LOOK: Duration = Duration::from_millis(100);
/// How often the log says how far the repairs are.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// What the last process left to do.
#[derive(Debug, Default)]
pub(crate) struct Left {
    markers: Vec<(VolumeName, Marked)>,
    /// Directories of calls that are not concluded.
    calls: BTreeSet<String>,
    /// Volumes that did not say in time what is on them.
    silent: Vec<VolumeName>,
}

/// Mends what a crash left.
#[derive(Clone)]
pub(crate) struct Mender {
    pub(crate) repository: Repository,
    disks: BTreeMap<VolumeName, Disk>,
    pending: Pending,
    pub(crate) teller: Teller,
    reader: Arc<Catalog>,
    /// Whose alarms are those of no call.
    pub(crate) tenant: TenantId,
    node: NodeNumber,
    /// Calls of which segments lie here may be those of proxies on other nodes.
    others_order: bool,
    /// When this process began: what ended earlier is not its own.
    begun: WallTime,
    /// Held while a call is concluded: the start and a reindex must not both find it unconcluded.
    concluding: Arc<Mutex<()>>,
}

impl Mender {
    /// `disks` are those that the recorder writes to: the two must know of each other's markers.
    pub(crate) fn new(
        config: &Config,
        repository: &Repository,
        disks: BTreeMap<VolumeName, Disk>,
        catalog: &CatalogLink,
        teller: &Teller,
    ) -> Self {
        Self {
            repository: repository.clone(),
            disks: disks.into_iter().map(|(name, disk)| (name, disk.repairing())).collect(),
            pending: Pending::new(&config.node.data_dir),
            teller: teller.clone(),
            reader: Arc::clone(&catalog.reader),
            tenant: config.recording.tenant.clone(),
            node: config.node.number,
            others_order: !config.cluster.listen.is_empty(),
            begun: now().wall,
            concluding: Arc::default(),
        }
    }

    /// Lists what is to be done. To be called before anything is recorded.
    pub(crate) async fn survey(&self) -> Left {
        let mut left = Left::default();
        for (volume, repository) in self.repository.each() {
            let (mender, name) = (self.clone(), volume.clone());
            let listing =
                tokio::task::spawn_blocking(move || mender.find(&name, &repository, When::AtTheStart));
            match tokio::time::timeout(PATIENCE, listing).await {
                Ok(listed) => left.markers.extend(listed.ok().flatten()),
                Err(_) => left.silent.push(volume),
            }
        }
        if tokio::time::timeout(PATIENCE, self.unfinished(&mut left.calls)).await.is_err() {
            tracing::warn!("the catalog is slow; calls that it did not list are concluded at the next start");
        }
        left
    }

    /// What an earlier process left marked as live on a volume. What the redo has of it is in its files then.
    fn find(&self, volume: &VolumeName, repository: &Repository, when: When) -> Option<(VolumeName, Marked)> {
        let tell = |text| self.tell_unrepaired(&self.tenant, None, format!("volume {volume}: {text}"));
        let Marked { mut markers, unreadable } = repository
            .live_markers()
            .inspect_err(|e| {
                tell(format!("the markers of live segments cannot be read: {e}; the next start tries again"));
            })
            .ok()?;
        if unreadable > 0 {
            tell(format!(
                "{unreadable} places of {} cannot be read: what was live there is looked for among the newest calls; \
                 look after its disk",
                layout::MARKERS_PATH
            ));
        }
        if when == When::Later {
            // Those of this process are closed by who holds them.
            markers.retain(|(segment, _)| self.is_earlier(*segment));
        }
        self.put_back(volume, repository, &markers);
        match self.replay(volume, repository, &markers, when) {
            Ok(failed) => {
                markers.retain(|(_, at)| !at.as_ref().is_ok_and(|at| failed.contains(at)));
                Some((volume.clone(), Marked { markers, unreadable }))
            }
            // What is in there would lie behind the end of a segment that is closed without it.
            Err(e) => {
                tell(format!(
                    "what a crash left in {} cannot be written to the segments: {e}; they are not closed, and the next \
                     start tries again",
                    spool::redo::DIR
                ));
                None
            }
        }
    }

    fn replay(
        &self,
        volume: &VolumeName,
        repository: &Repository,
        markers: &Markers,
        when: When,
    ) -> io::Result<Vec<ManifestPath>> {
        let Some(disk) = self.disks.get(volume) else { return Ok(Vec::new()) };
        let marked: Vec<ManifestPath> = markers.iter().filter_map(|(_, at)| at.clone().ok()).collect();
        let replayed = recorder::replay(disk, repository, &marked, recorder::run(), when)?;
        let recorder::Replayed { files, octets, left, failed, unreadable } = replayed;
        for (name, recorder::Unreadable { why, aside }) in unreadable {
            let lies = match aside {
                Ok(path) => format!("it lies at {path}"),
                Err(e) => format!("it cannot be set aside: {e}"),
            };
            let text = format!(
                "volume {volume}: the redo file {name} cannot be read: {why}; up to 0.6 s at the ends of the segments \
                 that a crash cut are lost if they are in it; {lies}"
            );
            self.tell_unrepaired(&self.tenant, None, text);
        }
        if files > 0 {
            if let Some(e) = left {
                tracing::error!("volume {volume}: its redo is not emptied: {e}; the next start tries again");
            }
            tracing::info!(
                "volume {volume}: {octets} octets of {files} redo files were not in their segments yet"
            );
        }
        for (at, e) in &failed {
            let segment = at.path();
            tracing::error!(
                "what a crash left of {segment} cannot be written to it: {e}; the next start tries again"
            );
        }
        Ok(failed.into_iter().map(|(at, _)| at).collect())
    }

    /// Manifests that a loss of power damaged become what they were before. Those who replace them empty nothing until then.
    fn put_back(&self, volume: &VolumeName, repository: &Repository, markers: &Markers) {
        let Some(disk) = self.disks.get(volume) else { return };
        for (path, bytes) in repository.replaced_manifests(markers) {
            tracing::warn!(%path, "the manifest is damaged; the one before is put in its place");
            let put = disk.apply_all(vec![spool::FileOp::Replace { path, bytes }]);
            if let Err(e) = put {
                tracing::error!("that cannot be done: {e}; the manifest is rebuilt");
            }
        }
        // Of one that is away nothing was seen.
        if !repository.is_away() {
            disk.looked_through();
        }
    }

    /// A volume that was away is there: what an earlier process left on it is repaired now.
    pub(crate) fn mend_volume(&self, volume: &VolumeName, stop: &watch::Receiver<bool>) {
        let Some((_, repository)) = self.repository.each().find(|(name, _)| name == volume) else { return };
        // It may stand still for a moment longer.
        while repository.is_away() {
            if *stop.borrow() {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let Some(found) = self.find(volume, &repository, When::Later) else { return };
        let markers = vec![found];
        self.mend(Left { markers, ..Left::default() }, stop);
    }

    /// The calls of all tenants that the catalogue does not know as gathered. None when it is away: a reindex follows
    /// then.
    async fn unfinished(&self, calls: &mut BTreeSet<String>) {
        let tenants = self.reader.tenants().await.unwrap_or_default();
        let states = || RecordingState::ALL.into_iter().filter(|s| s.is_segment());
        for (tenant, state) in tenants.iter().flat_map(|tenant| states().map(move |state| (tenant, state))) {
            let mut query = CallQuery {
                tenant: tenant.clone(),
                state: Some(state),
                limit: Some(store::LIST_MAX),
                ..CallQuery::default()
            };
            while let Ok(page) = self.reader.calls(&query).await {
                let Some(last) = page.last() else { break };
                query.after = Some(last.cursor());
                calls.extend(page.iter().map(|c| layout::call_directory(&c.tenant, c.started, c.id)));
            }
        }
    }

    /// Repairs and concludes what was listed. Blocks; gives up between two of them when the process stops.
    pub(crate) fn mend(&self, left: Left, stop: &watch::Receiver<bool>) {
        let Left { markers, mut calls, silent } = left;
        let (open, mut told) = (markers.iter().map(|(_, m)| m.markers.len()).sum::<usize>(), Instant::now());
        let reach = if markers.iter().any(|(_, m)| m.unreadable > 0) { Reach::Day } else { Reach::Minute };
        if open + calls.len() > 0 {
            tracing::info!("{open} segments were left open, {} calls are not concluded", calls.len());
        }
        let mut unrepaired = BTreeSet::new();
        let volumes: Vec<VolumeName> = markers.iter().map(|(volume, _)| volume.clone()).collect();
        let one_by_one =
            markers.into_iter().flat_map(|(v, all)| all.markers.into_iter().map(move |m| (v.clone(), m)));
        for (done, (volume, (segment, at))) in one_by_one.enumerate() {
            if *stop.borrow() {
                return tracing::info!("{done} of {open} segments are repaired; the next start goes on");
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                tracing::info!("{done} of {open} segments are repaired");
            }
            match at {
                Ok(at) => {
                    if !self.repair(&volume, segment, &at) {
                        unrepaired.insert(segment);
                    }
                    calls.insert(at.directory);
                }
                Err(e) => self.remove_torn_marker(&volume, segment, &e),
            }
        }
        self.settle(&volumes);
        self.complete_pending(&mut calls);
        let count = calls.len();
        for directory in calls {
            if *stop.borrow() {
                return tracing::info!("calls are left to conclude; the next start goes on");
            }
            self.repair_unmarked(&directory);
            self.end_lost(&directory, &unrepaired);
            self.try_conclude(&directory, None);
        }
        if open + count > 0 {
            tracing::info!("{} segments are repaired, {count} calls looked after", open - unrepaired.len());
        }
        for volume in silent {
            tracing::warn!("volume {volume} did not say at the start what is on it; it is asked again");
            self.mend_volume(&volume, stop);
        }
        self.look_for_unmarked(reach, stop);
    }

    /// Whether a segment is of an earlier process. Ids know milliseconds only.
    fn is_earlier(&self, segment: SegmentId) -> bool {
        segment.made_at() < self.begun - Duration::from_millis(1)
    }

    /// Something that a crash left cannot be repaired now.
    fn tell_unrepaired(&self, tenant: &TenantId, segment: Option<SegmentId>, text: String) {
        self.teller.alarm(tenant, Incident::Storage, None, segment, text);
    }

    /// Whose call lies in a directory.
    fn owner(&self, directory: &str) -> TenantId {
        let named = directory.split('/').next().and_then(|name| name.parse().ok());
        named.unwrap_or_else(|| self.tenant.clone())
    }

    /// After a reindex: concludes what ended before this process began. The list at the start could not name it
    /// when there was no catalogue.
    pub(crate) fn conclude_rest(&self, stop: &watch::Receiver<bool>) {
        let mut calls = BTreeSet::new();
        Handle::current().block_on(self.unfinished(&mut calls));
        for directory in calls {
            if *stop.borrow() {
                return;
            }
            self.repair_unmarked(&directory);
            self.try_conclude(&directory, Some(self.begun));
        }
    }

    /// Makes repairs durable; the markers go then.
    fn settle(&self, volumes: &[VolumeName]) {
        for volume in volumes {
            let Some(disk) = self.disks.get(volume) else { continue };
            if let Err(e) = disk.settle() {
                tracing::error!("after repairs volume {volume} {e}; the next start looks again");
            }
        }
    }

    /// Whether the segment is closed now.
    fn repair(&self, volume: &VolumeName, segment: SegmentId, at: &ManifestPath) -> bool {
        let Some((disk, repository)) = self.on(volume) else { return false };
        if self.is_shadow(volume, segment, at) {
            return self.remove_shadow(&disk, segment, at);
        }
        let repaired = match spool::repair::repair(now(), segment, at, self.node, &repository) {
            Ok(repaired) => repaired,
            Err(e) => {
                let text = format!("a segment cannot be repaired: {e}; the next start tries again");
                self.tell_unrepaired(&self.owner(&at.directory), Some(segment), text);
                return false;
            }
        };
        if let Err(e) = disk.apply_all(repaired.ops) {
            let text = format!("a repair could not be written: {e}; the next start tries again");
            self.tell_unrepaired(&self.owner(&at.directory), Some(segment), text);
            return false;
        }
        let Some(mut record) = repaired.record else { return true };
        record.volume = volume.clone();
        // It was sealed as it is: only the sync behind it was missing.
        if repaired.what.is_empty() {
            self.teller.segment_with_copy(&record, &repaired.directory);
            return true;
        }
        let text = format!("a segment that was left open was closed: {}", repaired.what.join(", "));
        self.teller.segment_with_copy(&record, &repaired.directory);
        self.teller.alarm(&record.tenant, Incident::Repaired, Some(record.call), Some(segment), text);
        true
    }

    /// Whether a volume that stood still was left with the beginnings of a segment that then began on another.
    fn is_shadow(&self, volume: &VolumeName, segment: SegmentId, at: &ManifestPath) -> bool {
        let Ok(found) = self.repository.manifests(&at.directory) else { return false };
        let of_segment: Vec<_> = found
            .into_iter()
            .filter_map(|m| m.manifest.ok())
            .map(|m| m.record)
            .filter(|r| r.id == segment)
            .collect();
        let here = of_segment.iter().find(|r| r.volume == *volume);
        let has_media = |r: &SegmentRecord| r.parts.iter().any(|p| p.duration_us > 0) || r.ended.is_some();
        of_segment.iter().any(|r| r.volume != *volume)
            && here.is_none_or(|r| !has_media(r))
            && !self.holds_media(volume, at)
    }

    /// Whether there is anything in the parts themselves: nothing is removed by what a manifest says alone. What cannot be
    /// read may hold something.
    fn holds_media(&self, volume: &VolumeName, at: &ManifestPath) -> bool {
        let Some((disk, repository)) = self.on(volume) else { return true };
        let Ok(names) = disk.list(&at.directory) else { return true };
        names.iter().filter(|name| layout::part_number(&at.stem, name).is_some()).any(|name| {
            let part = repository.open(&format!("{}/{name}", at.directory));
            let scan = part.and_then(|part| spool::mka::scan(std::io::BufReader::new(part)));
            scan.map_or(true, |scan| scan.tracks.iter().any(|track| track.media_blocks > 0))
        })
    }

    fn remove_shadow(&self, disk: &Disk, segment: SegmentId, at: &ManifestPath) -> bool {
        tracing::info!(%segment, "what a disk that stood still was left with is removed: the segment is elsewhere");
        let names = disk.list(&at.directory).unwrap_or_default();
        let own = names.iter().filter(|n| layout::part_number(&at.stem, n).is_some());
        let mut gone: Vec<String> = own.map(|n| format!("{}/{n}", at.directory)).collect();
        gone.push(at.path());
        let mut ops: Vec<_> = gone.into_iter().map(|path| spool::FileOp::Remove { path }).collect();
        ops.push(spool::FileOp::Unmark { path: layout::marker_path(segment) });
        disk.apply_all(ops).inspect_err(|e| tracing::error!(%segment, "it cannot be removed: {e}")).is_ok()
    }

    /// A volume to write to, and to read from alone.
    fn on(&self, volume: &VolumeName) -> Option<(Disk, Repository)> {
        let (_, repository) = self.repository.each().find(|(name, _)| name == volume)?;
        Some((self.disks.get(volume)?.clone(), repository))
    }

    fn remove_torn_marker(&self, volume: &VolumeName, segment: SegmentId, why: &str) {
        let Some((disk, _)) = self.on(volume) else { return };
        tracing::warn!(%segment, "a marker of a segment that never began is removed: {why}");
        let remove = spool::FileOp::Remove { path: layout::marker_path(segment) };
        if let Err(e) = disk.apply_all(vec![remove]) {
            tracing::error!(%segment, "the marker cannot be removed: {e}");
        }
    }

    /// Tells the catalogue that segments ended which it knows as live and of which no manifest is there: nothing
    /// else would ever end them. Those in `unrepaired` have a marker, and another try.
    fn end_lost(&self, directory: &str, unrepaired: &BTreeSet<SegmentId>) {
        let Some(call) = directory.rsplit('/').next().and_then(|name| name.parse::<CallId>().ok()) else {
            return;
        };
        let on_disk = WholeCall::read(&self.repository, directory).and_then(|w| w.segments(&self.repository));
        let Ok(on_disk) = on_disk else { return };
        let on_disk: BTreeSet<_> = on_disk.read.iter().map(|(record, _)| record.id).collect();
        // A catalogue that does not know the call does not show it as live.
        let tenant = self.owner(directory);
        let known = Handle::current().block_on(self.reader.call_as_told(&tenant, call));
        let Ok(Some(told)) = known else { return };
        let is_lost = |s: &SegmentRecord| {
            // A volume that is away may have it yet.
            let looked = s.is_live() && s.started < self.begun && self.repository.has(&s.volume);
            looked && !on_disk.contains(&s.id) && !unrepaired.contains(&s.id)
        };
        let mut last_end = None;
        for segment in told.segments.iter().filter(|s| is_lost(&s.record)) {
            let record = ended(segment.record.clone());
            let (number, id) = (segment.number, record.id);
            last_end = last_end.max(record.ended);
            self.teller.segment_with_copy(&record, &segment.directory);
            let text = format!(
                "segment {number} was being recorded when callspool ended, and its manifest in {} is gone: \
                 what was recorded of it is lost unless a backup has it",
                segment.directory
            );
            self.teller.alarm(&tenant, Incident::InternalFailure, Some(told.call.id), Some(id), text);
        }
        if let (true, Some(end)) = (on_disk.is_empty(), last_end) {
            // No file speaks of it any more.
            let ends = told.segments.iter().filter_map(|s| s.record.ended).max();
            let call = CallRecord { ended: ends.max(Some(end)), ..told.call };
            self.teller.tell(tenant, ChangeKind::Call(Box::new(call)));
        }
    }

    fn try_conclude(&self, directory: &str, before: Option<WallTime>) {
        if let Err(e) = self.conclude(directory, before) {
            tracing::error!("{directory} cannot be concluded: {e}; the next start tries again");
        }
        if self.others_order {
            // What a crash left open of it is closed now, and others may wait for that.
            self.teller.scattered().of(directory);
        }
    }

    fn conclude(&self, directory: &str, before: Option<WallTime>) -> io::Result<()> {
        let _one = self.concluding.lock().unwrap_or_else(PoisonError::into_inner);
        self.conclude_alone(directory, before)
    }

    /// Concludes a call none of whose segments is live any more: its dialogs died with the process that held
    /// them. With `before` only if it ended earlier. Of calls that are one the logs of both say so then. Nobody else may
    /// conclude one meanwhile.
    fn conclude_alone(&self, directory: &str, before: Option<WallTime>) -> io::Result<()> {
        let mut whole = WholeCall::read(&self.repository, directory)?;
        let mut segments = whole.segments(&self.repository)?.read;
        // The catalog names a directory by when the call began, which one that it took in may have done the day before.
        if segments.is_empty()
            && let Some(found) = WholeCall::find(&self.repository, whole.call)?
        {
            segments = found.segments(&self.repository)?.read;
            whole = found;
        }
        let directory = whole.directory().to_owned();
        let sealed = segments.iter().all(|(_, file)| file.sealed);
        let last_end = segments.iter().filter_map(|(s, _)| s.ended).max();
        if segments.is_empty() || before.is_some() && (!sealed || last_end >= before) {
            return Ok(());
        }
        let half_noted: Vec<Join> = whole.half_noted().cloned().collect();
        if !half_noted.is_empty() {
            half_noted.iter().for_each(|join| _ = self.complete(join));
            whole = WholeCall::read(&self.repository, &directory)?;
        }
        let concluded = whole.pieces.first().is_some_and(|own| is_concluded(&own.lines, whole.call));
        // A call of a proxy on another node may go on at another record server: that proxy says how it came out.
        let is_own = !self.others_order || whole.call.node() == self.node;
        if sealed && concluded {
            self.correct_conclusion(&whole, &segments)?;
        } else if sealed && is_own {
            self.note_conclusion(&whole, &segments)?;
        }
        for piece in &whole.pieces {
            tell_call(&self.repository, &self.teller, &piece.directory);
        }
        Ok(())
    }

    /// Notes how a call came out, in the log of the one that survives.
    fn note_conclusion(
        &self,
        whole: &WholeCall,
        segments: &[(SegmentRecord, ManifestFile)],
    ) -> io::Result<()> {
        let records: Vec<SegmentRecord> = segments.iter().map(|(s, _)| s.clone()).collect();
        // Nothing more will come of it: the last segment there is makes the total, which may lie elsewhere.
        let ended_with = whole.pieces.first().and_then(|own| gather::ended_with(&own.lines, whole.call));
        let last = records.iter().map(|s| s.number).max().max(ended_with);
        let own = segments.iter().filter(|(_, file)| file.directory == whole.directory());
        let Some((newest, _)) = own.clone().max_by_key(|(s, _)| (s.number, s.id)) else { return Ok(()) };
        let (Some(state), Some((disk, _))) =
            (gather::outcome(&records, last).state(), self.on(&newest.volume))
        else {
            return Ok(());
        };
        let began = own.map(|(s, _)| s.started).min().unwrap_or(newest.started);
        let conclusion = Conclusion {
            call: whole.call,
            call_started: whole
                .joins
                .iter()
                .find(|j| j.into.call == whole.call)
                .map_or(began, |j| j.into.call_started),
            tenant: newest.tenant.clone(),
            total: last.unwrap_or(0),
            from: None,
            state: Some(state),
        };
        let lines = whole.pieces.first().map(|own| own.lines.as_slice()).unwrap_or_default();
        disk.apply_all(gather::conclude(now(), self.node, &conclusion, lines).ops)
    }

    /// What a call had come to may be less grave than what a repair made of a segment whose end had been told.
    fn correct_conclusion(
        &self,
        whole: &WholeCall,
        segments: &[(SegmentRecord, ManifestFile)],
    ) -> io::Result<()> {
        let states: Vec<RecordingState> = segments.iter().map(|(s, _)| s.state).collect();
        let (Some(outcome), Some(own)) = (copy::gathered_outcome(&states), whole.pieces.first()) else {
            return Ok(());
        };
        let Some(call) = segments.first().map(|(s, _)| s) else { return Ok(()) };
        let Some(key) = key_of(&own.directory) else { return Ok(()) };
        let Some(noted) = gather::correct(now(), self.node, &key, &own.lines, outcome) else { return Ok(()) };
        let of_own = segments.iter().filter(|(_, file)| file.directory == own.directory);
        let volume = of_own.max_by_key(|(s, _)| (s.number, s.id)).map_or(&call.volume, |(s, _)| &s.volume);
        let Some((disk, _)) = self.on(volume) else { return Ok(()) };
        tracing::warn!(call = %whole.call, "a crash cut a segment after its end was told: the call is graver");
        disk.apply_all(noted.ops)
    }
}

/// A live segment as it stands when its process is gone: it reaches as far as its parts are known to.
fn ended(mut record: SegmentRecord) -> SegmentRecord {
    let reason = EndReason::Internal(Failure::Process);
    let reached = record.parts.iter().map(|p| p.offset_us.saturating_add(p.duration_us)).max().unwrap_or(0);
    record.ended = Some(record.started + Duration::from_micros(reached.max(0).unsigned_abs()));
    record.state = record.state.apply(reason.transition()).unwrap_or(RecordingState::PartialInternalError);
    record.total = total::at_end(record.number, record.total, &reason);
    record.end = Some(reason);
    record
}

#[cfg(test)]
mod tests;

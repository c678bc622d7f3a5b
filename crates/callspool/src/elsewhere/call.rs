//! A call as its files tell it, wherever they lie: what is here and what other nodes have, as one.
//!
//! Segments of another node are read by their manifests like those that are here; only a path of theirs leads to whoever
//! lends the file. What logs of other nodes say of joins, sides and notes counts as what is said here; what they say of
//! copies counts for those alone that are read there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use model::{CallId, CopyOf, SegmentId, SegmentRecord, TenantId};
use spool::gathering::across::{self, Here};
use spool::log::{Entry, LogDamage, LogLine};
use spool::{Files, ReadSeek};

use super::look::read_whole;
use super::{Elsewhere, Found, FoundSegment, Lends, Missing, Silent, Wanted};
use crate::gathering::key_of;
use crate::reindex::state_on_disk;
use crate::repository::{FoundManifest, Repository};
use crate::whole::{Directories, Segments, WholeCall};

/// See the module.
pub(crate) struct CallAcross {
    pub(crate) whole: WholeCall,
    pub(crate) segments: Segments,
    /// Segments that are read from other nodes.
    pub(crate) borrowed: BTreeMap<SegmentId, FoundSegment>,
    /// Segments that cannot be had.
    pub(crate) missing: Vec<Missing>,
    /// To read its files by.
    pub(crate) files: FilesAcross,
}

/// Files that are here, and of other nodes those of one call.
#[derive(Clone)]
pub(crate) struct FilesAcross {
    here: Repository,
    lent: Arc<BTreeMap<String, Wanted>>,
    lender: Option<Arc<dyn Lends>>,
    failed: Arc<Mutex<Option<String>>>,
}

/// What the files here say of a call, before anybody else is asked.
pub(crate) struct Own {
    whole: Option<WholeCall>,
    /// Whether there is nothing to ask others for.
    is_whole: bool,
    here: Here,
}

impl Own {
    /// Reads them. A call of another tenant is none.
    pub(crate) fn read(here: &Repository, tenant: &TenantId, call: CallId) -> io::Result<Self> {
        let own = format!("{tenant}/");
        let found = WholeCall::find(here, call)?.filter(|whole| whole.directory().starts_with(&own));
        let Some(whole) = found else {
            return Ok(Self { whole: None, is_whole: false, here: Here::default() });
        };
        let (segments, lines) = (whole.recorded(here)?.read, whole.lines());
        let records: Vec<SegmentRecord> = segments.iter().map(|(record, _)| record.clone()).collect();
        // What is given up here is read where it is kept.
        let is_kept = |s: &&SegmentRecord| WholeCall::state_of(&lines, s).is_segment();
        let numbers = records.iter().filter(is_kept).map(|s| (s.id, s.number)).collect();
        let is_whole = state_on_disk(&records, &lines).state.is_gathered();
        let total = whole.total(&segments);
        Ok(Self { whole: Some(whole), is_whole, here: Here { segments: numbers, total } })
    }

    /// What others have of it.
    pub(super) fn ask(self, elsewhere: &Elsewhere, tenant: &TenantId, call: CallId) -> Arc<Found> {
        if self.is_whole {
            return Arc::default();
        }
        let own = self.whole.as_ref().and_then(|whole| key_of(whole.directory()));
        let keys = own.map_or_else(|| across::keys_of(tenant, call), |key| vec![key]);
        elsewhere.0.look(keys, self.here)
    }
}

/// A call that was looked for.
pub(crate) enum Sought {
    Found(Box<CallAcross>),
    /// Nothing of it is known. Nodes that could not be asked may have it: a line for each.
    Unknown(Vec<String>),
}

/// A call, wherever its segments lie. It blocks.
pub(crate) fn read(
    here: &Repository,
    elsewhere: Option<&Elsewhere>,
    tenant: &TenantId,
    call: CallId,
) -> io::Result<Sought> {
    let found = match elsewhere {
        Some(elsewhere) => Own::read(here, tenant, call)?.ask(elsewhere, tenant, call),
        None => Arc::default(),
    };
    let lender = elsewhere.map(|elsewhere| Arc::new(elsewhere.clone()) as Arc<dyn Lends>);
    let read = CallAcross::of(here, tenant, call, &found, lender)?;
    let silent = found.silent.iter().map(Silent::describe);
    let unasked = found.missing.iter().filter(|_| found.silent.is_empty()).map(Missing::describe);
    let why = || silent.chain(unasked).collect();
    Ok(read.map_or_else(|| Sought::Unknown(why()), |call| Sought::Found(Box::new(call))))
}

impl CallAcross {
    /// What is here, and what was found elsewhere. None where there is neither.
    pub(crate) fn of(
        here: &Repository,
        tenant: &TenantId,
        call: CallId,
        found: &Found,
        lender: Option<Arc<dyn Lends>>,
    ) -> io::Result<Option<Self>> {
        let own = format!("{tenant}/");
        let is_own = |directory: &String| directory.starts_with(&own);
        let Some(directory) = here.find(call)?.or_else(|| found.directory.clone()).filter(is_own) else {
            return Ok(None);
        };
        let (mut both, mut missing) = (Both::new(here), found.missing.clone());
        if let Some(lender) = &lender {
            missing.extend(both.take_in(found, lender.as_ref()));
        }
        let whole = WholeCall::read(&both, &directory)?;
        let segments = whole.segments(&both)?;
        let borrowed = both.borrowed;
        let lent = borrowed.values().flat_map(|segment| {
            let path = |wanted: &Wanted| format!("{}/{}", lent_directory(segment.segment), wanted.file.name);
            segment.media().map(move |wanted| (path(&wanted), wanted))
        });
        let (lent, failed) = (Arc::new(lent.collect()), Arc::default());
        let files = FilesAcross { here: here.clone(), lent, lender, failed };
        missing.sort_by_key(|missing| missing.number);
        Ok(Some(Self { whole, segments, borrowed, missing, files }))
    }

    /// Its segments, each with the directory by which its files are read.
    pub(crate) fn placed(&self) -> Vec<(SegmentRecord, String)> {
        let directory = |id: SegmentId, own: &String| match self.borrowed.contains_key(&id) {
            true => lent_directory(id),
            false => own.clone(),
        };
        let first = self.segments.read.iter().map(|(s, file)| (s.clone(), directory(s.id, &file.directory)));
        // Second copies are heard where both lie here.
        let second = self.segments.twins.iter().map(|(s, file)| (s.clone(), file.directory.clone()));
        first.chain(second).collect()
    }
}

/// Where files of a segment of another node are read: nothing that lies here is called so.
fn lent_directory(segment: SegmentId) -> String {
    format!(".elsewhere/{segment}")
}

/// Directories of a call as they are here and at other nodes.
struct Both<'a> {
    here: &'a Repository,
    borrowed: BTreeMap<SegmentId, FoundSegment>,
    manifests: BTreeMap<String, Vec<FoundManifest>>,
    logs: BTreeMap<String, Vec<LogLine>>,
}

impl<'a> Both<'a> {
    const fn new(here: &'a Repository) -> Self {
        Self { here, borrowed: BTreeMap::new(), manifests: BTreeMap::new(), logs: BTreeMap::new() }
    }

    /// Reads what was found. What cannot be read is missing.
    fn take_in(&mut self, found: &Found, lender: &dyn Lends) -> Vec<Missing> {
        let mut missing = Vec::new();
        for segment in &found.segments {
            let Some(first) = segment.files.first() else { continue };
            let read = lender.open(&segment.wanted(first)).and_then(read_whole);
            let read = read.map_err(|e| e.to_string());
            // It was checked against what its node says of it when it was found.
            match read.and_then(|octets| spool::manifest::read(&octets).map_err(|e| e.to_string())) {
                Ok(manifest) => {
                    let volume = manifest.record.volume.clone();
                    let one = FoundManifest { name: first.name.clone(), volume, manifest: Ok(manifest) };
                    self.manifests.entry(segment.directory.clone()).or_default().push(one);
                    self.borrowed.insert(segment.segment, segment.clone());
                }
                Err(why) => missing.push(segment.missing(&why)),
            }
        }
        for log in &found.logs {
            // Any of the nodes that are lent from: the file is known by its digest.
            let Some(any) = found.segments.first() else { continue };
            let octets = lender.open(&any.wanted(&log.file)).and_then(read_whole);
            let (lines, _) = spool::log::read(&octets.unwrap_or_default());
            let lines = lines.into_iter().filter(|line| self.counts(line));
            let lines: Vec<LogLine> = lines.collect();
            self.logs.entry(log.directory.clone()).or_default().extend(lines);
        }
        missing
    }

    /// Whether what a log elsewhere says counts here.
    fn counts(&self, line: &LogLine) -> bool {
        match &line.entry {
            Entry::State { copy, .. } => match copy.of {
                CopyOf::Segment(segment) => self.borrowed.contains_key(&segment) && copy.state.is_segment(),
                CopyOf::Call(_) => false,
            },
            Entry::GivenUp { .. } => false,
            _ => true,
        }
    }
}

impl Directories for Both<'_> {
    fn log(&self, directory: &str) -> io::Result<(Vec<LogLine>, Vec<LogDamage>)> {
        let (mut lines, damage) = self.here.log(directory)?;
        for line in self.logs.get(directory).into_iter().flatten() {
            // Nodes that gathered from each other tell the same.
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        lines.sort_by_key(|line| line.at);
        Ok((lines, damage))
    }

    fn manifests(&self, directory: &str) -> io::Result<Vec<FoundManifest>> {
        let mut all = match self.here.manifests(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            all => all?,
        };
        let is_borrowed = |found: &FoundManifest| {
            found.manifest.as_ref().is_ok_and(|manifest| self.borrowed.contains_key(&manifest.record.id))
        };
        all.retain(|found| !is_borrowed(found));
        // Of calls that are one, a segment may be told of under both names.
        let mut known: BTreeSet<SegmentId> = BTreeSet::new();
        let lent = self.manifests.get(directory).into_iter().flatten();
        all.extend(lent.filter(|m| m.manifest.as_ref().is_ok_and(|m| known.insert(m.record.id))).cloned());
        Ok(all)
    }
}

impl FilesAcross {
    /// What of another node could not be had, if something could not.
    pub(crate) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Files for FilesAcross {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadSeek>> {
        let Some((wanted, lender)) = self.lent.get(path).zip(self.lender.as_ref()) else {
            return self.here.open(path);
        };
        let file = lender.open(wanted).inspect_err(|e| {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| e.to_string());
        })?;
        Ok(Box::new(file))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.here.list(dir)
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.lent.get(path).map_or_else(|| self.here.len(path), |wanted| Ok(wanted.file.octets))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::{Path, PathBuf};

    use model::{EndReason, NodeNumber, Place, RecordingState, VolumeName};
    use spool::gathering::own;

    use super::*;
    use crate::recorder::Disk;
    use crate::whole::tests::{EVE, key, record_of};

    /// The files of another node, by their names, as long as it is there.
    struct There(PathBuf);

    impl Lends for There {
        fn open(&self, wanted: &Wanted) -> io::Result<File> {
            let directory = across::directory_of(&wanted.place.of);
            File::open(self.0.join(directory).join(&wanted.file.name))
        }
    }

    fn record(root: &Path, number: u16, end: EndReason) {
        let codecs = [(0, model::Codec::new("PCMU", 8_000, 1))];
        let streams = vec![model::OpenStream::audio(number.into(), model::Side::Agent, &codecs)];
        record_of(root, (5, EVE, number), end, streams);
    }

    /// Call 5 of two segments: the second is here, the first at node 2.
    struct Apart {
        here: tempfile::TempDir,
        there: tempfile::TempDir,
    }

    impl Apart {
        fn make() -> Self {
            let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            record(there.path(), 1, EndReason::Hold);
            record(here.path(), 2, EndReason::HangUp);
            Self { here, there }
        }

        /// All that node 2 has, as a look finds it.
        fn found(&self) -> Found {
            let (of, volume) = (key(5, EVE), VolumeName::default());
            let (place, there) = (
                Place { of: of.clone(), volume, rank: model::Rank::First },
                Repository::new(self.there.path()),
            );
            let node = NodeNumber::new(2).unwrap();
            let held = own::holdings(node, &of, &BTreeMap::new(), &[(place, &there)]).unwrap();
            let segments = held.copies().map(|(place, copy)| FoundSegment {
                segment: copy.segment,
                number: copy.number,
                node,
                name: "rec2".parse().unwrap(),
                place: place.clone(),
                directory: across::directory_of(&place.of),
                files: copy.files.clone(),
            });
            let directory = Some(across::directory_of(&of));
            Found { directory, segments: segments.collect(), ..Found::default() }
        }

        fn read(&self, here: &Path, found: &Found) -> Option<CallAcross> {
            let lender = Some(Arc::new(There(self.there.path().to_owned())) as Arc<dyn Lends>);
            let tenant = TenantId::default();
            CallAcross::of(&Repository::new(here), &tenant, CallId::from_u64(5), found, lender).unwrap()
        }
    }

    /// The numbers of segments, each with whether it is read from elsewhere; all files of them can be read.
    fn numbers(call: &CallAcross) -> Vec<(u16, bool)> {
        for (record, directory) in call.placed() {
            assert_eq!(record.parts.len(), 1);
            for part in &record.parts {
                let path = format!("{directory}/{}", part.file);
                let mut octets = Vec::new();
                call.files.open(&path).unwrap().read_to_end(&mut octets).unwrap();
                assert_eq!((octets.len() as u64, call.files.len(&path).unwrap()), (part.bytes, part.bytes));
            }
        }
        let lent = |id| call.borrowed.contains_key(&id);
        call.segments.read.iter().map(|(s, _)| (s.number, lent(s.id))).collect()
    }

    #[test]
    fn what_is_here_and_what_is_there_is_one_call() {
        let apart = Apart::make();
        let (here, found) = (apart.here.path(), apart.found());
        assert_eq!(numbers(&apart.read(here, &Found::default()).unwrap()), [(2, false)]);
        assert_eq!(numbers(&apart.read(here, &found).unwrap()), [(1, true), (2, false)]);
        // On a node that has nothing of it.
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(numbers(&apart.read(nothing.path(), &found).unwrap()), [(1, true)]);
        assert!(apart.read(nothing.path(), &Found::default()).is_none());
        let (tenant, foreign) = ("acme".parse().unwrap(), Repository::new(here));
        let other = CallAcross::of(&foreign, &tenant, CallId::from_u64(5), &found, None).unwrap();
        assert!(other.is_none(), "a call of another tenant is none");
    }

    #[test]
    fn what_goes_away_is_missing_and_breaks_off_what_is_played() {
        let apart = Apart::make();
        let found = apart.found();
        let call = apart.read(apart.here.path(), &found).unwrap();
        let (first, directory) = call.placed().swap_remove(0);
        let path = format!("{directory}/{}", first.parts[0].file);
        std::fs::remove_dir_all(apart.there.path()).unwrap();
        assert!(call.files.failed().is_none());
        assert!(call.files.open(&path).is_err());
        assert!(call.files.failed().is_some());
        let call = apart.read(apart.here.path(), &found).unwrap();
        assert_eq!((numbers(&call), call.missing.len()), (vec![(2, false)], 1));
        assert!(call.missing[0].describe().starts_with("segment 1 is at rec2: "), "{:?}", call.missing);
    }

    #[test]
    fn what_is_given_up_here_is_read_where_it_is_kept() {
        let apart = Apart::make();
        let (here, found) = (apart.here.path(), apart.found());
        record(here, 1, EndReason::Hold);
        let repository = Repository::new(here);
        let own = || Own::read(&repository, &TenantId::default(), CallId::from_u64(5)).unwrap();
        assert_eq!(own().here.segments.into_values().collect::<Vec<_>>(), [1, 2]);
        let copy = model::Copy {
            of: CopyOf::Segment(found.segments[0].segment),
            at: model::Location::Node(NodeNumber::SINGLE),
            state: RecordingState::Delete,
        };
        let entry =
            Entry::State { copy, from: Some(RecordingState::Partial), why: "gathered elsewhere".to_owned() };
        let path = spool::layout::log_path(&across::directory_of(&key(5, EVE)));
        let bytes = spool::log::line(EVE, &entry);
        Disk::new(here).apply_all(vec![spool::FileOp::AppendLine { path, bytes }]).unwrap();
        assert_eq!(own().here.segments.into_values().collect::<Vec<_>>(), [2]);
        assert_eq!(numbers(&apart.read(here, &found).unwrap()), [(1, true), (2, false)]);
    }

    #[test]
    fn what_another_log_says_of_its_own_copies_counts_for_nothing_here() {
        let apart = Apart::make();
        let found = apart.found();
        let repository = Repository::new(apart.here.path());
        let mut both = Both::new(&repository);
        both.take_in(&found, &There(apart.there.path().to_owned()));
        let at = model::Location::Node(NodeNumber::new(2).unwrap());
        let state = |of, state| {
            let copy = model::Copy { of, at: at.clone(), state };
            LogLine { at: EVE, entry: Entry::State { copy, from: None, why: String::new() } }
        };
        let first = CopyOf::Segment(found.segments[0].segment);
        for (of, as_what, counts) in [
            (first, RecordingState::Partial, true),
            (first, RecordingState::Delete, false),
            (CopyOf::Segment(SegmentId::from_u64(502)), RecordingState::Partial, false),
            (CopyOf::Call(CallId::from_u64(5)), RecordingState::Complete, false),
        ] {
            assert_eq!(both.counts(&state(of, as_what)), counts, "{of:?} {as_what}");
        }
    }
}

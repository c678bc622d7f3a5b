//! A call as its files tell it, in however many directories: calls that turned out to be one are read as one.
//!
//! The log of each names the directory of the other, so it does not matter which of them is asked for. What one log
//! says and the other lacks counts: a crash may have come between the two lines.

use std::collections::BTreeMap;
use std::io;

use model::join::CALLS_MAX;
use model::sides::concerned;
use model::{CallId, CopyOf, Correction, Join, RecordingState, SegmentRecord, WallTime, copy, total};
use spool::joining::{Half, is_concluded, renumber};
use spool::layout::twin_directory;
use spool::log::{Entry, LogDamage, LogLine, correction_for, joins_of, state_of};
use spool::twins::pair;

use crate::repository::{FoundManifest, Repository};

/// One directory of a call.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The call that it was recorded as.
    pub(crate) call: CallId,
    /// Where it is, relative to the repository.
    pub(crate) directory: String,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) damage: Vec<LogDamage>,
}

/// All directories of a call.
#[derive(Debug)]
pub(crate) struct WholeCall {
    /// The call that survives.
    pub(crate) call: CallId,
    /// Its own directory first, then those of the calls that it took in.
    pub(crate) pieces: Vec<Piece>,
    /// By what they are one.
    pub(crate) joins: Vec<Join>,
}

/// What is known of a segment's manifest beside what it says.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFile {
    /// The directory that it lies in.
    pub(crate) directory: String,
    pub(crate) name: String,
    pub(crate) sealed: bool,
    pub(crate) written: WallTime,
    /// The call and the number that it names, where it belongs to another now.
    pub(crate) recorded_as: Option<(CallId, u16)>,
}

/// The segments of a call.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// In order of their numbers in the call that survives. Of two copies of a segment the one that is heard.
    pub(crate) read: Vec<(SegmentRecord, ManifestFile)>,
    /// The other copies of segments of which there are two.
    pub(crate) twins: Vec<(SegmentRecord, ManifestFile)>,
    /// Manifests that cannot be read: where, and why.
    pub(crate) problems: Vec<String>,
}

/// Where directories of calls are read.
pub(crate) trait Directories {
    /// The log of a directory; without one it is empty.
    fn log(&self, directory: &str) -> io::Result<(Vec<LogLine>, Vec<LogDamage>)>;
    /// Its manifests.
    fn manifests(&self, directory: &str) -> io::Result<Vec<FoundManifest>>;
}

impl Directories for Repository {
    fn log(&self, directory: &str) -> io::Result<(Vec<LogLine>, Vec<LogDamage>)> {
        Self::log(self, directory)
    }

    fn manifests(&self, directory: &str) -> io::Result<Vec<FoundManifest>> {
        Self::manifests(self, directory)
    }
}

impl Segments {
    /// The other copy of a segment, if there are two.
    pub(crate) fn twin_of(&self, segment: &SegmentRecord) -> Option<&SegmentRecord> {
        self.twins.iter().map(|(record, _)| record).find(|twin| twin.id == segment.id)
    }
}

impl WholeCall {
    /// The call of this id, if it is here, or the one that it turned out to be.
    pub(crate) fn find(repository: &Repository, call: CallId) -> io::Result<Option<Self>> {
        repository.find(call)?.map(|directory| Self::read(repository, &directory)).transpose()
    }

    /// The call that this directory is of.
    pub(crate) fn read(repository: &impl Directories, directory: &str) -> io::Result<Self> {
        let mut names = directory.split('/');
        let (tenant, call) = (names.next().unwrap_or_default(), names.next_back().unwrap_or_default());
        let call: CallId = call.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut known = BTreeMap::from([(call, directory.to_owned())]);
        let (mut to_visit, mut joins) = (vec![(call, directory.to_owned())], Vec::<Join>::new());
        let mut pieces = BTreeMap::new();
        while let Some((call, directory)) = to_visit.pop() {
            let (lines, damage) = repository.log(&directory)?;
            for join in joins_of(&lines).into_iter().filter(|j| j.into.tenant.as_str() == tenant) {
                for half in [Half::Into, Half::From] {
                    let (other, place) = (half.key(join).call, half.directory(join));
                    if known.len() < CALLS_MAX && !known.contains_key(&other) {
                        known.insert(other, place.clone());
                        to_visit.push((other, place));
                    }
                }
                if !joins.iter().any(|j| j.is_of(join)) {
                    joins.push(join.clone());
                }
            }
            pieces.insert(call, Piece { call, directory, lines, damage });
        }
        let pieces: Vec<Piece> = pieces.into_values().collect();
        let call = pieces.first().map_or(call, |p| p.call);
        Ok(Self { call, pieces, joins })
    }

    /// The directory of the call that survives.
    pub(crate) fn directory(&self) -> &str {
        self.pieces.first().map_or("", |p| &p.directory)
    }

    /// What all the logs say, in order of time.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        let mut lines: Vec<LogLine> = self.pieces.iter().flat_map(|p| p.lines.iter().cloned()).collect();
        // Lines of one log stay as they stand.
        if self.pieces.len() > 1 {
            lines.sort_by_key(|line| line.at);
        }
        lines
    }

    /// The joins of which only one of the two logs tells that are here.
    pub(crate) fn half_noted(&self) -> impl Iterator<Item = &Join> {
        let says = |call: CallId, join: &Join| {
            let piece = self.pieces.iter().find(|p| p.call == call);
            piece.is_some_and(|p| joins_of(&p.lines).iter().any(|j| j.is_of(join)))
        };
        self.joins.iter().filter(move |join| !says(join.into.call, join) || !says(join.from.call, join))
    }

    /// Reads the manifests, with the sides of streams and parties as people corrected them. A directory that is not
    /// there has none.
    pub(crate) fn segments(&self, repository: &impl Directories) -> io::Result<Segments> {
        let (mut segments, lines) = (self.recorded(repository)?, self.lines());
        for (record, file) in segments.read.iter_mut().chain(&mut segments.twins) {
            if let Some(correction) = self.correction(&lines, record, file) {
                correction.to.correct(record);
            }
        }
        Ok(segments)
    }

    /// What people said last of who is who in a segment, by what all the logs say.
    pub(crate) fn correction<'a>(
        &self,
        lines: &'a [LogLine],
        segment: &SegmentRecord,
        file: &ManifestFile,
    ) -> Option<&'a Correction> {
        let recorded_as = file.recorded_as.map_or(self.call, |(call, _)| call);
        correction_for(lines, &concerned(recorded_as, segment.started, &self.joins))
    }

    /// The same with sides as they were recorded.
    pub(crate) fn recorded(&self, repository: &impl Directories) -> io::Result<Segments> {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for directory in self.pieces.iter().flat_map(|p| [p.directory.clone(), twin_directory(&p.directory)])
        {
            let found = match repository.manifests(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
                found => found?,
            };
            for found in found {
                match found.manifest {
                    Ok(manifest) => {
                        let record = manifest.record;
                        let is_own = record.call == self.call;
                        let file = ManifestFile {
                            directory: directory.clone(),
                            name: found.name,
                            sealed: manifest.sealed,
                            written: manifest.written,
                            recorded_as: (!is_own).then_some((record.call, record.number)),
                        };
                        all.push((record, file));
                    }
                    Err(why) => problems.push(format!("{directory}/{}: {why}", found.name)),
                }
            }
        }
        let (mut read, mut twins) = pair(all);
        renumber(self.call, &mut read, &self.joins);
        renumber(self.call, &mut twins, &self.joins);
        Ok(Segments { read, twins, problems })
    }

    /// The state that the log tells of last for the copy of a segment. It may speak of another copy than the one that is heard.
    pub(crate) fn state_of(lines: &[LogLine], segment: &SegmentRecord) -> RecordingState {
        match state_of(lines, CopyOf::Segment(segment.id)) {
            Some(said) if said.is_segment() && segment.ended.is_some() => {
                copy::ended_best([said, segment.state]).unwrap_or(said)
            }
            Some(said) => said,
            None => segment.state,
        }
    }

    /// How many segments it has, as far as is known.
    pub(crate) fn total(&self, segments: &[(SegmentRecord, ManifestFile)]) -> u16 {
        let said = total::of_call(segments.iter().map(|(s, _)| s.total));
        let Some(own) = self.pieces.first() else { return said };
        let corrected = own.lines.iter().rev().find_map(|line| match &line.entry {
            Entry::Total { total, .. } => Some(*total),
            _ => None,
        });
        let last = segments.iter().map(|(s, _)| s.number).max().unwrap_or(0);
        match corrected {
            // What the end of the call corrected does not count those that it took in afterwards.
            Some(total) if self.joins.is_empty() || is_concluded(&own.lines, self.call) => total.max(last),
            _ => said,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

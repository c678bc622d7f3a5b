//! Bringing a segment here: each file beside its place, from where an earlier try came to; its digest; and when all are
//! what was sealed, each gets its name, the manifest last.
//!
//! What the holder tells of its files is not believed: the manifest it sends must be sealed, of this segment, have the digest
//! that the holder told, and name just these files. A file that is here under its own name and is another one is never
//! touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Answer, CallId, Declined, HeldFile, Holding, NodeNumber, Place, Rank, Request, VolumeName};

use super::job::{Came, Need, Trouble};
use super::{Got, Local, RANGE_MAX, logs};
use crate::layout;
use crate::manifest::{self, Manifest};
use crate::op::FileOp;

/// A manifest, at most: what a reader of manifests reads.
const MANIFEST_MAX: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) from: NodeNumber,
    /// Where it lies there.
    source: Place,
    /// Where it goes here.
    pub(super) to: Place,
    directory: String,
    pub(super) copy: Holding,
    /// Octets to ask for at once.
    range: u32,
    /// What lies in the directory here, with lengths.
    listed: BTreeMap<String, u64>,
    at: At,
}

/// Where it is. Numbers are those of files in the holding.
#[derive(Debug)]
enum At {
    MakeDir,
    Look,
    /// The file is here under its own name: is it this one?
    InPlace(usize),
    /// What lies beside cannot be of use.
    Clear(usize),
    Create(usize),
    /// So much of the file is here. `resumed`: some of it from an earlier try, which a crash may have spoiled.
    Range {
        file: usize,
        offset: u64,
        resumed: bool,
    },
    Append {
        file: usize,
        offset: u64,
        resumed: bool,
        octets: Vec<u8>,
    },
    Digest {
        file: usize,
        resumed: bool,
    },
    /// What does the manifest say?
    Manifest {
        in_place: bool,
    },
    /// So many files have their names. What gets one next is durable first.
    Sync(usize),
    Settle(usize),
    Over,
}

impl Fetch {
    pub(super) fn new(
        from: NodeNumber,
        source: Place,
        (volume, rank): (VolumeName, Rank),
        copy: Holding,
        range: u32,
    ) -> Self {
        let to = Place { of: source.of.clone(), volume, rank };
        let directory = logs::directory(&to);
        let range = range.clamp(1, RANGE_MAX);
        Self { from, source, to, directory, copy, range, listed: BTreeMap::new(), at: At::MakeDir }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn file(&self, file: usize) -> Option<&HeldFile> {
        self.copy.files.get(file)
    }

    fn partial(&self, file: usize) -> String {
        self.path(&layout::partial_name(self.name(file)))
    }

    fn name(&self, file: usize) -> &str {
        self.file(file).map_or("", |f| f.name.as_str())
    }

    fn octets(&self, file: usize) -> u64 {
        self.file(file).map_or(0, |f| f.octets)
    }

    pub(super) fn need(&self) -> Need {
        let here = |local: Local| Need::Local(self.to.volume.clone(), local);
        let op = |op: FileOp| here(Local::File(op));
        match &self.at {
            At::MakeDir => op(FileOp::MakeDir { path: self.directory.clone() }),
            At::Look => here(Local::Look(self.directory.clone())),
            At::InPlace(file) => here(Local::Digest(self.path(self.name(*file)))),
            At::Clear(file) => op(FileOp::Remove { path: self.partial(*file) }),
            At::Create(file) => op(FileOp::Create { path: self.partial(*file), bytes: Vec::new() }),
            At::Range { file, offset, .. } => Need::Ask(self.from, self.range(*file, *offset)),
            At::Append { file, octets, .. } => {
                op(FileOp::Append { path: Arc::from(self.partial(*file)), bytes: octets.clone() })
            }
            At::Digest { file, .. } => here(Local::Digest(self.partial(*file))),
            At::Manifest { in_place } => {
                let path = if *in_place { self.path(self.name(0)) } else { self.partial(0) };
                let length = u32::try_from(self.octets(0)).unwrap_or(u32::MAX);
                here(Local::Read { path, offset: 0, length })
            }
            At::Sync(_) => here(Local::Sync),
            At::Settle(done) => {
                let file = self.in_order(*done);
                op(FileOp::Settle { from: self.partial(file), path: self.path(self.name(file)) })
            }
            At::Over => Need::Over,
        }
    }

    fn range(&self, file: usize, offset: u64) -> Request {
        let left = self.octets(file).saturating_sub(offset);
        let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.range);
        let file = self.name(file).to_owned();
        Request::Read { place: self.source.clone(), file, offset, length }
    }

    /// The manifest gets its name last: with it the segment is here.
    fn in_order(&self, done: usize) -> usize {
        if done + 1 < self.copy.files.len() { done + 1 } else { 0 }
    }

    pub(super) fn take(&mut self, came: Came) -> Result<(), Trouble> {
        let at = std::mem::replace(&mut self.at, At::Over);
        self.at = match (at, came) {
            (At::MakeDir, _) => At::Look,
            (At::Look, Came::Local(Got::Names(names))) => {
                self.listed = names.into_iter().collect();
                if self.octets(0) > MANIFEST_MAX {
                    return Err(self.spoiled("its manifest is longer than any"));
                }
                self.begin(0)?
            }
            (At::InPlace(file), Came::Local(Got::Digest(digest))) => {
                if !self.is(file, &digest.sha256, digest.bytes) {
                    return Err(self.clash(file));
                }
                if file == 0 { At::Manifest { in_place: true } } else { self.begin(file + 1)? }
            }
            (At::Clear(file), _) => At::Create(file),
            (At::Create(file), _) => self.at_range(file, 0, false),
            (At::Range { file, offset, resumed }, Came::Answer(answer)) => {
                let octets = self.arrived(file, offset, answer)?;
                At::Append { file, offset, resumed, octets }
            }
            (At::Append { file, offset, resumed, octets }, _) => {
                self.at_range(file, offset.saturating_add(octets.len() as u64), resumed)
            }
            (At::Digest { file, resumed }, Came::Local(Got::Digest(digest))) => {
                match (self.is(file, &digest.sha256, digest.bytes), resumed) {
                    (true, _) if file == 0 => At::Manifest { in_place: false },
                    (true, _) => self.begin(file + 1)?,
                    (false, true) => At::Clear(file),
                    (false, false) => return Err(self.spoiled("it does not send what was sealed")),
                }
            }
            (At::Manifest { .. }, Came::Local(Got::Octets { octets, .. })) => {
                self.check_manifest(&octets)?;
                self.begin(1)?
            }
            (At::Sync(done), _) => At::Settle(done),
            (At::Settle(done), _) => self.settle(done + 1, false),
            (_, _) => return Err(Trouble::odd(self.from)),
        };
        Ok(())
    }

    /// Where a file begins, by what lies here of it.
    fn begin(&self, file: usize) -> Result<At, Trouble> {
        let Some(wanted) = self.file(file) else { return Ok(self.settle(0, true)) };
        if let Some(octets) = self.listed.get(&wanted.name) {
            return if *octets == wanted.octets { Ok(At::InPlace(file)) } else { Err(self.clash(file)) };
        }
        Ok(match self.listed.get(&layout::partial_name(&wanted.name)) {
            None => At::Create(file),
            Some(octets) if *octets > wanted.octets => At::Clear(file),
            Some(octets) => self.at_range(file, *octets, true),
        })
    }

    fn at_range(&self, file: usize, offset: u64, resumed: bool) -> At {
        if offset < self.octets(file) {
            At::Range { file, offset, resumed }
        } else {
            At::Digest { file, resumed }
        }
    }

    /// The next file without its name; those that have theirs are passed over. Before the first of them all that was
    /// fetched is made durable, and before the manifest the names of all others: after a loss of power a name stands for a
    /// whole file, and a manifest for a whole segment.
    fn settle(&self, mut done: usize, is_first: bool) -> At {
        while done < self.copy.files.len() {
            let file = self.in_order(done);
            if !self.listed.contains_key(self.name(file)) {
                return if is_first || file == 0 { At::Sync(done) } else { At::Settle(done) };
            }
            done += 1;
        }
        At::Over
    }

    fn arrived(&self, file: usize, offset: u64, answer: Answer) -> Result<Vec<u8>, Trouble> {
        let node = self.from.get();
        let (octets, is_end) = match answer {
            Answer::Octets { octets, is_end } => (octets, is_end),
            Answer::Declined(Declined::Disk(why)) => {
                return Err(Trouble::Passing(format!("node {node} cannot read {}: {why}", self.name(file))));
            }
            Answer::Declined(Declined::Unknown) => {
                return Err(Trouble::Passing(format!("node {node} has no {} any more", self.name(file))));
            }
            Answer::Declined(_) => return Err(Trouble::Passing(format!("node {node} is busy"))),
            Answer::Held { .. } | Answer::Deleted => return Err(Trouble::odd(self.from)),
        };
        let came = octets.len() as u64;
        let (Request::Read { length, .. }, total) = (self.range(file, offset), self.octets(file)) else {
            return Err(Trouble::odd(self.from));
        };
        if came == 0 || (is_end && offset.saturating_add(came) < total) {
            return Err(self.spoiled("a file there is shorter than it was"));
        }
        if came > u64::from(length) { Err(Trouble::odd(self.from)) } else { Ok(octets) }
    }

    fn is(&self, file: usize, sha256: &str, octets: u64) -> bool {
        self.file(file).is_some_and(|f| f.sha256 == sha256 && f.octets == octets)
    }

    fn check_manifest(&self, octets: &[u8]) -> Result<(), Trouble> {
        manifest_of(&self.copy, self.source.of.call, octets).map(drop).map_err(|why| self.spoiled(&why))
    }

    fn spoiled(&self, why: &str) -> Trouble {
        let recording = (self.copy.segment, self.copy.node);
        Trouble::Spoiled(recording, self.from, format!("{}: {why}", self.path(self.name(0))))
    }

    fn clash(&self, file: usize) -> Trouble {
        let (path, node) = (self.path(self.name(file)), self.from.get());
        Trouble::Passing(format!("{path} is here already and is another than that of node {node}"))
    }
}

/// What a manifest says, if it is the one of this copy. It is the authority on which files there are and what they come to.
pub(super) fn manifest_of(copy: &Holding, call: CallId, octets: &[u8]) -> Result<Manifest, String> {
    let read = manifest::read(octets).map_err(|e| format!("its manifest: {e}"))?;
    let record = &read.record;
    let parts = record.parts.iter().map(|p| (&p.file, p.bytes, &p.sha256));
    let sidecar = record.sidecar.iter().map(|s| (&s.file, s.bytes, &s.sha256));
    let says: BTreeMap<&str, (u64, Option<&str>)> =
        parts.chain(sidecar).map(|(f, n, s)| (f.as_str(), (n, s.as_deref()))).collect();
    let is_named = |f: &HeldFile| {
        says.get(f.name.as_str()).is_some_and(|(n, s)| *n == f.octets && s.is_none_or(|s| s == f.sha256))
    };
    let rest = copy.files.get(1..).unwrap_or_default();
    let is_it = read.sealed && record.id == copy.segment && record.call == call;
    match is_it && says.len() == rest.len() && rest.iter().all(is_named) {
        true => Ok(read),
        false => Err("its manifest says something else than it does".to_owned()),
    }
}

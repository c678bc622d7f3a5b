//! Everything that `callspool ls` knows, and everything that lies on disk, of more calls than a screen shows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use model::SegmentRecord;

use crate::support::recording::{ListedCall, marked};
use crate::support::server::Server;
use crate::support::{PATIENCE, wait_until};

/// `callspool ls --json`, all of it.
pub fn all_calls(server: &Server) -> Vec<ListedCall> {
    try_all_calls(server).unwrap_or_else(|e| panic!("callspool ls: {e}"))
}

/// The same, or what it says instead.
pub fn try_all_calls(server: &Server) -> Result<Vec<ListedCall>, String> {
    let done = server.callspool(&["ls", "--json", "--limit", "100000"]);
    if done.code != Some(0) {
        return Err(done.err);
    }
    Ok(done.text().lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect())
}

/// Calls that were taken, those that are over too: a segment of each was opened. A directory on disk says only that
/// one is on its way, and what a test does to the disk then refuses it.
pub fn taken(server: &Server) -> usize {
    all_calls(server).iter().filter(|c| c.segments > 0).count()
}

/// Waits until so many calls in all have been taken.
pub fn wait_until_taken(server: &Server, count: usize) {
    wait_until("calls to be up", PATIENCE, || match taken(server) {
        n if n >= count => Ok(()),
        n => Err(format!("{n} of {count}")),
    });
}

/// Waits until every segment is closed: those that a kill left open too, whose repair goes on while calls are taken.
pub fn wait_for_repair(repository: &Path) {
    wait_until("no segment to be marked live", PATIENCE, || match marked(repository) {
        live if live.is_empty() => Ok(()),
        live => Err(format!("{live:?}")),
    });
}

/// Stops the server and starts it again: all that lies on disk is sound, and a catalog that is made anew from it
/// lists what the one before did.
pub fn expect_sound(mut server: Server) {
    let repository = server.state().join("repository");
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    server.restart();
    wait_for_repair(&repository);
    let done = server.callspool(&["verify", "--all"]);
    assert_eq!(done.code, Some(0), "{}{}", done.text(), done.err);
    let listed = |server: &Server| -> Result<BTreeSet<_>, String> {
        let calls = try_all_calls(server)?;
        Ok(calls.into_iter().map(|c| (c.id, c.state, c.segments, c.total, c.live)).collect())
    };
    let known = wait_until("every call to be concluded", PATIENCE, || match listed(&server)? {
        calls if calls.iter().all(|(_, state, .., live)| !live && state.starts_with("complete")) => Ok(calls),
        calls => Err(format!("{calls:?}")),
    });
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(server.state().join(name));
    }
    server.restart();
    wait_until("the catalog to be made anew", PATIENCE, || match listed(&server)? {
        calls if calls == known => Ok(()),
        calls => Err(format!("{calls:?} instead of {known:?}")),
    });
}

/// A segment as its manifest says.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The call's directory.
    pub directory: PathBuf,
    /// Whether the manifest is sealed.
    pub sealed: bool,
    /// What it says.
    pub record: SegmentRecord,
}

impl Segment {
    /// Whether it is of the dialog with this Call-ID header.
    pub fn is_of(&self, sip_call_id: &str) -> bool {
        self.record.data.sip_call_ids.iter().any(|id| id == sip_call_id)
    }
}

/// The directories of all calls.
pub fn directories(repository: &Path) -> BTreeSet<PathBuf> {
    let entries = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path());
    entries(&repository.join("default")).flat_map(|day| entries(&day).collect::<Vec<_>>()).collect()
}

/// The segments of a call, by their numbers; a manifest that cannot be read fails the test.
pub fn segments(directory: &Path) -> Vec<Segment> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path());
    let mut segments: Vec<Segment> = files
        .filter(|f| f.extension().is_some_and(|e| e == "json"))
        .map(|file| {
            let manifest = spool::manifest::read(&std::fs::read(&file).unwrap());
            let manifest = manifest.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            Segment { directory: directory.to_owned(), sealed: manifest.sealed, record: manifest.record }
        })
        .collect();
    segments.sort_by_key(|s| s.record.number);
    segments
}

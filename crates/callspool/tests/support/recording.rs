//! What was recorded, as an operator sees it (`ls`, `show`, `export`) and as it lies on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{SegmentId, SegmentRecord, StreamRecord};
use serde::Deserialize;
use serde_json::Value;
use spool::layout::{LIVE_DIR, MARKERS_PATH};

use super::audio::{self, Sound};
use super::server::Server;
use super::{PATIENCE, wait_until};

/// The segments that are marked as live on a volume: now, or as versions before marked them.
pub fn marked(repository: &Path) -> Vec<SegmentId> {
    let markers = std::fs::read(repository.join(MARKERS_PATH)).unwrap_or_default();
    let files = std::fs::read_dir(repository.join(LIVE_DIR)).into_iter().flatten().flatten();
    let files = files.filter_map(|file| file.file_name().to_str()?.parse().ok());
    spool::markers::read(&markers).into_iter().map(|(_, segment, _)| segment).chain(files).collect()
}

/// A call as `callspool ls --json` tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ListedCall {
    /// Its id.
    pub id: String,
    /// The name of its state.
    pub state: String,
    /// The number of its state.
    pub code: u8,
    /// Whether it is being recorded.
    pub live: bool,
    /// The segments that there are.
    pub segments: u64,
    /// The segments that there should be.
    pub total: u16,
    /// When it ended.
    pub ended: Option<String>,
    /// Who called.
    pub caller: Option<String>,
    /// Who was called.
    pub called: Option<String>,
}

/// A call on disk.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its directory.
    pub directory: PathBuf,
    /// Its segments by number, as their manifests say.
    pub segments: Vec<SegmentRecord>,
    /// Whether each of them is sealed.
    pub sealed: bool,
}

impl Recorded {
    /// Its id.
    pub fn id(&self) -> String {
        self.segments.first().expect("a segment").call.to_string()
    }

    /// The only segment.
    pub fn segment(&self) -> &SegmentRecord {
        assert_eq!(self.segments.len(), 1, "one segment");
        &self.segments[0]
    }

    /// The only stream of the only segment.
    pub fn stream(&self) -> &StreamRecord {
        let [stream] = &self.segment().streams[..] else {
            panic!("one stream: {:?}", self.segment().streams)
        };
        stream
    }

    /// The paths of all parts, in order.
    pub fn parts(&self) -> Vec<PathBuf> {
        self.segments.iter().flat_map(|s| &s.parts).map(|p| self.directory.join(&p.file)).collect()
    }
}

impl Server {
    /// `callspool ls --json`.
    pub fn calls(&self) -> Vec<ListedCall> {
        let done = self.callspool(&["ls", "--json"]).expect_ok("callspool ls");
        done.text().lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }

    /// `callspool show --json`.
    pub fn show(&self, call: &str) -> Value {
        let done = self.callspool(&["show", call, "--json"]).expect_ok("callspool show");
        serde_json::from_slice(&done.out).expect("JSON of show")
    }

    /// The call of the dialog with this Call-ID header, as it lies on disk, once there is one.
    pub fn recorded(&self, sip_call_id: &str) -> Option<Recorded> {
        self.recordings()
            .into_iter()
            .find(|r| r.segments.iter().any(|s| s.data.sip_call_ids.iter().any(|id| id == sip_call_id)))
    }

    /// Waits until the call of this dialog is listed in this state, and gives it as it then lies on disk.
    pub fn wait_for_state(&self, sip_call_id: &str, state: &str) -> Recorded {
        let what = format!("the call of {sip_call_id} to be {state}");
        let call = wait_until(&what, PATIENCE, || {
            let Some(recorded) = self.recorded(sip_call_id) else {
                return Err(format!("no such call; there are {:?}", self.calls()));
            };
            let id = recorded.id();
            let listed = self.calls().into_iter().find(|c| c.id == id);
            match listed {
                Some(c) if c.state == state && !c.live => Ok(c),
                other => Err(format!("{other:?}, on disk {:?}", states(&recorded))),
            }
        });
        let recorded = self.recorded(sip_call_id).expect("it was there");
        assert!(recorded.sealed, "{call:?} has ended and its manifests are not sealed");
        assert_eq!(recorded.segments.len() as u64, call.segments, "segments on disk and in the list");
        recorded
    }

    /// Exports a call; one sound per channel: agent left, external right.
    pub fn export(&self, call: &str, more: &[&str]) -> Vec<Sound> {
        let file =
            tempfile::Builder::new().suffix(".wav").tempfile_in(self.directory()).unwrap().into_temp_path();
        let path = file.to_str().unwrap().to_owned();
        let mut arguments = vec!["export", call, "--force", "-o", &path];
        arguments.extend_from_slice(more);
        self.callspool(&arguments).expect_ok("callspool export");
        audio::wav(&file)
    }

    /// Everything in the repository, of all tenants.
    pub fn recordings(&self) -> Vec<Recorded> {
        let tenants = entries(&self.state().join("repository"));
        let tenants = tenants.filter(|t| !t.ends_with(spool::layout::LIVE_DIR));
        tenants.flat_map(|t| entries(&t)).flat_map(|date| entries(&date)).filter_map(read).collect()
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn states(recorded: &Recorded) -> Vec<String> {
    recorded.segments.iter().map(|s| format!("{} {}/{}", s.state.name(), s.number, s.total)).collect()
}

/// None where nothing can be read (yet): a manifest is replaced as a whole, its directory is older than it.
fn read(directory: PathBuf) -> Option<Recorded> {
    let mut recorded = Recorded { directory, segments: Vec::new(), sealed: true };
    for file in std::fs::read_dir(&recorded.directory).ok()?.flatten() {
        if file.path().extension().is_some_and(|e| e == "json") {
            let manifest = spool::manifest::read(&std::fs::read(file.path()).ok()?);
            let manifest = manifest.unwrap_or_else(|e| panic!("{}: {e}", file.path().display()));
            recorded.sealed &= manifest.sealed;
            recorded.segments.push(manifest.record);
        }
    }
    recorded.segments.sort_by_key(|s| s.number);
    (!recorded.segments.is_empty()).then_some(recorded)
}

/// Fails unless two lengths differ by no more than so much.
pub fn expect_close(what: &str, is: f64, expected: f64, tolerance: Duration) {
    let off = (is - expected).abs();
    assert!(off <= tolerance.as_secs_f64(), "{what}: {is:.3} s, expected {expected:.3} s ± {tolerance:?}");
}

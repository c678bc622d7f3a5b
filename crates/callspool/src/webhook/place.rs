//! How far a webhook has come in the outbox, and the file that remembers it.
//!
//! ```text
//! <data_dir>/webhooks/<name>.json
//! {"format":"callspool-webhook","version":1,"after":"0cmx8vc8r0000","own":"0cmx8vc8r0000","ahead":["0cmx8vd000000"]}
//! ```
//!
//! The outbox is read behind `after`. Where several nodes share it, that may be an event of another node, and the order is
//! that of the outbox, not of ids; of this node's own events, which alone are told, those up to `own` are done with.
//! Those in `ahead` come after it and are done with too: they were alarms, told from memory while the catalog was away.
//! The file is written beside and renamed. Without it, or when it cannot be read, a webhook begins with what happens from
//! then on.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use faults::{Operation, before};
use model::EventId;
use serde::{Deserialize, Serialize};

const DIRECTORY: &str = "webhooks";
const FORMAT: &str = "callspool-webhook";
const VERSION: u32 = 1;
/// 128 KiB: four times what the longest has.
const FILE_MAX: u64 = 128 << 10;
/// Alarms told ahead that are remembered; beyond it the oldest is told once more when the catalog is back.
const AHEAD_MAX: usize = 2_048;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    after: EventId,
    own: EventId,
    ahead: BTreeSet<EventId>,
}

impl Place {
    /// With nothing to tell up to here.
    pub(super) const fn begin(after: EventId) -> Self {
        Self { after, own: after, ahead: BTreeSet::new() }
    }

    /// The outbox is read behind this event.
    pub(super) const fn after(&self) -> EventId {
        self.after
    }

    /// The newest event of this node that is done with.
    pub(super) const fn own(&self) -> EventId {
        self.own
    }

    /// Whether an event that is in memory need not be told any more.
    pub(super) fn is_done(&self, event: EventId) -> bool {
        event <= self.own || self.was_told_ahead(event)
    }

    /// Whether an event was told before the outbox came to it.
    pub(super) fn was_told_ahead(&self, event: EventId) -> bool {
        self.ahead.contains(&event)
    }

    /// All of the outbox up to an event of this node is done with.
    pub(super) fn pass(&mut self, event: EventId) {
        self.after = event;
        self.own = self.own.max(event);
        while self.ahead.first().is_some_and(|first| *first <= self.own) {
            self.ahead.pop_first();
        }
    }

    /// All of the outbox up to an event of another node is done with.
    pub(super) const fn pass_other(&mut self, event: EventId) {
        self.after = event;
    }

    /// An event was told before the outbox came to it.
    pub(super) fn told_ahead(&mut self, event: EventId) {
        if event > self.own {
            self.ahead.insert(event);
        }
        while self.ahead.len() > AHEAD_MAX {
            self.ahead.pop_first();
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: String,
    version: u32,
    after: EventId,
    /// None: as far as `after`, which was of this node always.
    #[serde(default)]
    own: Option<EventId>,
    #[serde(default)]
    ahead: BTreeSet<EventId>,
}

/// The file of one webhook.
#[derive(Clone, Debug)]
pub(super) struct PlaceFile {
    path: PathBuf,
    /// How far the last one had come that was written. Who writes holds it: a write that hung and one of a webhook that
    /// was configured anew meanwhile neither mix nor undo each other.
    written: Arc<Mutex<Option<EventId>>>,
}

impl PlaceFile {
    pub(super) fn new(data_dir: &Path, name: &str) -> Self {
        let path = data_dir.join(DIRECTORY).join(format!("{name}.json"));
        Self { path, written: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; none when there is no file.
    pub(super) fn read(&self) -> io::Result<Option<Place>> {
        before(Operation::WebhookPlace, &self.path)?;
        let file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text)?;
        let stored: Stored = serde_json::from_str(&text).map_err(io::Error::other)?;
        if stored.format != FORMAT || stored.version != VERSION {
            return Err(io::Error::other(format!("it is {} of version {}", stored.format, stored.version)));
        }
        let mut place = Place::begin(stored.own.unwrap_or(stored.after));
        place.after = stored.after;
        stored.ahead.into_iter().for_each(|event| place.told_ahead(event));
        Ok(Some(place))
    }

    /// Remembers a place; one that is behind the last is left alone.
    pub(super) fn write(&self, place: &Place) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.is_some_and(|written| written > place.own) {
            return Ok(());
        }
        self.replace(place)?;
        *written = Some(place.own);
        Ok(())
    }

    fn replace(&self, place: &Place) -> io::Result<()> {
        let share = before(Operation::WebhookPlaceWrite, &self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let stored = Stored {
            format: FORMAT.to_owned(),
            version: VERSION,
            after: place.after,
            own: Some(place.own),
            ahead: place.ahead.clone(),
        };
        let text = serde_json::to_string(&stored).map_err(io::Error::other)?;
        let beside = self.path.with_extension("json.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        share.write(format!("{text}\n").as_bytes(), |octets| file.write_all(octets))?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        File::open(directory)?.sync_all()
    }

    /// Moves aside what cannot be read.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        before(Operation::WebhookPlaceWrite, &self.path)?;
        let aside = self.path.with_extension("json.unreadable");
        std::fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn id(n: u64) -> EventId {
        EventId::from_u64(n)
    }

    #[test]
    fn what_is_told_ahead_is_not_told_again_when_the_outbox_comes_to_it() {
        let mut place = Place::begin(id(10));
        place.told_ahead(id(12));
        place.told_ahead(id(14));
        place.told_ahead(id(9));
        assert!(place.is_done(id(9)) && place.is_done(id(12)) && !place.is_done(id(11)));
        place.pass(id(11));
        place.pass(id(12));
        assert_eq!(place, Place { after: id(12), own: id(12), ahead: BTreeSet::from([id(14)]) });
    }

    #[test]
    fn events_of_other_nodes_move_the_place_and_nothing_else() {
        let mut place = Place::begin(id(10));
        place.pass_other(id(50));
        place.told_ahead(id(12));
        assert!(place.is_done(id(12)) && !place.is_done(id(11)), "own events of lower ids come behind it");
        place.pass(id(11));
        assert_eq!((place.after(), place.own()), (id(11), id(11)));
        place.pass(id(5));
        assert_eq!((place.after(), place.own()), (id(5), id(11)), "one that was written late");
        assert!(place.was_told_ahead(id(12)));
        let dir = tempfile::tempdir().unwrap();
        let file = PlaceFile::new(dir.path(), "ops");
        file.write(&place).unwrap();
        assert_eq!(file.read().unwrap(), Some(place));
    }

    #[test]
    fn a_file_of_before_says_how_far_this_node_had_come() {
        let dir = tempfile::tempdir().unwrap();
        let file = PlaceFile::new(dir.path(), "ops");
        file.write(&Place::begin(id(7))).unwrap();
        let before = std::fs::read_to_string(file.path()).unwrap().replace(r#""own":"0000000000007","#, "");
        assert!(!before.contains("own"));
        std::fs::write(file.path(), before).unwrap();
        assert_eq!(file.read().unwrap(), Some(Place::begin(id(7))));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut place = Place::begin(id(0));
        (1..=AHEAD_MAX as u64 + 5).for_each(|n| place.told_ahead(id(n)));
        assert_eq!(place.ahead.len(), AHEAD_MAX);
        assert!(!place.is_done(id(5)) && place.is_done(id(6)));
        let dir = tempfile::tempdir().unwrap();
        let file = PlaceFile::new(dir.path(), "ops");
        file.write(&place).unwrap();
        assert_eq!(file.read().unwrap(), Some(place), "the longest is read again");
    }

    #[test]
    fn what_is_spoiled_is_told_of_and_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = PlaceFile::new(dir.path(), "ops");
        assert_eq!(file.read().unwrap(), None);
        file.write(&Place::begin(id(1))).unwrap();
        for spoiled in [
            "",
            "{}",
            r#"{"format":"callspool-webhook","version":2,"after":"0000000000001"}"#,
            r#"{"format":"callspool-webhook","version":1,"after":"x"}"#,
        ] {
            std::fs::write(file.path(), spoiled).unwrap();
            assert!(file.read().is_err(), "{spoiled}");
        }
        let aside = file.set_aside().unwrap();
        assert!(aside.exists() && file.read().unwrap().is_none());
    }

    #[test]
    fn a_write_that_comes_late_undoes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = PlaceFile::new(dir.path(), "ops");
        file.write(&Place::begin(id(7))).unwrap();
        file.clone().write(&Place::begin(id(6))).unwrap();
        assert_eq!(file.read().unwrap(), Some(Place::begin(id(7))));
    }

    proptest! {
        #[test]
        fn a_place_comes_back_from_its_file(after in any::<u64>(), ahead in proptest::collection::vec(any::<u64>(), 0..9)) {
            let dir = tempfile::tempdir().unwrap();
            let mut place = Place::begin(id(after));
            ahead.iter().for_each(|n| place.told_ahead(id(*n)));
            let file = PlaceFile::new(dir.path(), "ops");
            file.write(&place).unwrap();
            prop_assert_eq!(file.read().unwrap(), Some(place.clone()));
            prop_assert!(ahead.iter().all(|n| place.is_done(id(*n))));
        }
    }
}

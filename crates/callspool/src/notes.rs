//! Notes of people, in the calls' logs: the side of `api` that touches the disk.
//!
//! The log is the truth. A note is appended to it and synchronized before anybody is told that it was made; the
//! catalog is told afterwards. Of a call on several volumes the first that is there holds the notes. A disk that
//! hangs holds up the notes of its own calls, and of no others.

mod sides;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::port::{CallNotes, CallSides, Changed, NoteError, NotedBy, Notes};
use model::note::Subject;
use model::{CallId, ChangeKind, Note, Sides, TenantId, WallTime};
use spool::log::{Entry, LogLine, Noted, notes_of};
use spool::{FileOp, layout};

use crate::clock::now;
use crate::listen::HeardSides;
use crate::recorder::{Disk, Teller};
use crate::reindex::NOTES_MAX;
use crate::repository::Repository;
use crate::volumes::Volumes;
use crate::whole::WholeCall;

/// What a person can look over beside a call.
const TAGS_MAX: usize = 32;
/// As many as fit on a screen or two.
const VALUES_MAX: usize = 64;
/// Lines of a log beyond which nothing is noted in it: each note reads all of it. A tag given and taken 5,000 times
/// comes from a program that went wrong.
const LINES_MAX: usize = 10_000;
/// How long a note waits for another in the same log. A line is written within milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Calls that are noted in at once: a thread each, which may hang with its disk.
const WRITERS_MAX: usize = 32;

/// The logs of the calls that are here.
pub(crate) struct Notebook {
    volumes: Volumes,
    repository: Repository,
    teller: Teller,
    /// Told of corrections, for those who listen.
    heard: HeardSides,
    /// Calls that somebody writes a note of: what is in a log already is looked up before, and the catalog is told
    /// in the same order.
    writing: Mutex<BTreeSet<CallId>>,
    written: Condvar,
}

/// The right to write notes of a call, as long as this lives.
struct Turn<'a> {
    notebook: &'a Notebook,
    call: CallId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.notebook.writing().remove(&self.call);
        self.notebook.written.notify_all();
    }
}

impl Notebook {
    pub(crate) fn new(volumes: Volumes, teller: Teller, heard: HeardSides) -> Self {
        let repository = volumes.repository();
        Self { volumes, repository, teller, heard, writing: Mutex::default(), written: Condvar::new() }
    }

    fn writing(&self) -> MutexGuard<'_, BTreeSet<CallId>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one's turn, for a while.
    fn turn(&self, call: CallId) -> Result<Turn<'_>, NoteError> {
        let is_taken = |now: &mut BTreeSet<CallId>| now.contains(&call) || now.len() >= WRITERS_MAX;
        let waited = self.written.wait_timeout_while(self.writing(), PATIENCE, is_taken);
        let (mut writing, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_taken(&mut writing) {
            return Err(NoteError::Away("an earlier note waits for its disk".to_owned()));
        }
        writing.insert(call);
        Ok(Turn { notebook: self, call })
    }

    fn find(&self, tenant: &TenantId, call: CallId) -> Result<WholeCall, NoteError> {
        let found = WholeCall::find(&self.repository, call).map_err(|e| NoteError::Away(e.to_string()))?;
        let own = format!("{tenant}/");
        let away = || self.repository.away().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match found.filter(|w| w.directory().starts_with(&own)) {
            Some(whole) => Ok(whole),
            None if away().is_empty() => Err(NoteError::NoCall),
            None => {
                Err(NoteError::Away(format!("it is not on the volumes that are there; away: {}", away())))
            }
        }
    }

    /// Appends a line; to which file.
    fn append(&self, directory: &str, at: WallTime, entry: &Entry) -> Result<(Disk, String), NoteError> {
        let holds = |root: &Path| root.join(directory).is_dir();
        let Some(volume) = self.volumes.iter().find(|v| v.is_here() && holds(&v.root)) else {
            return Err(NoteError::Away("the volume that holds it has gone".to_owned()));
        };
        let path = layout::log_path(directory);
        let disk = Disk::new(&volume.root);
        let op = FileOp::AppendLine { path: path.clone(), bytes: spool::log::line(at, entry) };
        disk.apply_all(vec![op]).map(|()| (disk, path)).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem => NoteError::Away(e.to_string()),
            _ => NoteError::Failed(e.to_string()),
        })
    }
}

impl Notes for Notebook {
    fn read(&self, tenant: &TenantId, call: CallId) -> Result<CallNotes, NoteError> {
        Ok(present(notes_of(&self.find(tenant, call)?.lines()).into_values()))
    }

    fn note(
        &self,
        tenant: &TenantId,
        call: CallId,
        note: Note,
        by: &str,
    ) -> Result<(CallNotes, Changed), NoteError> {
        // What is noted of a call that turned out to be another is noted of that one.
        let call = self.find(tenant, call)?.call;
        let _turn = self.turn(call)?;
        let whole = self.find(tenant, call)?;
        let lines = whole.lines();
        let mut noted = notes_of(&lines);
        let subject = note.subject();
        if says_already(noted.get(&subject), &note) {
            return Ok((present(noted.into_values()), Changed::No));
        }
        if lines.len() >= LINES_MAX {
            return Err(NoteError::TooMany(format!("its log has {LINES_MAX} lines")));
        }
        let at = next_time(&lines);
        let entry = Entry::Noted { note: note.clone(), by: by.to_owned() };
        noted.insert(subject, Noted { at, note: note.clone(), by: by.to_owned() });
        let ever = noted.len();
        let notes = present(noted.into_values());
        check_limits(&notes, ever, &note)?;
        let (disk, log) = self.append(whole.directory(), at, &entry)?;
        let durable = disk.make_durable(&log);
        // It stands in the log now, and whoever tries again is told so: the catalog must say the same.
        self.teller.tell(tenant.clone(), ChangeKind::Noted { call, note, by: by.to_owned() });
        durable.map(|()| (notes, Changed::Yes)).map_err(|e| NoteError::Failed(e.to_string()))
    }

    fn sides(&self, tenant: &TenantId, call: CallId) -> Result<CallSides, NoteError> {
        self.sides_of(tenant, call)
    }

    fn correct(
        &self,
        tenant: &TenantId,
        call: CallId,
        sides: Sides,
        by: &str,
    ) -> Result<(CallSides, Changed), NoteError> {
        self.correct_sides(tenant, call, sides, by)
    }
}

/// A time behind that of all lines. Lines of several volumes are put in order by their times, also when the clock was
/// set back.
fn next_time(lines: &[LogLine]) -> WallTime {
    let newest = lines.iter().map(|line| line.at).max();
    newest.map_or(now().wall, |newest| now().wall.max(newest + Duration::from_micros(1)))
}

/// Whether a note would change nothing. What was never there need not be taken away.
fn says_already(newest: Option<&Noted>, note: &Note) -> bool {
    newest.map_or(note.takes_away(), |newest| newest.note == *note)
}

fn check_limits(notes: &CallNotes, ever: usize, note: &Note) -> Result<(), NoteError> {
    let over = match note.subject() {
        _ if note.takes_away() => None,
        Subject::Tag(_) if notes.tags.len() > TAGS_MAX => Some(format!("a call has at most {TAGS_MAX} tags")),
        Subject::Key(_) if notes.values.len() > VALUES_MAX => {
            Some(format!("a call has at most {VALUES_MAX} added values"))
        }
        _ if ever > NOTES_MAX => Some(format!("a call has had {NOTES_MAX} different tags and keys")),
        _ => None,
    };
    over.map_or(Ok(()), |limit| Err(NoteError::TooMany(limit)))
}

/// What is left of the newest notes when those are out that take something away.
fn present(newest: impl Iterator<Item = Noted>) -> CallNotes {
    let mut notes = CallNotes::default();
    for Noted { at, note, by } in newest {
        let noted = NotedBy { at, by };
        match note {
            Note::Tagged { tag } => drop(notes.tags.insert(tag, noted)),
            Note::Put { key, value } => drop(notes.values.insert(key, (value, noted))),
            Note::Untagged { .. } | Note::Removed { .. } => {}
        }
    }
    notes
}

/// For the interface.
pub(crate) fn notebook(volumes: &Volumes, teller: &Teller, heard: &HeardSides) -> Arc<dyn Notes> {
    Arc::new(Notebook::new(volumes.clone(), teller.clone(), heard.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: usize) -> Note {
        Note::Tagged { tag: format!("t{n}").parse().unwrap() }
    }

    fn noted(note: Note) -> Noted {
        Noted { at: WallTime(1), note, by: "test".to_owned() }
    }

    #[test]
    fn a_note_that_changes_nothing_is_known() {
        let untag = Note::Untagged { tag: "t1".parse().unwrap() };
        for (newest, note, already) in [
            (None, tag(1), false),
            (None, untag.clone(), true),
            (Some(tag(1)), tag(1), true),
            (Some(tag(1)), untag.clone(), false),
            (Some(untag.clone()), tag(1), false),
            (Some(untag.clone()), untag, true),
        ] {
            let newest = newest.map(noted);
            assert_eq!(says_already(newest.as_ref(), &note), already, "{newest:?} {note:?}");
        }
    }

    #[test]
    fn the_limit_of_tags_is_for_those_that_are_there() {
        let of = |n: usize| present((0..n).map(|n| noted(tag(n))));
        assert_eq!(check_limits(&of(TAGS_MAX), TAGS_MAX, &tag(0)), Ok(()));
        assert!(check_limits(&of(TAGS_MAX + 1), TAGS_MAX + 1, &tag(0)).is_err());
        assert!(check_limits(&of(1), NOTES_MAX + 1, &tag(0)).is_err());
        let untag = Note::Untagged { tag: "t1".parse().unwrap() };
        assert_eq!(check_limits(&of(TAGS_MAX + 1), NOTES_MAX + 1, &untag), Ok(()));
    }
}

//! What the files of a segment that failed did not take. It stays in memory until the segment is closed, and who closes
//! it tries once more: a disk that failed for a moment, or was full, costs nothing of what had come until then.
//!
//! While a segment of a volume has failed and is not closed, the volume's redo is not emptied: should the process die,
//! the next start finds there what is kept here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Failure;
use spool::FileOp;
use spool::redo::Record;

/// 32 MiB on a volume: half a second of 3,000 calls, which is what waits for their files when all of them fail at once.
const KEPT_MAX: usize = 32 << 20;

/// A minute of tries. What the files of a segment do not take for so long is given up, so that it is closed.
const TRIES_MAX: u32 = 12;

/// Segments of a volume that failed and are not closed.
#[derive(Debug, Default)]
pub(super) struct Unclosed {
    segments: AtomicUsize,
    /// What is kept of them.
    octets: AtomicUsize,
    alone: Mutex<()>,
}

impl Unclosed {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        self.segments.load(Ordering::SeqCst) > 0
    }

    /// Held by who closes one, and by who writes once more what the redo has: nothing is added to what is being cut.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment that storage failed.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) failure: Failure,
    pub(crate) kept: Kept,
}

/// What is kept of one. It is let go when that is closed.
#[derive(Debug)]
pub(crate) struct Kept {
    of: Arc<Unclosed>,
    /// Where what comes next belongs.
    ends: Vec<(Arc<str>, u64)>,
    appends: Vec<(Arc<str>, u64, Box<[u8]>)>,
    octets: usize,
    /// Something was too much: what comes later would lie behind a hole.
    is_cut: bool,
}

impl Kept {
    pub(super) fn new(of: &Arc<Unclosed>) -> Self {
        of.segments.fetch_add(1, Ordering::SeqCst);
        Self { of: Arc::clone(of), ends: Vec::new(), appends: Vec::new(), octets: 0, is_cut: false }
    }

    /// A file of the segment is so long.
    pub(super) fn file(&mut self, path: &Arc<str>, len: u64) {
        self.ends.push((Arc::clone(path), len));
    }

    /// What was to be done to the segment and will not be. Only what was to be appended to a file that was open counts:
    /// everything else is made up for by who closes it.
    pub(super) fn take(&mut self, ops: impl IntoIterator<Item = FileOp>) {
        for op in ops {
            if let FileOp::Append { path, bytes } = op {
                self.append(&path, bytes);
            }
        }
    }

    pub(super) fn append(&mut self, path: &Arc<str>, bytes: Vec<u8>) {
        let Some((_, end)) = self.ends.iter_mut().find(|(known, _)| known == path) else { return };
        if self.is_cut {
            return;
        }
        if self.of.octets.load(Ordering::Relaxed) + bytes.len() > KEPT_MAX {
            self.is_cut = true;
            tracing::error!("so much waits for failed files that what comes to {path} from now on is lost");
            return;
        }
        self.of.octets.fetch_add(bytes.len(), Ordering::Relaxed);
        self.octets += bytes.len();
        let at = *end;
        *end += bytes.len() as u64;
        // Without the room that a buffer has to grow.
        self.appends.push((Arc::clone(path), at, bytes.into_boxed_slice()));
    }

    /// As a redo has it.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.appends.iter().map(|(path, offset, bytes)| Record { path, offset: *offset, bytes })
    }

    /// Its files did not take it, nor at so many tries before; whether it is given up.
    pub(super) fn refused(&mut self, tries: u32) -> bool {
        let is_lost = tries + 1 >= TRIES_MAX;
        if is_lost {
            self.clear();
        }
        is_lost
    }

    /// The next start closes the segment: the redo stays for it.
    pub(super) fn leave(mut self) {
        self.clear();
        std::mem::forget(self);
    }

    /// All of it is in the segment's files, or will never be.
    pub(super) fn clear(&mut self) {
        self.appends.clear();
        self.of.octets.fetch_sub(std::mem::take(&mut self.octets), Ordering::Relaxed);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.clear();
        self.of.segments.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(path: &Arc<str>, octets: usize) -> FileOp {
        FileOp::Append { path: Arc::clone(path), bytes: vec![7; octets] }
    }

    fn kept(kept: &Kept) -> Vec<(&str, u64, usize)> {
        kept.records().map(|r| (r.path, r.offset, r.bytes.len())).collect()
    }

    #[test]
    fn what_is_kept_lies_behind_what_its_file_has_and_without_a_hole() {
        let of = Arc::new(Unclosed::default());
        let (part, other): (Arc<str>, Arc<str>) = ("p".into(), "q".into());
        let mut all = Kept::new(&of);
        all.file(&part, 100);
        all.append(&part, vec![7; 20]);
        all.take([append(&part, 5), append(&other, 9), FileOp::Remove { path: "r".to_owned() }]);
        assert_eq!(kept(&all), [("p", 100, 20), ("p", 120, 5)]);
        all.take([append(&part, KEPT_MAX), append(&part, 1)]);
        assert_eq!(kept(&all).len(), 2, "what is too much, and whatever comes behind it");
        assert!(of.any());
        drop(all);
        assert!(!of.any());
        assert_eq!(of.octets.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_all_of_a_volume_keep_is_limited_and_given_back() {
        let of = Arc::new(Unclosed::default());
        let part: Arc<str> = "p".into();
        let fill = || {
            let mut one = Kept::new(&of);
            one.file(&part, 0);
            one.take([append(&part, KEPT_MAX - 10)]);
            one
        };
        let (mut first, second) = (fill(), fill());
        assert_eq!((kept(&first).len(), kept(&second).len()), (1, 0));
        first.clear();
        assert_eq!(kept(&fill()).len(), 1);
        drop(second);
        assert!(of.any(), "the first one is not closed");
        first.leave();
        assert!(of.any(), "the next start closes it");
        assert_eq!(of.octets.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_never_taken_is_given_up_in_the_end() {
        let (of, part): (_, Arc<str>) = (Arc::new(Unclosed::default()), "p".into());
        let mut all = Kept::new(&of);
        all.file(&part, 0);
        all.append(&part, vec![7; 20]);
        assert!((0..TRIES_MAX - 1).all(|tries| !all.refused(tries)));
        assert_eq!(kept(&all), [("p", 0, 20)]);
        assert!(all.refused(TRIES_MAX - 1) && kept(&all).is_empty());
    }
}

//! Descriptors kept for a volume's own hands. A segment's files are opened and closed all the time (its manifest is
//! replaced, its log grows, the disk is synced), and must be when somebody else has taken every other descriptor.

use std::fs::File;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::descriptors::is_shortage;

/// One for each thread that works on the volume beside its openers: writer, sealer, and whoever watches it.
const KEPT: usize = 3;

/// The descriptors. The default keeps none.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    kept: Mutex<Vec<File>>,
    most: usize,
}

impl Reserve {
    /// With one for each of so many openers, and for the others.
    pub(super) fn fill(openers: usize) -> Self {
        let reserve = Self { kept: Mutex::default(), most: KEPT + openers };
        reserve.refill();
        reserve
    }

    /// Opens something; when there is no descriptor, with one of those that are kept. Fill it up again when that is
    /// closed.
    pub(super) fn open<T>(&self, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut opened = open();
        // Another thread may be faster than this one with what is given up here.
        while let Err(e) = &opened
            && is_shortage(e)
            && let Some(kept) = self.kept().pop()
        {
            drop(kept);
            opened = open();
        }
        opened
    }

    /// Takes back what was given up, as far as there is something.
    pub(super) fn refill(&self) {
        let mut kept = self.kept();
        while kept.len() < self.most
            && let Ok(file) = File::open("/dev/null")
        {
            kept.push(file);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<File>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn what_is_kept_is_given_up_one_by_one_and_taken_back() {
        let reserve = Reserve::fill(1);
        let all = KEPT + 1;
        let mut tries = 0;
        let opened = reserve.open(|| {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err(Errno::EMFILE.into()) }
        });
        assert_eq!((opened.unwrap(), reserve.kept().len()), (3, all - 2));
        reserve.refill();
        assert_eq!(reserve.kept().len(), all);
        let none = reserve.open(|| io::Result::<()>::Err(Errno::ENFILE.into()));
        assert!(none.is_err() && reserve.kept().is_empty());
        let other = Reserve::fill(1);
        assert!(other.open(|| io::Result::<()>::Err(Errno::EIO.into())).is_err());
        assert_eq!(other.kept().len(), all, "nothing is given up for other errors");
    }
}

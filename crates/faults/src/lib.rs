//! File operations that fail on order, so that tests can see what follows. Only in debug builds: a release build
//! has no such seam, whatever its environment says.
//!
//! `CALLSPOOL_DEBUG_FAULTS` names a file of rules, one a line, read anew at each operation:
//!
//! ```text
//! append~06bqx3m8r0400:fail@3     the third append to a path with this in it fails (EIO)
//! replace:full@1+                 from the first on, each has no room (ENOSPC)
//! sync~disk2:delay=5s             one sync of disk2 takes five seconds longer
//! append:torn                     the next append writes half of its octets, and fails
//! ```
//!
//! [`Operation`] lists the operations. A rule counts from when it was first seen. Tests within a process may [`give`]
//! rules as well; they name a path of their own, because others run beside them.
//!
//! Whoever is about to do something to a file asks [`before`]; this does nothing to any file itself.

mod operations;

use std::io;
use std::path::Path;

pub use operations::{Nature, Operation};

/// How much of a write is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// All of it.
    Whole,
    /// Half of it, and then it is to fail.
    Half,
}

/// EIO of errno(3), by its number: that is what is looked at, and what `io::ErrorKind` has no word for.
const EIO: i32 = 5;

/// What a torn write fails with.
#[must_use]
pub fn torn() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

impl Share {
    /// Writes what is to be written of the octets; a share of them ends in [`torn`].
    pub fn write(self, bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Whole => write(bytes),
            Self::Half => write(bytes.split_at(bytes.len() / 2).0).and(Err(torn())),
        }
    }
}

/// Whether an operation may go on, and with how much.
#[cfg(not(debug_assertions))]
pub fn before(_operation: Operation, _path: &Path) -> io::Result<Share> {
    Ok(Share::Whole)
}

/// Whether an operation may go on, and with how much. Takes as long as a rule says, and fails as it says.
#[cfg(debug_assertions)]
pub fn before(operation: Operation, path: &Path) -> io::Result<Share> {
    ordered::before(operation, &path.to_string_lossy())
}

/// Gives a rule from within the process. It stays until it is [withdrawn](withdraw).
#[cfg(debug_assertions)]
pub fn give(rule: &str) {
    ordered::given().push(rule.to_owned());
}

/// Takes a rule back.
#[cfg(debug_assertions)]
pub fn withdraw(rule: &str) {
    ordered::given().retain(|given| given != rule);
}

#[cfg(debug_assertions)]
mod ordered {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::PathBuf;
    use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
    use std::time::Duration;

    use super::{EIO, Operation, Share};

    /// ENOSPC and EROFS of errno(3).
    const ENOSPC: i32 = 28;
    const EROFS: i32 = 30;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    static GIVEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
    /// Rules seen so far, and how many operations matched each.
    static SEEN: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

    pub(super) fn given() -> MutexGuard<'static, Vec<String>> {
        GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A rule, read.
    struct Rule<'a> {
        operation: &'a str,
        within: &'a str,
        what: &'a str,
        from: u64,
        until: u64,
    }

    impl<'a> Rule<'a> {
        fn read(line: &'a str) -> Option<Self> {
            let (which, what) = line.trim().split_once(':')?;
            let (operation, within) = which.split_once('~').unwrap_or((which, ""));
            let (what, times) = what.split_once('@').unwrap_or((what, "1"));
            let from = times.trim_end_matches('+').parse().ok()?;
            let until = if times.ends_with('+') { u64::MAX } else { from };
            Some(Self { operation, within, what, from, until })
        }
    }

    pub(super) fn before(operation: Operation, path: &str) -> io::Result<Share> {
        let file = FILE.get_or_init(|| std::env::var_os("CALLSPOOL_DEBUG_FAULTS").map(PathBuf::from));
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        let given = given().clone();
        let mut share = Share::Whole;
        for line in text.iter().flat_map(|text| text.lines()).chain(given.iter().map(String::as_str)) {
            let Some(rule) = Rule::read(line) else { continue };
            if rule.operation != operation.name() || !path.contains(rule.within) {
                continue;
            }
            let count = {
                let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                let count = seen.entry(line.to_owned()).or_default();
                *count += 1;
                *count
            };
            if (rule.from..=rule.until).contains(&count) {
                tracing::info!("on order: {line} ({} {path})", operation.name());
                share = carry_out(rule.what)?;
            }
        }
        Ok(share)
    }

    fn carry_out(what: &str) -> io::Result<Share> {
        match what {
            "fail" => Err(io::Error::from_raw_os_error(EIO)),
            "full" => Err(io::Error::from_raw_os_error(ENOSPC)),
            "read-only" => Err(io::Error::from_raw_os_error(EROFS)),
            "torn" => Ok(Share::Half),
            _ => {
                let seconds = what.strip_prefix("delay=").and_then(|t| t.strip_suffix('s')?.parse().ok());
                std::thread::sleep(seconds.map_or(Duration::ZERO, Duration::from_secs_f64));
                Ok(Share::Whole)
            }
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_rule_hits_the_operation_the_path_and_the_count_that_it_names() {
        let rule = "append~of-this-test:fail@2";
        give(rule);
        let ask = |operation, path: &str| before(operation, Path::new(path)).map_err(|e| e.raw_os_error());
        assert_eq!(ask(Operation::Append, "/a/of-this-test"), Ok(Share::Whole));
        assert_eq!(ask(Operation::Patch, "/a/of-this-test"), Ok(Share::Whole));
        assert_eq!(ask(Operation::Append, "/a/of-another"), Ok(Share::Whole));
        assert_eq!(ask(Operation::Append, "/a/of-this-test"), Err(Some(EIO)));
        assert_eq!(ask(Operation::Append, "/a/of-this-test"), Ok(Share::Whole));
        withdraw(rule);
        let rule = "create~of-this-test:torn@1+";
        give(rule);
        assert_eq!(ask(Operation::Create, "/a/of-this-test"), Ok(Share::Half));
        withdraw(rule);
        assert_eq!(ask(Operation::Create, "/a/of-this-test"), Ok(Share::Whole));
    }

    #[test]
    fn half_a_write_is_half_of_it_and_fails() {
        let mut written = Vec::new();
        let torn = Share::Half.write(b"abcdef", |bytes| {
            written.extend_from_slice(bytes);
            Ok(())
        });
        assert_eq!((written.as_slice(), torn.is_err()), (&b"abc"[..], true));
    }

    #[test]
    fn no_two_operations_are_called_the_same() {
        let names: BTreeSet<_> = Operation::ALL.iter().map(|o| o.name()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
    }
}

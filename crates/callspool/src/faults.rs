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
//! Operations: `identity`, `list`, `read`, `make-dir`, `create`, `append`, `patch`, `replace`, `rename`,
//! `append-line`, `truncate`, `remove`, `sync`. A rule counts from when it was first seen.

use std::io;
use std::path::Path;

/// How much of a write is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    Whole,
    /// Half of it, and then it is to fail.
    #[cfg_attr(not(debug_assertions), expect(dead_code, reason = "only tests ask for it"))]
    Half,
}

/// What a torn write fails with.
pub(crate) fn torn() -> io::Error {
    io::Error::from(nix::errno::Errno::EIO)
}

/// Whether an operation may go on.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "in debug builds it fails on order")]
pub(crate) fn before(_operation: &str, _path: &Path) -> io::Result<Share> {
    Ok(Share::Whole)
}

/// Whether an operation may go on. Takes as long as a rule says.
#[cfg(debug_assertions)]
pub(crate) fn before(operation: &str, path: &Path) -> io::Result<Share> {
    ordered::before(operation, &path.to_string_lossy())
}

#[cfg(debug_assertions)]
mod ordered {
    use std::collections::BTreeMap;
    use std::io;
    use std::path::PathBuf;
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use nix::errno::Errno;

    use super::Share;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
    /// Rules seen so far, and how many operations matched each.
    static SEEN: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

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

    pub(super) fn before(operation: &str, path: &str) -> io::Result<Share> {
        let file = FILE.get_or_init(|| std::env::var_os("CALLSPOOL_DEBUG_FAULTS").map(PathBuf::from));
        let Some(text) = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()) else {
            return Ok(Share::Whole);
        };
        let mut share = Share::Whole;
        for line in text.lines() {
            let Some(rule) = Rule::read(line) else { continue };
            if rule.operation != operation || !path.contains(rule.within) {
                continue;
            }
            let count = {
                let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                let count = seen.entry(line.to_owned()).or_default();
                *count += 1;
                *count
            };
            if (rule.from..=rule.until).contains(&count) {
                tracing::info!("on order: {line} ({operation} {path})");
                share = carry_out(rule.what)?;
            }
        }
        Ok(share)
    }

    fn carry_out(what: &str) -> io::Result<Share> {
        match what {
            "fail" => Err(Errno::EIO.into()),
            "full" => Err(Errno::ENOSPC.into()),
            "read-only" => Err(Errno::EROFS.into()),
            "torn" => Ok(Share::Half),
            _ => {
                let seconds = what.strip_prefix("delay=").and_then(|t| t.strip_suffix('s')?.parse().ok());
                std::thread::sleep(seconds.map_or(Duration::ZERO, Duration::from_secs_f64));
                Ok(Share::Whole)
            }
        }
    }
}

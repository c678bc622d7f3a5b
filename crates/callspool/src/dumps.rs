//! Keys of media stay in this process: no core dump is written of it, and no other process of its user reads its memory.
//!
//! Two things, because each alone has a hole: the limit of core files says nothing to a kernel that pipes dumps to a
//! program (`core(5)`), and the flag that forbids dumps is set back by a change of user (`prctl(2)`,
//! `PR_SET_DUMPABLE`), so that it is set after that. Programs that are started begin anew with the flag, and inherit the
//! limit; they know no keys.

use nix::sys::resource::{Resource, setrlimit};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Forbids them. What cannot be forbidden is said: calls are recorded all the same.
pub(crate) fn forbid() {
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(std::io::Error::from);
    let flagged = set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(std::io::Error::from);
    for (what, done) in [("the limit of core files", limited), ("the flag that forbids core dumps", flagged)]
    {
        if let Err(e) = done {
            tracing::warn!("{what} cannot be set: {e}; a core dump would hold keys of media");
        }
    }
}

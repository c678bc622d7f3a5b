//! How many arenas the C library's allocator keeps: by itself eight for each core, and what is freed in one of them
//! is of no use to a thread that has another. A process with many threads, which come and go and which runs for
//! weeks, grows by that ([decision 17](../../../docs/decisions/0017-allocator.md)).

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the C library reads when a process starts, and only then (mallopt(3)).
const VARIABLE: &str = "MALLOC_ARENA_MAX";
/// Says the same and more, in newer versions.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Fewer would make threads wait for each other.
const FEWEST: usize = 2;

/// Makes this process begin again, with one arena for each core. It stays the same process, with the same id and
/// rights; there must be no other thread yet. Where an operator has set a number, nothing is done.
pub(crate) fn limit() {
    if env::var_os(VARIABLE).is_some() || env::var_os(TUNABLES).is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(FEWEST, usize::from);
    let Ok(program) = env::current_exe() else { return };
    let mut said = env::args_os();
    let name = said.next().unwrap_or_else(|| program.clone().into_os_string());
    // It comes back only when it failed: then memory grows more, and nothing else is different.
    let _ = Command::new(program).arg0(name).args(said).env(VARIABLE, cores.max(FEWEST).to_string()).exec();
}

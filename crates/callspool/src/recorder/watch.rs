//! The sync thread: makes durable what was written, and watches the volume that it is written to.
//!
//! One `syncfs` per interval covers media, manifests and logs together. Too little room, another volume in the
//! place of the one there was at the start (an unmounted disk), and a sync that fails are told once when they
//! begin; the first two refuse new segments while they last. Nothing here ends a segment: what is open goes on
//! as long as its files take what comes.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{AlarmKind, TenantId};

use super::media_thread::Shared;
use super::tell::Teller;

/// See the module.
pub(super) struct Watch {
    pub(super) root: PathBuf,
    pub(super) interval: Duration,
    pub(super) min_free: u64,
    pub(super) tenant: TenantId,
    pub(super) teller: Teller,
    pub(super) shared: Arc<Shared>,
}

/// What is wrong, and has been told.
#[derive(Default)]
struct Told {
    low: bool,
    moved: bool,
    failing: bool,
}

/// What a look at the volume found.
struct Look {
    device: u64,
    free: u64,
}

impl Watch {
    /// Runs until the recorder stops and nothing is live any more.
    pub(super) fn run(self) {
        let mut told = Told::default();
        let mut home = None;
        while !(self.shared.stopping.load(Ordering::Relaxed)
            && self.shared.segments.load(Ordering::Relaxed) == 0)
        {
            // The first look comes at once: who starts on a full disk refuses the first call already.
            let looked = self.look();
            self.judge(looked, &mut home, &mut told);
            std::thread::sleep(self.interval);
        }
        let _ = self.look();
    }

    /// Opened anew each time, so that it is the volume that files are made on now.
    fn look(&self) -> io::Result<Look> {
        let volume = File::open(&self.root)?;
        nix::unistd::syncfs(&volume)?;
        let device = volume.metadata()?.dev();
        let v = nix::sys::statvfs::fstatvfs(&volume)?;
        Ok(Look { device, free: v.blocks_available().saturating_mul(v.fragment_size()) })
    }

    fn judge(&self, looked: io::Result<Look>, home: &mut Option<u64>, told: &mut Told) {
        let look = match looked {
            Ok(look) => look,
            Err(e) => {
                self.tell(&mut told.failing, true, || {
                    format!(
                        "the repository cannot be reached or synced: {e}; what was recorded since is at risk"
                    )
                });
                return;
            }
        };
        self.tell(&mut told.failing, false, || "the repository is reached and synced again".to_owned());
        let moved = look.device != *home.get_or_insert(look.device);
        self.tell(&mut told.moved, moved, || match moved {
            true => "another volume is in the repository's place (is its disk unmounted?): new segments are refused"
                .to_owned(),
            false => "the repository's volume is back".to_owned(),
        });
        let low = look.free < self.min_free;
        self.tell(&mut told.low, low, || match low {
            true => {
                let (free, least) = (look.free >> 20, self.min_free >> 20);
                format!(
                    "the repository has too little space ({free} of {least} MiB): new segments are refused"
                )
            }
            false => "the repository has room again".to_owned(),
        });
        self.shared.low_space.store(low, Ordering::Relaxed);
        self.shared.moved.store(moved, Ordering::Relaxed);
    }

    /// An alarm when something begins to be wrong, a line in the log when it is over.
    fn tell(&self, was: &mut bool, is: bool, text: impl FnOnce() -> String) {
        match (std::mem::replace(was, is), is) {
            (false, true) => self.teller.alarm(&self.tenant, AlarmKind::Storage, None, None, text()),
            (true, false) => tracing::info!("{}", text()),
            _ => {}
        }
    }
}

//! The sync threads, one for each volume: make durable what was written, and watch the volume.
//!
//! One `syncfs` per interval covers media, manifests and logs together. A volume that is not in its place (its disk
//! is unmounted, another is there), that has too little room or takes no file, and a sync that fails are told
//! once when they begin; nothing is begun on such a volume. One that comes back is used again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{AlarmKind, TenantId};

use super::media_thread::Shared;
use super::tell::Teller;
use crate::faults::before;
use crate::volumes::identity::Memory;
use crate::volumes::{Hand, Presence, Volume};

/// Looks after which it is proven that the volume takes a file, if nothing gave reason to doubt it before.
const PROOF_EVERY: u32 = 10;
/// The file that proves it.
const PROOF_NAME: &str = ".callspool-proof";

/// See the module.
pub(super) struct Watch {
    pub(super) volume: Arc<Volume>,
    pub(super) memory: Memory,
    pub(super) data_dir: PathBuf,
    pub(super) interval: Duration,
    pub(super) tenant: TenantId,
    pub(super) teller: Teller,
    pub(super) shared: Arc<Shared>,
    /// Told when a volume that was away is there.
    pub(super) returned: tokio::sync::mpsc::UnboundedSender<Arc<Volume>>,
}

/// What is wrong, and has been told.
#[derive(Default)]
struct Told {
    low: bool,
    away: bool,
    unwritable: bool,
    unsynced: bool,
}

/// Octets that are free on a volume.
struct Room {
    free: u64,
}

impl Watch {
    /// Runs until the recorder stops and nothing is live any more.
    pub(super) fn run(self) {
        let mut told = Told::default();
        let mut looks: u32 = 0;
        while !(self.shared.stopping.load(Ordering::Relaxed)
            && self.shared.segments.load(Ordering::Relaxed) == 0)
        {
            // The first look comes at once: who starts on a full disk refuses the first call already.
            self.look(&mut told, looks.is_multiple_of(PROOF_EVERY));
            looks = looks.wrapping_add(1);
            std::thread::sleep(self.interval);
        }
        if self.volume.is_here() {
            let _ = self.sync();
        }
    }

    fn look(&self, told: &mut Told, prove: bool) {
        if !self.volume.at_work(Hand::Watch, || self.find(told)) {
            return;
        }
        if prove || self.volume.is_doubted() {
            let proof = self.volume.at_work(Hand::Watch, || self.prove());
            self.volume.proven(&proof);
            // Too little room is told below.
            let wrong = proof.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::StorageFull);
            self.tell(&mut told.unwritable, wrong, || match &proof {
                Err(e) => format!("cannot be written: {e}"),
                Ok(()) => "can be written again".to_owned(),
            });
        }
        // A sync of much may take its time; it does not say that the volume stands still.
        let synced = self.sync();
        self.tell(&mut told.unsynced, synced.is_err(), || match &synced {
            Err(e) => format!("cannot be synced: {e}; what was recorded since is at risk"),
            Ok(_) => "is synced again".to_owned(),
        });
        if let Ok(room) = synced {
            let low = self.volume.measured(room.free);
            self.tell(&mut told.low, low, || match low {
                true => format!(
                    "has too little space ({} of {} MiB): new segments are not begun there",
                    room.free >> 20,
                    self.volume.min_free >> 20
                ),
                false => "has room again".to_owned(),
            });
        }
    }

    /// Whether the volume is in its place.
    fn find(&self, told: &mut Told) -> bool {
        let was = self.volume.presence();
        let found = match was {
            Presence::Here => self.volume.is_still_here().map_err(|e| e.to_string()),
            Presence::Away(_) | Presence::Unknown => Ok(false),
        };
        // What is not the volume any more may be it again, or may be made anew.
        let found = match found {
            Ok(true) => Ok(()),
            Ok(false) => self.volume.arrive(&self.memory, &self.data_dir).map_err(|e| e.to_string()),
            Err(why) => Err(why),
        };
        let away = found.is_err();
        if let Err(why) = &found
            && was != Presence::Away(why.clone())
        {
            self.volume.depart(why.clone());
        }
        self.tell(&mut told.away, away, || match &found {
            Err(why) => format!("is not there: {why}; nothing is written in its place"),
            Ok(()) => "is there again".to_owned(),
        });
        if !away && was != Presence::Here {
            let _ = self.returned.send(Arc::clone(&self.volume));
        }
        !away
    }

    /// Writes a file and takes it away again.
    fn prove(&self) -> io::Result<()> {
        let path = self.volume.root.join(PROOF_NAME);
        before("create", &path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let written = file.write_all(b"can be written\n").and_then(|()| file.sync_data());
        let _ = std::fs::remove_file(&path);
        written
    }

    /// Opened anew each time, so that it is the volume that files are made on now.
    fn sync(&self) -> io::Result<Room> {
        let volume = File::open(&self.volume.root)?;
        before("sync", &self.volume.root)?;
        nix::unistd::syncfs(&volume)?;
        let v = nix::sys::statvfs::fstatvfs(&volume)?;
        let unit = v.fragment_size();
        Ok(Room { free: v.blocks_available().saturating_mul(unit) })
    }

    /// An alarm when something begins to be wrong, a line in the log when it is over.
    fn tell(&self, was: &mut bool, is: bool, text: impl FnOnce() -> String) {
        let text = || format!("volume {} {}", self.volume.name, text());
        match (std::mem::replace(was, is), is) {
            (false, true) => self.teller.alarm(&self.tenant, AlarmKind::Storage, None, None, text()),
            (true, false) => tracing::info!("{}", text()),
            _ => {}
        }
    }
}

//! The sync threads, one for each volume: make durable what was written, and watch the volume.
//!
//! One `syncfs` per interval covers media, manifests and logs together; the markers of what was sealed before it go
//! after it. A volume that is not in its place (its disk
//! is unmounted, another is there), that has too little room or takes no file, and a sync that fails are conditions,
//! raised and cleared; nothing is begun on such a volume. One that comes back is used again.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use faults::{Operation, before};
use model::alarm::{About, Seen, Trend};
use model::{Condition, Subject, TenantId};

use super::disk::Disk;
use super::media_thread::Shared;
use super::tell::Teller;
use crate::clock::mono;
use crate::descriptors::is_shortage;
use crate::volumes::identity::Memory;
use crate::volumes::{Hand, Presence, Volume, free_of};

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
    pub(super) disk: Disk,
    /// Told when a volume that was away is there.
    pub(super) returned: tokio::sync::mpsc::UnboundedSender<Arc<Volume>>,
}

impl Watch {
    /// Runs until the recorder stops and nothing is live any more.
    pub(super) fn run(self) {
        let mut trend = Trend::default();
        let mut looks: u32 = 0;
        while !(self.shared.stopping.load(Ordering::Relaxed)
            && self.shared.segments.load(Ordering::Relaxed) == 0)
        {
            // The first look comes at once: who starts on a full disk refuses the first call already.
            self.look(&mut trend, looks.is_multiple_of(PROOF_EVERY));
            looks = looks.wrapping_add(1);
            std::thread::sleep(self.interval);
        }
        if self.volume.is_here() {
            // What it cannot make durable has its markers, and the next start looks at it.
            let _ = self.disk.settle();
        }
    }

    fn look(&self, trend: &mut Trend, prove: bool) {
        if !self.volume.at_work(Hand::Watch, || self.find()) {
            return;
        }
        if prove || self.volume.is_doubted() {
            let proof = self.volume.at_work(Hand::Watch, || self.prove());
            self.volume.proven(&proof);
            // Too little room is told below.
            let wrong = proof.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::StorageFull);
            self.tell(Condition::Unwritable, wrong, || {
                let why = proof.as_ref().err().map(ToString::to_string).unwrap_or_default();
                format!("cannot be written: {why}: look after its disk")
            });
        }
        // A sync of much may take its time; it does not say that the volume stands still.
        let synced = self.disk.settle();
        self.tell(Condition::Unsynced, synced.is_err(), || {
            let why = synced.as_ref().err().map(ToString::to_string).unwrap_or_default();
            format!("{why}: look after its disk")
        });
        match self.volume.at_work(Hand::Watch, || free_of(&self.volume.root)) {
            Ok(free) => {
                let low = self.volume.measured(free);
                self.tell(Condition::DiskSpace, low, || {
                    let (free, least) = (free >> 20, self.volume.min_free >> 20);
                    format!("has too little space ({free} of {least} MiB): new segments are not begun there")
                });
                self.foresee(trend, free);
            }
            // What was known of it goes on to count.
            Err(e) => self.tell(Condition::DiskSpace, true, || {
                format!("does not say how much space it has: {e}; it is used as before: look after its disk")
            }),
        }
    }

    /// Whether the volume is in its place.
    fn find(&self) -> bool {
        let was = self.volume.presence();
        let found = match was {
            Presence::Here => match self.volume.is_still_here() {
                // Without a descriptor nobody can look. It is where it was, as far as anybody knows.
                Err(e) if is_shortage(&e) => return true,
                looked => looked.map_err(|e| e.to_string()),
            },
            Presence::Away(_) | Presence::Unknown => Ok(false),
        };
        let was_there = found == Ok(true);
        if !was_there {
            // Nothing that was open in the place of the volume is it any more, as far as anybody knows.
            self.disk.let_go();
        }
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
        self.tell(Condition::VolumeAway, away, || {
            let why = found.as_ref().err().cloned().unwrap_or_default();
            format!("is not there: {why}; nothing is written in its place: mount it again")
        });
        if !away {
            self.disk.is_found();
        }
        if !away && !was_there {
            let _ = self.returned.send(Arc::clone(&self.volume));
        }
        !away
    }

    /// Writes a file and takes it away again.
    fn prove(&self) -> io::Result<()> {
        let path = self.volume.root.join(PROOF_NAME);
        let share = before(Operation::Prove, &path)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let written =
            share.write(b"can be written\n", |bytes| file.write_all(bytes)).and_then(|()| file.sync_data());
        let _ = std::fs::remove_file(&path);
        written
    }

    /// Whether the disk will be full within the days that were asked for, if it goes on as it did.
    fn foresee(&self, trend: &mut Trend, free: u64) {
        // What may be used: below the least free space nothing is recorded.
        let (now, room) = (mono(), free.saturating_sub(self.volume.min_free));
        trend.sample(now, room);
        let days_left = self.shared.thresholds.get().disk_full_within;
        let seen = match trend.left(now, room) {
            _ if days_left.is_zero() => Seen::Good,
            Some(left) if left < days_left => Seen::Bad(format!(
                "volume {} will be full in {:.1} days if it goes on as it did: free some space, or add a volume",
                self.volume.name,
                left.as_secs_f64() / 86_400.0
            )),
            // A tenth more before it is over, so that it does not come and go with each call.
            Some(left) if left < days_left + days_left / 10 => Seen::Between,
            _ => Seen::Good,
        };
        self.observe(Condition::DiskDays, seen);
    }

    /// Something is wrong, or is not.
    fn tell(&self, condition: Condition, wrong: bool, text: impl FnOnce() -> String) {
        let seen = match wrong {
            true => Seen::Bad(format!("volume {} {}", self.volume.name, text())),
            false => Seen::Good,
        };
        self.observe(condition, seen);
    }

    fn observe(&self, condition: Condition, seen: Seen) {
        let about = About { tenant: self.tenant.clone(), ..About::default() };
        let subject = Subject::Volume(self.volume.name.to_string());
        self.teller.observe(condition, &subject, &about, seen);
    }
}

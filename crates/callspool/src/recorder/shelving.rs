//! What a writer does not write to its own file at once: it goes to the volume's [redo] with all that came
//! in the same tick, and waits in memory until it is worth a write.
//!
//! Where the redo cannot be written, has no place that is free, or the volume has little room, media go straight to
//! their files, which costs more and is right at any time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Incident, Mono, TenantId};
use spool::redo::{self, BATCH_MAX, Record, Room, Shelf};

use super::disk::{Appending, Disk, OpenFiles};
use super::kept::Kept;
use super::redo::{Found, Leaves};
use super::replay::write_again;
use super::tell::Teller;
use crate::pulse::Pulse;
use crate::volumes::{Hand, Volume};

/// 500 ms: a segment's file is written twice a second instead of ten times. That costs some 10 KiB of memory for each
/// two-way call; with a second it would be twice as much for a tenth of a microsecond a packet.
pub(super) const WAITS: Duration = Duration::from_millis(500);
/// 32 MiB: half a second of 3,000 calls. Of more, what waits longest is written earlier.
const WAITING_MAX: usize = 32 << 20;
/// A sixteenth of what may wait for the disk may wait here: no call is refused for it.
const WAITING_SHARE: usize = 16;
/// Until a redo that could not be written is tried again.
const RESTS: Duration = Duration::from_secs(10);
/// How often it is looked what may be emptied.
const LOOK: Duration = Duration::from_millis(250);
/// 64 KiB: with shorter leaves there would be more turning over than writing.
const LEAF_MIN: u64 = 64 << 10;

/// See the module.
pub(super) struct Shelving {
    volume: Arc<Volume>,
    pulse: Pulse,
    disk: Disk,
    teller: Teller,
    tenant: TenantId,
    shelf: Shelf,
    leaves: Leaves,
    waiting_max: usize,
    /// Not used before.
    rests_until: Mono,
    is_usable: bool,
    looked: Mono,
    /// When redo files that could not be used were asked for again.
    asked: Mono,
    /// When what a sync failed to make durable was last tried to be written once more.
    again: Option<Mono>,
    /// For what several flushes brought.
    together: Vec<u8>,
}

impl Shelving {
    pub(super) fn new(
        volume: Arc<Volume>,
        pulse: Pulse,
        disk: Disk,
        teller: Teller,
        tenant: TenantId,
        run: u64,
    ) -> Self {
        let leaves = Leaves::new(&volume.root, run, Arc::clone(&disk.reserve));
        let waiting_max = WAITING_MAX.min(volume.backlog_max / WAITING_SHARE);
        Self {
            volume,
            pulse,
            disk,
            teller,
            tenant,
            shelf: Shelf::new(run),
            leaves,
            waiting_max,
            rests_until: Mono::ZERO,
            is_usable: false,
            looked: Mono::ZERO,
            asked: Mono::ZERO,
            again: None,
            together: Vec::new(),
        }
    }

    /// Does something that may take as long as it likes.
    pub(super) fn at_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        self.pulse.waits();
        let done = self.volume.at_work(Hand::Writer, work);
        self.pulse.goes_on();
        done
    }

    /// Its thread goes on.
    pub(super) fn goes_on(&self) {
        self.pulse.goes_on();
    }

    /// Its thread waits for something to do.
    pub(super) fn rests(&self) {
        self.pulse.waits();
    }

    /// Looks whether the redo can be used for what comes now.
    pub(super) fn prepare(&mut self, now: Mono) {
        let room = self.volume.room_for_redo().filter(|room| *room >= LEAF_MIN && now >= self.rests_until);
        self.is_usable = room.is_some();
        self.shelf.limit(room.unwrap_or_default());
    }

    /// Puts what is to be appended to a file on the shelf; false: it is to be written at once.
    pub(super) fn put(&mut self, now: Mono, path: &str, bytes: &[u8], file: &mut Appending) -> bool {
        let record = Record { path, offset: file.end(), bytes };
        let piece = if self.has_room(now) { self.shelf.put(&record) } else { None };
        match piece {
            Some(piece) => {
                file.waiting.push(piece);
                file.waits += bytes.len();
                true
            }
            None => {
                self.volume.straight.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                false
            }
        }
    }

    fn has_room(&mut self, now: Mono) -> bool {
        while self.is_usable {
            let index = match self.shelf.room(now) {
                Room::There => return true,
                // What somebody else had in them may be gone by now.
                Room::Nowhere if now.since(self.asked) >= RESTS && self.shelf.ask_again() => {
                    self.asked = now;
                    continue;
                }
                Room::Nowhere => return false,
                Room::Wanted(index) => index,
            };
            match self.open(index) {
                Ok(Found::Nothing) => self.shelf.opened(index),
                Ok(Found::Own) => self.shelf.found(index),
                Ok(Found::Others) => self.shelf.lost(index),
                Err(e) => {
                    // Others may be usable.
                    self.shelf.lost(index);
                    self.fails(now, &e);
                }
            }
        }
        false
    }

    /// Nothing is made in a place that is not this volume.
    fn open(&mut self, index: usize) -> io::Result<Found> {
        let Self { volume, leaves, pulse, .. } = self;
        pulse.waits();
        let opened = volume.at_work(Hand::Writer, || match volume.is_in_its_place()? {
            true => leaves.open(index),
            false => Err(io::Error::other("the volume is not in its place")),
        });
        pulse.goes_on();
        opened
    }

    /// The redo does not work.
    fn fails(&mut self, now: Mono, error: &io::Error) {
        (self.is_usable, self.rests_until) = (false, now + RESTS);
        let text = format!(
            "the redo of volume {} cannot be written: {error}; media go straight to their files meanwhile, which costs \
             more and loses nothing: look after its disk",
            self.volume.name
        );
        self.teller.alarm(&self.tenant, Incident::Storage, None, None, text);
    }

    /// Whether so much was put there that it should be committed.
    pub(super) fn is_batch_full(&self) -> bool {
        self.shelf.unwritten_octets() >= BATCH_MAX
    }

    /// Writes to the redo what was put on the shelf; false: what waits must go to its own files now.
    pub(super) fn commit(&mut self, now: Mono) -> bool {
        let Some(write) = self.shelf.unwritten() else {
            self.shelf.written(true);
            return true;
        };
        let octets = write.bytes.len() as u64;
        self.disk.syncs.use_redo(true);
        let written = self.at_disk(|| self.leaves.write(&write));
        self.shelf.written(written.is_ok());
        match written {
            Ok(()) => _ = self.volume.redone.fetch_add(octets, Ordering::Relaxed),
            Err(e) => {
                self.fails(now, &e);
                return false;
            }
        }
        true
    }

    /// Writes what waits for a file to it.
    pub(super) fn write_out(&mut self, file: &mut Appending) -> io::Result<()> {
        if file.waiting.is_empty() {
            return Ok(());
        }
        let written = if let [piece] = file.waiting[..] {
            self.at_disk(|| file.append(self.shelf.bytes(piece)))
        } else {
            let mut together = std::mem::take(&mut self.together);
            together.clear();
            file.waiting.iter().for_each(|piece| together.extend_from_slice(self.shelf.bytes(*piece)));
            let written = self.at_disk(|| file.append(&together));
            self.together = together;
            written
        };
        if written.is_ok() {
            self.volume.written.fetch_add(file.waits as u64, Ordering::Relaxed);
            self.forget(file);
        }
        written
    }

    /// Nothing of a segment that waits will be written by its writer. It is kept for who closes the segment.
    pub(super) fn give_up(&mut self, files: &mut OpenFiles) -> Kept {
        let mut kept = Kept::new(&self.disk.unclosed);
        for file in &mut files.files {
            kept.file(&file.name, file.len);
            file.waiting.iter().for_each(|piece| kept.append(&file.name, self.shelf.bytes(*piece).to_vec()));
            self.forget(file);
        }
        kept
    }

    fn forget(&mut self, file: &mut Appending) {
        self.volume.backlog.fetch_sub(file.waits, Ordering::Relaxed);
        file.waits = 0;
        file.waiting.drain(..).for_each(|piece| self.shelf.done(piece));
    }

    /// Since when what is on the shelf would have to wait to be written now.
    pub(super) fn due(&self, now: Mono) -> Mono {
        let is_early = !self.is_usable || self.shelf.waiting() > self.waiting_max;
        if is_early {
            now
        } else {
            Mono(now.0.saturating_sub(u64::try_from(WAITS.as_nanos()).unwrap_or(u64::MAX)))
        }
    }

    /// Empties what is settled.
    pub(super) fn look(&mut self, now: Mono) {
        if !self.shelf.is_in_use() || now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        if !self.volume.is_here() {
            // Nothing of ours keeps its disk busy. What is in the redo is found again when it is back.
            if self.shelf.waiting() == 0 {
                self.leaves.close_all();
                self.shelf.forget();
                self.disk.syncs.use_redo(false);
            }
            return;
        }
        self.empty(now);
        if !self.shelf.is_in_use() {
            self.disk.syncs.use_redo(false);
        }
    }

    /// Whether what is in the redo must be [written once more](Self::write_again), when nothing waits.
    pub(super) fn must_write_again(&self, now: Mono) -> bool {
        let rests = self.again.is_some_and(|again| now.since(again) < RESTS);
        self.disk.syncs.are_doubted() && !rests && self.volume.is_here() && !self.disk.unclosed.any()
    }

    /// A sync failed: writes all that the redo has once more to the segments' own files. Nothing waits. While a segment
    /// that failed is not closed that must wait: its files may be cut.
    pub(super) fn write_again(&mut self, now: Mono) {
        let unclosed = Arc::clone(&self.disk.unclosed);
        let _alone = self.at_disk(|| unclosed.alone());
        if unclosed.any() {
            return;
        }
        self.again = Some(now);
        // One that fails meanwhile is of what is written here, too.
        let failed = self.disk.syncs.failed();
        self.shelf.close_all();
        let written = self.shelf.full().try_for_each(|index| {
            let bytes = self.at_disk(|| self.leaves.read(index))?;
            let mut records = redo::records(&bytes).map_err(io::Error::other)?;
            self.at_disk(|| records.try_for_each(|record| write_again(&self.disk, &record)))
        });
        match written {
            Ok(()) => {
                self.shelf.hold();
                self.disk.syncs.trust(failed);
            }
            Err(e) => tracing::error!(
                volume = %self.volume.name,
                "what a sync failed to make durable cannot be written once more: {e}; it stays in the redo, and is tried again"
            ),
        }
    }

    fn empty(&mut self, now: Mono) {
        if self.disk.unclosed.any() {
            // Should the process die, that is all there is of what their files did not take.
            self.shelf.hold();
            return;
        }
        let (begun, ended) = (self.disk.syncs.begun(), self.disk.syncs.ended());
        for index in self.shelf.settled(now, begun, ended) {
            let emptied = self.at_disk(|| self.leaves.empty(index));
            match emptied {
                Ok(()) if self.leaves.is_there(index) => self.shelf.emptied(index),
                // Somebody removed it, and others perhaps.
                Ok(()) => {
                    self.leaves.close(index);
                    self.shelf.emptied(index);
                    self.shelf.doubt();
                }
                Err(e) => {
                    self.leaves.close(index);
                    self.shelf.closed(index);
                    self.fails(now, &e);
                }
            }
        }
    }

    /// When to look next; none while the redo is empty.
    pub(super) fn next_look(&self) -> Option<Mono> {
        self.shelf.is_in_use().then(|| self.looked + LOOK)
    }

    /// Nothing waits and nothing more comes: makes all of it durable, and leaves an empty redo.
    pub(super) fn finish(&mut self, now: Mono) {
        self.shelf.close_all();
        if !self.shelf.is_in_use() || !self.volume.is_here() {
            return;
        }
        if self.disk.syncs.are_doubted() {
            self.write_again(now);
        }
        // Those that are full are done when so many have begun.
        self.empty(now);
        if let Err(e) = self.at_disk(|| self.disk.sync()) {
            tracing::warn!(volume = %self.volume.name, "the redo is not emptied, because a sync failed: {e}");
            return;
        }
        self.empty(now);
    }
}

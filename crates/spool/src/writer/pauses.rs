//! The pauses of a segment: in its manifest from the moment that they begin, and in the call's log.
//!
//! Here they are only noted. That nothing is kept meanwhile is the receivers' doing; a stream's gaps say where.

use model::{Now, OpenPause, Pause, PauseSource, WallTime};

use super::SegmentWriter;
use crate::log::Entry;

/// 256 pauses: one each minute of a shift's longest call. More are counted.
const LISTED_MAX: usize = 256;
/// 32 pauses whose beginning is in the manifest with the next flush. A client that pauses with each packet must not
/// make the disk write as many manifests: later ones wait up to a second.
const AT_ONCE_MAX: usize = 32;

/// 1,024 lines of a segment in its call's log about pauses and their ends; the rest is in manifest and gaps only.
const LOGGED_MAX: u32 = 1_024;

impl SegmentWriter {
    /// Whether a pause goes on.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// The segment begins in a pause.
    pub(super) fn begin_paused(&mut self, pause: OpenPause) {
        self.paused = true;
        self.record.pauses.push(Pause {
            from: pause.since,
            from_us: 0,
            by: pause.by,
            until: None,
            until_us: None,
            resumed_by: None,
        });
    }

    /// Nothing is kept from now on. During a pause: somebody else asked for it too, which the log says.
    pub fn pause(&mut self, now: Now, by: PauseSource) {
        if !self.is_live() {
            return;
        }
        self.log_ask(now, &Entry::Paused { segment: self.record.id, by: by.clone() });
        if std::mem::replace(&mut self.paused, true) {
            return;
        }
        self.changed = true;
        if self.record.pauses.len() < LISTED_MAX {
            self.manifest_now |= self.record.pauses.len() < AT_ONCE_MAX;
            let (from, from_us) = (now.wall, self.position_us(now.wall));
            self.record.pauses.push(Pause {
                from,
                from_us,
                by,
                until: None,
                until_us: None,
                resumed_by: None,
            });
        } else {
            self.record.pauses_unlisted += 1;
        }
    }

    /// Media are kept again.
    pub fn resume(&mut self, now: Now, by: PauseSource) {
        if !self.is_live() || !std::mem::replace(&mut self.paused, false) {
            return;
        }
        self.log_ask(now, &Entry::Resumed { segment: self.record.id, by: by.clone() });
        self.changed = true;
        let until_us = self.position_us(now.wall);
        if let Some(last) = self.record.pauses.last_mut().filter(|p| p.is_open()) {
            last.until = Some(now.wall.max(last.from));
            last.until_us = Some(until_us.max(last.from_us));
            last.resumed_by = Some(by);
        }
    }

    /// Who ordered the end that follows.
    pub fn stopped_by(&mut self, by: Option<String>) {
        if self.is_live() {
            self.record.stopped_by = by;
        }
    }

    fn log_ask(&mut self, now: Now, entry: &Entry) {
        if self.asks_logged < LOGGED_MAX {
            self.asks_logged += 1;
            let line = self.log_line(now, entry);
            self.ready.push(line);
        }
    }

    fn position_us(&self, at: WallTime) -> i64 {
        at.nanos_since(self.record.started).max(0) / 1_000
    }
}

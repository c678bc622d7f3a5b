//! Where in a row of samples keys are pressed.
//!
//! Samples are counted from the first; what is missing between packets does not count. Where it is, the ear begins
//! anew: an *edge*.

use super::tones::{BLOCK, Ear, HOP, Key};

/// 20 ms: the ear finds a tone's ends within 3 ms; the rest is for what rings before and after it.
const GUARD: u64 = 160;
/// 4 blocks, 25 ms: receivers take tones of 40 ms (Q.24), and no voice that was tried holds a key for more than 2.
const BLOCKS: u32 = 4;

/// Blocks in a row that hold the same key.
#[derive(Clone, Copy, Debug)]
struct Run {
    key: Key,
    from: u64,
    blocks: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Search {
    ear: Ear,
    /// Samples so far.
    index: u64,
    /// Where the last edge is.
    edge: u64,
    run: Option<Run>,
    /// What was found since it was asked last.
    found: Option<(u64, u64)>,
    /// The end of the last that was found.
    until: u64,
}

impl Search {
    /// The samples heard so far.
    pub(super) const fn index(&self) -> u64 {
        self.index
    }

    /// Takes the next sample.
    #[inline]
    pub(super) fn hear(&mut self, sample: i16) {
        self.index += 1;
        match self.ear.hear(sample) {
            Some(Some(key)) => self.holds(key),
            Some(None) => self.run = None,
            None => {}
        }
    }

    /// A block that ends here holds a key.
    fn holds(&mut self, key: Key) {
        let from = self.index - BLOCK as u64;
        let mut run = self.run.filter(|r| r.key == key).unwrap_or(Run { key, from, blocks: 0 });
        run.blocks += 1;
        self.run = Some(run);
        // After an edge there may be no more of it than this, and behind a tone it is more of it, or the next.
        let is_beside = run.from < self.edge + HOP as u64 || from <= self.until;
        if run.blocks >= BLOCKS || is_beside {
            self.find(run.from);
        }
    }

    /// What comes does not follow what came.
    pub(super) fn edge(&mut self) {
        if let Some(run) = self.run.take() {
            self.find(run.from);
        }
        self.ear.forget();
        self.edge = self.index;
    }

    /// A telephone event came between the samples.
    pub(super) fn event(&mut self) {
        self.edge();
        self.find(self.index);
    }

    /// A tone from there to here.
    fn find(&mut self, from: u64) {
        let (from, until) = (from.saturating_sub(GUARD), self.index + GUARD);
        self.until = until;
        let (least, most) = self.found.unwrap_or((from, until));
        self.found = Some((least.min(from), most.max(until)));
    }

    /// What was found since the last time.
    pub(super) const fn take_found(&mut self) -> Option<(u64, u64)> {
        self.found.take()
    }

    /// Whether samples that begin there belong to a tone that was found before.
    pub(super) const fn is_masked(&self, from: u64) -> bool {
        from < self.until
    }

    /// Whether a tone may have begun before there.
    pub(super) fn suspects(&self, until: u64) -> bool {
        self.run.is_some_and(|r| r.from < until + GUARD)
    }

    /// No tone that is found from now on reaches back before there.
    pub(super) fn settled(&self) -> u64 {
        let next_block = (self.index - self.ear.pending() as u64).saturating_sub((BLOCK - HOP) as u64);
        let earliest = next_block.max(self.edge);
        self.run.map_or(earliest, |r| r.from.min(earliest)).saturating_sub(GUARD)
    }
}

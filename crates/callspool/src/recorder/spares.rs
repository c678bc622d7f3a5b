//! Spare files of a volume, into which manifests are written: each is exchanged with the manifest that is in its place
//! and so becomes one, and that one, emptied, becomes a spare. No file is made or removed for a manifest that is
//! replaced, because file systems are slow to make files where many were removed a moment ago.
//!
//! ```text
//!            written, exchanged: here lies what was the manifest before
//!   empty ───────────────────────────────► resting ──► synchronized, 10 s over ──► emptied ──► empty
//! ```
//!
//! Two things hold a file back before it is emptied. What took its place must be durable: whatever a machine that loses
//! its power makes of the new manifest, the one before is still here. And whoever began to read it when it was in its place
//! must have ended: what is read is never another manifest than the one that was opened.
//!
//! What an earlier process left may be all that there is of a manifest, so nothing is emptied on a volume before somebody
//! has [looked](Spares::looked_through) what a crash did to those in their places.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Mono;

/// 10 s: who opens a manifest has read its few kilobytes by then.
const REST: Duration = Duration::from_secs(10);
/// 16,384 files: what 1,600 manifests replaced in a second need while they rest. Where more are, files are made and removed as
/// if there were no spares.
const SPARES_MAX: u32 = 16_384;

/// The spare files of a volume, by number. They are looked for when the first is wanted.
#[derive(Debug, Default)]
pub(super) struct Spares {
    pool: Mutex<Option<Pool>>,
    /// The file system exchanges no names.
    given_up: AtomicBool,
    /// Whatever is in the volume's place, it is not the volume.
    away: AtomicBool,
    /// What a crash damaged was put back.
    looked: AtomicBool,
}

impl Spares {
    /// A file that is empty or not there yet; none when there are too many. `left` says which there are, as an earlier process left them.
    pub(super) fn take(&self, now: Mono, left: impl FnOnce() -> Option<Vec<u32>>) -> Option<u32> {
        if self.given_up.load(Ordering::Relaxed) || self.away.load(Ordering::Relaxed) {
            return None;
        }
        let mut pool = self.pool();
        if pool.is_none() {
            *pool = Some(Pool::of(left()?, now));
        }
        pool.as_mut().and_then(Pool::take)
    }

    /// There is something in a file that nobody needs any more, but who reads it.
    pub(super) fn rest(&self, spare: u32, now: Mono) {
        if let Some(pool) = &mut *self.pool() {
            pool.resting.push_back((now, spare));
        }
    }

    /// A file is empty, or not there any more.
    pub(super) fn emptied(&self, spare: u32) {
        if let Some(pool) = &mut *self.pool() {
            pool.empty.push(spare);
        }
    }

    /// Files that have rested for long enough, and since before a sync that began then and has succeeded.
    pub(super) fn rested(&self, now: Mono, synced: Mono) -> Vec<u32> {
        if !self.looked.load(Ordering::SeqCst) {
            return Vec::new();
        }
        self.pool().as_mut().map(|pool| pool.rested(now, synced)).unwrap_or_default()
    }

    /// No file that an earlier process left is needed for what a crash damaged, as far as anybody can know.
    pub(super) fn looked_through(&self) {
        self.looked.store(true, Ordering::SeqCst);
    }

    /// Names cannot be exchanged here; whether that is news.
    pub(super) fn give_up(&self) -> bool {
        !self.given_up.swap(true, Ordering::Relaxed)
    }

    /// Somebody took the directory away: they are looked for anew.
    pub(super) fn forget(&self) {
        *self.pool() = None;
    }

    /// The volume is not there any more: there are none until it is back.
    pub(super) fn leave(&self) {
        self.looked.store(false, Ordering::SeqCst);
        self.away.store(true, Ordering::Relaxed);
        self.forget();
    }

    /// The volume is there. It may be on another file system than before.
    pub(super) fn come_back(&self) {
        if self.away.swap(false, Ordering::Relaxed) {
            self.given_up.store(false, Ordering::Relaxed);
        }
    }

    fn pool(&self) -> MutexGuard<'_, Option<Pool>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of the files.
#[derive(Debug)]
struct Pool {
    /// The last is the warmest.
    empty: Vec<u32>,
    /// Since when, the longest first.
    resting: VecDeque<(Mono, u32)>,
    /// Numbers that were given.
    named: u32,
}

impl Pool {
    /// Whatever is in those that an earlier process left, it rests.
    fn of(left: Vec<u32>, now: Mono) -> Self {
        let left: Vec<u32> = left.into_iter().filter(|n| *n < SPARES_MAX).collect();
        let named = left.iter().max().map_or(0, |n| n + 1);
        Self { empty: Vec::new(), named, resting: left.into_iter().map(|n| (now, n)).collect() }
    }

    fn take(&mut self) -> Option<u32> {
        self.empty.pop().or_else(|| {
            (self.named < SPARES_MAX).then(|| {
                self.named += 1;
                self.named - 1
            })
        })
    }

    fn rested(&mut self, now: Mono, synced: Mono) -> Vec<u32> {
        let has = |(since, _): &(Mono, u32)| *since < synced && now.since(*since) >= REST;
        let count = self.resting.iter().take_while(|resting| has(resting)).count();
        self.resting.drain(..count).map(|(_, spare)| spare).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};

    use super::*;

    const fn at(ms: u64) -> Mono {
        Mono(1 + ms * 1_000_000)
    }

    #[test]
    fn a_file_is_used_again_when_it_has_rested_and_its_successor_is_durable() {
        let spares = Spares::default();
        let take = |ms| spares.take(at(ms), || Some(vec![4]));
        assert_eq!((take(0), take(0)), (Some(5), Some(6)), "what was left rests");
        spares.rest(5, at(1_000));
        assert!(spares.rested(at(20_000), at(19_000)).is_empty(), "nobody has looked what a crash left");
        spares.looked_through();
        assert!(spares.rested(at(9_999), at(9_000)).is_empty());
        assert_eq!(spares.rested(at(10_000), at(9_000)), [4]);
        spares.emptied(4);
        assert!(spares.rested(at(11_000), at(1_000)).is_empty(), "no sync began since");
        assert_eq!(spares.rested(at(11_000), at(1_001)), [5]);
        spares.emptied(5);
        assert_eq!((take(1), take(1), take(1)), (Some(5), Some(4), Some(7)));
        spares.forget();
        assert_eq!(spares.take(at(0), || None), None, "they cannot be looked for");
        assert!(spares.give_up() && !spares.give_up());
        assert_eq!(take(1), None);
        spares.leave();
        assert_eq!(spares.take(at(0), || Some(vec![])), None, "the volume is away");
        spares.come_back();
        assert_eq!(take(1), Some(5), "it is another file system, perhaps");
        assert!(spares.rested(at(60_000), at(59_000)).is_empty(), "it may have lost its power meanwhile");
        spares.looked_through();
        assert_eq!(spares.rested(at(60_000), at(59_000)), [4]);
    }

    #[test]
    fn there_are_not_more_than_so_many() {
        let mut pool = Pool::of(vec![SPARES_MAX - 2, SPARES_MAX + 7], at(0));
        assert_eq!((pool.take(), pool.take()), (Some(SPARES_MAX - 1), None));
    }

    /// A file of the model: what is on the disk, and what was written since and may or may not be.
    #[derive(Clone, Debug, Default)]
    struct File {
        durable: String,
        written: Option<String>,
    }

    /// A file system that keeps the order of names and lengths, and nothing else, until it is synchronized: as ext4
    /// without help, XFS and others do. Names lead to files by number.
    #[derive(Clone, Debug, Default)]
    struct Disk {
        files: Vec<File>,
        names: BTreeMap<String, usize>,
    }

    impl Disk {
        fn file(&mut self, name: &str) -> &mut File {
            let next = self.files.len();
            let file = *self.names.entry(name.to_owned()).or_insert(next);
            if file == next {
                self.files.push(File::default());
            }
            &mut self.files[file]
        }

        /// Truncated when it is opened: that is in order with the names.
        fn write(&mut self, name: &str, text: &str) {
            *self.file(name) = File { durable: String::new(), written: Some(text.to_owned()) };
        }

        fn exchange(&mut self, a: &str, b: &str) {
            if let (Some(one), Some(other)) = (self.names.get(a).copied(), self.names.get(b).copied()) {
                self.names.insert(a.to_owned(), other);
                self.names.insert(b.to_owned(), one);
            }
        }

        fn sync(&mut self) {
            for file in &mut self.files {
                if let Some(written) = file.written.take() {
                    file.durable = written;
                }
            }
        }

        /// What is in a file after a loss of power, which kept or lost what was not synchronized.
        fn after_a_cut(&self, name: &str, kept: bool) -> Option<&str> {
            let file = &self.files[*self.names.get(name)?];
            Some(file.written.as_ref().filter(|_| kept).unwrap_or(&file.durable))
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The manifest of a call is replaced.
        Replace(u8),
        /// Time passes, and the volume is synchronized; or that fails.
        Settle { ms: u64, works: bool },
        /// The process dies and begins anew.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u8..3).prop_map(Step::Replace),
            4 => (500_u64..6_000, any::<bool>()).prop_map(|(ms, works)| Step::Settle { ms, works }),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// Wherever the power goes, a manifest is one of its own call or empty, never another call's; and while it is
        /// not durable, the one that was lies among the spares. Who opened a manifest up to ten seconds ago reads
        /// that of the same call.
        #[test]
        fn no_file_ever_shows_what_is_of_another_call(
            steps in proptest::collection::vec(step(), 1..60),
            kept in proptest::collection::vec(any::<bool>(), 64),
        ) {
            let (mut spares, mut disk, mut now) = (Spares::default(), Disk::default(), 0);
            spares.looked_through();
            let mut durable: BTreeMap<String, String> = BTreeMap::new();
            let mut opened: VecDeque<(u64, String, usize)> = VecDeque::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Replace(call) => {
                        let (name, text) = (format!("call{call}"), format!("call{call}: {n}"));
                        if !disk.names.contains_key(&name) {
                            disk.write(&name, &format!("call{call}: first"));
                        }
                        opened.push_back((now, name.clone(), disk.names[&name]));
                        let left = || {
                            let names = disk.names.keys();
                            Some(names.filter_map(|n| n.strip_prefix("spare")?.parse().ok()).collect())
                        };
                        let spare = spares.take(at(now), left).unwrap();
                        let beside = format!("spare{spare}");
                        disk.write(&beside, &text);
                        disk.exchange(&beside, &name);
                        spares.rest(spare, at(now));
                    }
                    Step::Settle { ms, works } => {
                        let began = now + 1;
                        now += ms;
                        if works {
                            disk.sync();
                            for (name, file) in &disk.names {
                                durable.insert(name.clone(), disk.files[*file].durable.clone());
                            }
                            for spare in spares.rested(at(now), at(began)) {
                                *disk.file(&format!("spare{spare}")) = File::default();
                                spares.emptied(spare);
                            }
                        }
                    }
                    Step::Restart => {
                        spares = Spares::default();
                        spares.looked_through();
                    }
                }
                while opened.front().is_some_and(|(since, ..)| now - since >= 10_000) {
                    opened.pop_front();
                }
                for (_, name, file) in &opened {
                    let file = &disk.files[*file];
                    let read = file.written.as_ref().unwrap_or(&file.durable);
                    prop_assert!(read.starts_with(name.as_str()), "{name} reads '{read}'");
                }
                let survives = |name: &str, n: usize| disk.after_a_cut(name, kept[n % kept.len()]).unwrap_or("");
                for (n, name) in disk.names.keys().filter(|n| n.starts_with("call")).enumerate() {
                    let found = survives(name, n);
                    prop_assert!(found.is_empty() || found.starts_with(name.as_str()), "{name} is '{found}'");
                    if found.is_empty() && let Some(before) = durable.get(name) {
                        let is_spare = |s: &&String| s.starts_with("spare");
                        let lies = disk.names.keys().filter(is_spare).any(|s| survives(s, 0) == before.as_str());
                        prop_assert!(lies, "'{before}' is nowhere");
                    }
                }
            }
        }
    }
}

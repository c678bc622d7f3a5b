//! Which segments are being written: a file of markers on each volume.
//!
//! ```text
//!  live/markers   <CRC-32> <segment id> <path of its manifest>, spaces, line feed: 256 octets
//!                 255 spaces and a line feed: the place is free
//!                 …
//! ```
//!
//! A segment that begins is one write to a free place, and one that is sealed one write that frees it: no file is made
//! or removed for it, and the file grows to what was ever live at once. It is read whole when a recorder starts.
//!
//! A marker lies within a sector, so a machine that loses its power leaves it as it was or as it should be. What is torn
//! all the same, or was never written, the CRC tells (in hexadecimal, of all between it and the spaces): nothing of
//! that segment is there but an empty directory, and the place is taken for free. One that was freed but comes back
//! leads to a segment that is whole, of which nothing is done.
//!
//! A disk that cannot read a block of the file keeps the places in that block, and no others: they are not used, and what
//! was marked there is found by its manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use model::SegmentId;

use crate::layout::ManifestPath;

/// Half a sector: a line has some 140 with the longest tenant, and 90 with a short one.
pub const MARKER_OCTETS: usize = 256;
/// 65,536 markers, 16 MiB: several times the segments that are live on a large machine, for those that are sealed and wait
/// for a sync, or were left by a crash and wait for their repair.
pub const MARKERS_MAX: u32 = 65_536;
/// The octets of a free place.
pub const FREE: Marker = {
    let mut marker = [b' '; MARKER_OCTETS];
    marker[MARKER_OCTETS - 1] = b'\n';
    marker
};

/// The octets of a marker.
pub type Marker = [u8; MARKER_OCTETS];

/// A page, 4 KiB: what is read together, and what one bad sector spoils of a file.
const BLOCK_OCTETS: usize = MARKER_OCTETS * PLACES_OF_BLOCK as usize;
const PLACES_OF_BLOCK: u32 = 16;
/// Blocks that are tried in vain. A disk may take seconds for each; behind so many it is not asked for the rest.
const UNREADABLE_MAX: usize = 16;
/// EIO and ENODATA of errno(3): what a disk says of a sector that it cannot read. `io::ErrorKind` has no word for them.
const UNREADABLE: [i32; 2] = [5, 61];

/// The marker of a segment; none when the path is too long for one.
#[must_use]
pub fn marker(segment: SegmentId, manifest_path: &str) -> Option<Marker> {
    let said = format!("{segment} {manifest_path}");
    let line = format!("{:08x} {said}", crc32fast::hash(said.as_bytes()));
    let mut marker = FREE;
    marker[..MARKER_OCTETS - 1].get_mut(..line.len())?.copy_from_slice(line.as_bytes());
    Some(marker)
}

/// Where a place begins in the file.
#[must_use]
pub fn offset(place: u32) -> u64 {
    u64::from(place) * MARKER_OCTETS as u64
}

/// The segments of a file of markers: the place of each, and where its manifest is.
#[must_use]
pub fn read(file: &[u8]) -> Vec<(u32, SegmentId, ManifestPath)> {
    (0..MARKERS_MAX)
        .zip(file.chunks(MARKER_OCTETS))
        .filter_map(|(n, marker)| read_marker(marker).map(|(segment, at)| (n, segment, at)))
        .collect()
}

/// A file of markers, as far as the disk can read it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readable {
    octets: Vec<u8>,
    /// Places that cannot be read.
    unreadable: BTreeSet<u32>,
}

impl Readable {
    /// Reads a file of so many octets, block by block: `read_at` fills a buffer from a place in the file.
    pub fn read(octets: u64, mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<()>) -> io::Result<Self> {
        let length = usize::try_from(octets.min(offset(MARKERS_MAX))).unwrap_or(usize::MAX);
        let (mut octets, mut bad) = (vec![0; length], Vec::new());
        for (place, block) in (0..).step_by(PLACES_OF_BLOCK as usize).zip(octets.chunks_mut(BLOCK_OCTETS)) {
            let is_asked = bad.len() < UNREADABLE_MAX;
            let read = if is_asked { read_at(block, offset(place)) } else { Err(unreadable()) };
            match read {
                Err(e) if e.raw_os_error().is_some_and(|number| UNREADABLE.contains(&number)) => {
                    block.fill(0);
                    bad.push(place);
                }
                read => read?,
            }
        }
        let unreadable = bad.into_iter().flat_map(|place| place..place + PLACES_OF_BLOCK).collect();
        Ok(Self { octets, unreadable })
    }

    /// The segments that are marked: the place of each, and where its manifest is.
    #[must_use]
    pub fn marked(&self) -> Vec<(u32, SegmentId, ManifestPath)> {
        read(&self.octets)
    }

    /// How many places cannot be read.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.unreadable.len()
    }
}

fn unreadable() -> io::Error {
    io::Error::from_raw_os_error(UNREADABLE[0])
}

fn read_marker(marker: &[u8]) -> Option<(SegmentId, ManifestPath)> {
    let line = std::str::from_utf8(marker.strip_suffix(b"\n")?).ok()?.trim_end_matches(' ');
    let (crc, said) = line.split_at_checked(8)?;
    let said = said.strip_prefix(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(said.as_bytes()) {
        return None;
    }
    let (segment, path) = said.split_once(' ')?;
    Some((segment.parse().ok()?, ManifestPath::parse(path).ok()?))
}

/// Who has which place.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    taken: BTreeMap<SegmentId, u32>,
    free: BTreeSet<u32>,
    /// How many places the file has.
    places: u32,
}

/// Why a segment gets no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoPlace {
    /// It has one.
    #[error("the segment is marked already")]
    Marked,
    /// There is none left.
    #[error("as many segments are marked as live as can be")]
    Full,
}

impl Table {
    /// As a file says. A place that cannot be read is nobody's, and is given to nobody.
    #[must_use]
    pub fn of(file: &Readable) -> Self {
        let there = u32::try_from(file.octets.len().div_ceil(MARKER_OCTETS)).unwrap_or(MARKERS_MAX);
        // A block that cannot be read cannot be appended to either.
        let places = file.unreadable.last().map_or(0, |last| last + 1).max(there).min(MARKERS_MAX);
        let free = (0..places).filter(|place| !file.unreadable.contains(place)).collect();
        let mut table = Self { places, free, taken: BTreeMap::new() };
        for (place, segment, _) in file.marked() {
            if let std::collections::btree_map::Entry::Vacant(vacant) = table.taken.entry(segment) {
                vacant.insert(place);
                table.free.remove(&place);
            }
        }
        table
    }

    /// Gives a segment a place, the first that is free.
    pub fn take(&mut self, segment: SegmentId) -> Result<u32, NoPlace> {
        if self.taken.contains_key(&segment) {
            return Err(NoPlace::Marked);
        }
        let place = match self.free.pop_first() {
            Some(place) => place,
            None if self.places < MARKERS_MAX => {
                self.places += 1;
                self.places - 1
            }
            None => return Err(NoPlace::Full),
        };
        self.taken.insert(segment, place);
        Ok(place)
    }

    /// The place of a segment.
    #[must_use]
    pub fn find(&self, segment: SegmentId) -> Option<u32> {
        self.taken.get(&segment).copied()
    }

    /// A place that is free is given to nobody: what is written there is not known yet.
    pub fn withhold(&mut self, place: u32) {
        self.free.remove(&place);
        if place >= self.places {
            self.free.extend(self.places..place);
            self.places = place.saturating_add(1).min(MARKERS_MAX);
        }
    }

    /// The marker of a segment was written over.
    pub fn release(&mut self, segment: SegmentId) {
        if let Some(place) = self.taken.remove(&segment) {
            self.free.insert(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{CallId, TenantId, WallTime};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::layout;

    fn id(n: u64) -> SegmentId {
        SegmentId::from_u64(n)
    }

    fn path(tenant: &str, n: u64) -> String {
        let tenant: TenantId = tenant.parse().unwrap();
        let directory = layout::call_directory(&tenant, WallTime(0), CallId::from_u64(n));
        format!("{directory}/{}", layout::manifest_name(&layout::stem(u16::MAX, id(n), &[])))
    }

    fn marked(file: &[u8]) -> Vec<(SegmentId, String)> {
        read(file).into_iter().map(|(_, segment, at)| (segment, at.path())).collect()
    }

    fn readable(file: &[u8]) -> Readable {
        read_with_bad(file, &[])
    }

    /// A file on a disk that cannot read some octets of it.
    fn read_with_bad(file: &[u8], bad: &[usize]) -> Readable {
        let read_at = |buffer: &mut [u8], at: u64| {
            let range = usize::try_from(at).unwrap()..;
            let range = range.start..range.start + buffer.len();
            if bad.iter().any(|octet| range.contains(octet)) {
                return Err(unreadable());
            }
            buffer.copy_from_slice(&file[range]);
            Ok(())
        };
        Readable::read(file.len() as u64, read_at).unwrap()
    }

    #[test]
    fn a_sector_that_cannot_be_read_costs_the_places_around_it_and_no_others() {
        let file: Vec<u8> = (0..50).flat_map(|n| marker(id(n), &path("default", n)).unwrap()).collect();
        let found = read_with_bad(&file, &[5_000]);
        let left: Vec<u32> = found.marked().into_iter().map(|(place, ..)| place).collect();
        assert_eq!(left, (0..16).chain(32..50).collect::<Vec<_>>());
        let mut table = Table::of(&found);
        table.release(id(40));
        assert_eq!([100, 101].map(|n| table.take(id(n))), [Ok(40), Ok(50)], "unknown places are not given");
        assert_eq!((table.find(id(20)), found.unreadable()), (None, 16));
        let gone: Vec<usize> = (0..40).map(|block| block * BLOCK_OCTETS).collect();
        let mut asked = 0;
        let dying = Readable::read(40 * BLOCK_OCTETS as u64, |_, at| {
            asked += 1;
            assert!(gone.contains(&usize::try_from(at).unwrap()));
            Err(unreadable())
        });
        assert_eq!((asked, dying.unwrap().unreadable()), (UNREADABLE_MAX, 640), "it is not asked for ever");
        let away = Readable::read(256, |_, _| Err(io::ErrorKind::NotConnected.into()));
        assert_eq!(away.unwrap_err().kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn a_place_that_is_written_to_is_withheld() {
        let mut table = Table::default();
        table.withhold(2);
        table.withhold(0);
        assert_eq!([1, 2, 3].map(|n| table.take(id(n))), [Ok(1), Ok(3), Ok(4)]);
        assert_eq!(table.find(id(2)), Some(3));
    }

    #[test]
    fn the_longest_names_fit_and_what_does_not_is_refused() {
        let taken = vec![format!("{:03}.json", u16::MAX)];
        let stem = layout::stem(u16::MAX, id(i64::MAX.unsigned_abs()), &taken);
        let directory =
            layout::call_directory(&"t".repeat(63).parse().unwrap(), WallTime(0), CallId::from_u64(1));
        let longest = format!("{directory}/{}", layout::manifest_name(&stem));
        let longest_marker = marker(id(i64::MAX.unsigned_abs()), &longest).unwrap();
        assert_eq!(marked(&longest_marker), [(id(i64::MAX.unsigned_abs()), longest)]);
        assert_eq!(marker(id(1), &"x".repeat(300)), None);
        assert!(read(&FREE).is_empty() && read(&[0; MARKER_OCTETS]).is_empty());
    }

    #[test]
    fn the_first_free_place_is_taken_and_nobody_has_two() {
        let mut table = Table::default();
        assert_eq!([1, 2, 3].map(|n| table.take(id(n))), [Ok(0), Ok(1), Ok(2)]);
        assert_eq!(table.take(id(2)), Err(NoPlace::Marked));
        table.release(id(2));
        table.release(id(1));
        assert_eq!([4, 5, 6].map(|n| table.take(id(n))), [Ok(0), Ok(1), Ok(3)]);
        assert_eq!((table.find(id(3)), table.find(id(1))), (Some(2), None));
        let mut full = Table { places: MARKERS_MAX, ..Table::default() };
        assert_eq!(full.take(id(1)), Err(NoPlace::Full));
        full.free.insert(7);
        assert_eq!(full.take(id(1)), Ok(7));
    }

    proptest! {
        /// Segments come and go; then the process dies inside a write, having written some octets of it. All that
        /// were marked before are found, and nothing else but perhaps the one that was being written.
        #[test]
        fn a_crash_inside_any_write_hides_no_other_segment(
            life in proptest::collection::vec((0_u64..20, any::<bool>()), 1..60),
            octets in 0..=MARKER_OCTETS,
        ) {
            let (mut table, mut file) = (Table::default(), Vec::new());
            let mut live = BTreeMap::new();
            let write = |file: &mut Vec<u8>, at: u32, bytes: &[u8]| {
                let at = usize::try_from(offset(at)).unwrap();
                file.resize(file.len().max(at + bytes.len()), 0);
                file[at..at + bytes.len()].copy_from_slice(bytes);
            };
            for (turn, (n, begins)) in life.iter().enumerate() {
                let cut = if turn + 1 == life.len() { octets } else { MARKER_OCTETS };
                let (segment, path) = (id(*n), path("default", *n));
                if *begins {
                    let Ok(at) = table.take(segment) else { continue };
                    write(&mut file, at, &marker(segment, &path).unwrap()[..cut]);
                    live.insert(segment, path);
                } else {
                    let Some(at) = table.find(segment) else { continue };
                    write(&mut file, at, &FREE[..cut]);
                    table.release(segment);
                    live.remove(&segment);
                }
                let mut found: BTreeMap<_, _> = marked(&file).into_iter().collect();
                if cut < MARKER_OCTETS {
                    found.remove(&segment);
                    live.remove(&segment);
                }
                prop_assert_eq!(&found, &live);
            }
            // Who reads it anew goes on with it.
            let mut again = Table::of(&readable(&file));
            prop_assert_eq!(again.taken.len(), marked(&file).len());
            let at = again.take(id(99)).unwrap();
            write(&mut file, at, &marker(id(99), &path("default", 99)).unwrap());
            prop_assert_eq!(marked(&file).len(), again.taken.len());
        }

        #[test]
        fn any_file_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let _ = Table::of(&readable(&bytes));
        }
    }
}

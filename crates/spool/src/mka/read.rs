//! Reading a part block by block, from any reader, whatever its bytes.
//!
//! Segment and Cluster are entered, whether their length is known or not; every other element is read or
//! skipped whole. Reading ends where the bytes end, or at the first that make no sense: [`Reader::damage`]
//! then says where and why. Elements that our writer never writes are skipped, so parts that other tools
//! copied are readable as long as they keep SimpleBlocks.

use std::io::{self, Read, Seek, SeekFrom};

use model::{Side, StreamId, WallTime};

use super::ebml::{Head, children, float, id, read_head, text, uint};
use super::write::{DATE_EPOCH_NS, side_of_name};
use crate::codec::TrackCodec;

/// 1 MiB: sixteen times the longest UDP payload, a fill block or an element of a head. What says that it is
/// longer is damage, and is not read into memory.
const ELEMENT_MAX: u64 = 1 << 20;
/// 64 KiB of tags and 127 tracks: heads of ours have some hundred octets of tags and at most 127 tracks.
const TRACKS_MAX: usize = 127;
/// 64 KiB: room for the longest payload is made at once; for more when it has come.
const USUAL_OCTETS: u64 = 64 << 10;

/// A track as its part describes it.
#[derive(Clone, PartialEq, Debug)]
pub struct Track {
    /// Its number, from 1.
    pub number: u8,
    /// The stream: the TrackUID.
    pub stream: StreamId,
    /// Whose voice its name says.
    pub side: Side,
    /// Its codec id, for what we cannot decode.
    pub codec_id: String,
    /// Its codec, when it is one that we write.
    pub codec: Option<TrackCodec>,
}

/// What stands before the first cluster.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PartHead {
    /// Nanoseconds in a tick; ours is 125,000.
    pub timestamp_scale: u64,
    /// Duration in ticks as it stands there, and where its octets are.
    pub duration: Option<(f64, u64)>,
    /// The wall clock at time zero.
    pub date: Option<WallTime>,
    /// The title.
    pub title: Option<String>,
    /// Its tracks.
    pub tracks: Vec<Track>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

impl PartHead {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The track with a number.
    #[must_use]
    pub fn track(&self, number: u8) -> Option<&Track> {
        self.tracks.iter().find(|t| t.number == number)
    }
}

/// A block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The track's number.
    pub track: u8,
    /// Where it begins, in ticks from the part's time zero.
    pub position: i64,
    /// Whether it fills a gap.
    pub discardable: bool,
    /// What it holds.
    pub payload: Vec<u8>,
}

/// Why reading ended before the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The last element is incomplete: the file was cut.
    #[error("cut inside an element that begins at octet {at}")]
    Torn {
        /// Where the element begins.
        at: u64,
    },
    /// What follows is no element, or one that cannot stand there.
    #[error("no element that belongs there at octet {at}")]
    Bad {
        /// Where.
        at: u64,
    },
}

/// Reads a part.
pub struct Reader<R> {
    input: R,
    at: u64,
    whole: u64,
    head: PartHead,
    pending: Option<Block>,
    cluster: Option<i64>,
    cluster_at: u64,
    begun: bool,
    damage: Option<Damage>,
}

impl<R: Read + Seek> Reader<R> {
    /// Goes on at a cluster. False where none begins there: then nothing can be read any more.
    pub fn go_to(&mut self, cluster_at: u64) -> io::Result<bool> {
        self.input.seek(SeekFrom::Start(cluster_at))?;
        (self.pending, self.damage) = (None, None);
        (self.at, self.whole) = (cluster_at, cluster_at);
        let is_cluster = matches!(self.step()?, Step::Other) && self.cluster_at == cluster_at;
        if !is_cluster {
            self.damage = Some(Damage::Bad { at: cluster_at });
        }
        Ok(is_cluster)
    }
}

/// What an element was.
enum Step {
    Block(Block),
    Other,
    End,
}

impl<R: Read> Reader<R> {
    /// Reads the head, up to the first block. Only a failure of the input is an error.
    pub fn new(input: R) -> io::Result<Self> {
        let head = PartHead { timestamp_scale: 1_000_000, ..PartHead::default() };
        let mut reader = Self {
            input,
            at: 0,
            whole: 0,
            head,
            pending: None,
            cluster: None,
            cluster_at: 0,
            begun: false,
            damage: None,
        };
        while reader.cluster.is_none() && reader.pending.is_none() {
            match reader.step()? {
                Step::Block(block) => reader.pending = Some(block),
                Step::Other => {}
                Step::End => break,
            }
        }
        Ok(reader)
    }

    /// What stands before the first cluster.
    pub const fn head(&self) -> &PartHead {
        &self.head
    }

    /// Whether the head was whole: tracks were read.
    pub const fn has_head(&self) -> bool {
        !self.head.tracks.is_empty()
    }

    /// The next block; none at the end or at damage.
    pub fn next_block(&mut self) -> io::Result<Option<Block>> {
        if let Some(block) = self.pending.take() {
            return Ok(Some(block));
        }
        loop {
            match self.step()? {
                Step::Block(block) => return Ok(Some(block)),
                Step::Other => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// Why reading ended early, if it did.
    pub const fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// How many octets from the beginning are whole elements, as far as was read.
    pub const fn whole_bytes(&self) -> u64 {
        self.whole
    }

    /// The timestamp of the cluster that was read last, in ticks.
    pub const fn cluster(&self) -> Option<i64> {
        self.cluster
    }

    /// The octet at which that cluster begins.
    pub const fn cluster_at(&self) -> u64 {
        self.cluster_at
    }

    fn step(&mut self) -> io::Result<Step> {
        if self.damage.is_some() {
            return Ok(Step::End);
        }
        let begin = self.at;
        let (element, length, octets) = match read_head(&mut self.input)? {
            Head::Element { id, length, octets } => (id, length, octets),
            Head::End => return Ok(Step::End),
            Head::Torn => return Ok(self.stop(Damage::Torn { at: begin })),
            Head::Bad => return Ok(self.stop(Damage::Bad { at: begin })),
        };
        self.at += octets;
        if !self.begun && element != id::EBML {
            return Ok(self.stop(Damage::Bad { at: begin }));
        }
        self.begun = true;
        let Some(length) = length.filter(|_| !matches!(element, id::SEGMENT | id::CLUSTER)) else {
            return Ok(self.enter(element, begin));
        };
        if length > ELEMENT_MAX {
            return Ok(self.stop(Damage::Bad { at: begin }));
        }
        let mut content = Vec::with_capacity(usize::try_from(length.min(USUAL_OCTETS)).unwrap_or(0));
        self.input.by_ref().take(length).read_to_end(&mut content)?;
        let content_at = self.at;
        self.at += content.len() as u64;
        if (content.len() as u64) < length {
            return Ok(self.stop(Damage::Torn { at: begin }));
        }
        let step = self.element(element, content, content_at);
        if let Some(step) = step {
            self.whole = self.at;
            return Ok(step);
        }
        Ok(self.stop(Damage::Bad { at: begin }))
    }

    fn stop(&mut self, damage: Damage) -> Step {
        self.damage = Some(damage);
        Step::End
    }

    fn enter(&mut self, element: u32, begin: u64) -> Step {
        match element {
            id::SEGMENT => {}
            // Blocks need a time: until the cluster's own is read, that of none.
            id::CLUSTER => (self.cluster, self.cluster_at) = (Some(0), begin),
            _ => return self.stop(Damage::Bad { at: begin }),
        }
        self.whole = self.at;
        Step::Other
    }

    /// None when the element cannot be what it says.
    fn element(&mut self, element: u32, content: Vec<u8>, at: u64) -> Option<Step> {
        match element {
            id::INFO => self.info(&content, at),
            id::TRACKS => {
                let entries = children(&content).filter(|(id, _)| *id == id::TRACK_ENTRY);
                self.head.tracks.extend(entries.filter_map(|(_, e)| track(e)).take(TRACKS_MAX));
            }
            id::TAGS => {
                let tags = children(&content).filter(|(id, _)| *id == id::TAG);
                self.head.tags.extend(tags.flat_map(|(_, tag)| children(tag)).filter_map(simple_tag));
            }
            id::TIMESTAMP => self.cluster = Some(i64::try_from(uint(&content)).ok()?),
            id::SIMPLE_BLOCK => return self.block(content).map(Step::Block),
            _ => {}
        }
        Some(Step::Other)
    }

    fn info(&mut self, content: &[u8], at: u64) {
        let head = &mut self.head;
        for (id, inside) in children(content) {
            match id {
                id::TIMESTAMP_SCALE => head.timestamp_scale = uint(inside),
                id::DURATION => {
                    // Where the value stands: behind all that was walked so far.
                    let before = inside.as_ptr().addr().saturating_sub(content.as_ptr().addr());
                    head.duration = float(inside).map(|d| (d, at + before as u64));
                }
                id::DATE_UTC => {
                    let ns = uint(inside).cast_signed();
                    head.date = Some(WallTime(ns.saturating_add(DATE_EPOCH_NS)));
                }
                id::TITLE => head.title = Some(text(inside)),
                _ => {}
            }
        }
    }

    fn block(&self, mut content: Vec<u8>) -> Option<Block> {
        let [track, high, low, flags] = *content.first_chunk()?;
        // Neither long track numbers nor lacing are ever written.
        if track & 0x80 == 0 || flags & 0x06 != 0 {
            return None;
        }
        let relative = i64::from(i16::from_be_bytes([high, low]));
        let position = self.cluster?.checked_add(relative)?;
        content.drain(..4);
        Some(Block { track: track & 0x7f, position, discardable: flags & 1 != 0, payload: content })
    }
}

fn track(entry: &[u8]) -> Option<Track> {
    let (mut number, mut uid, mut name, mut codec_id, mut private) =
        (0, 0, String::new(), String::new(), &[][..]);
    for (id, content) in children(entry) {
        match id {
            id::TRACK_NUMBER => number = uint(content),
            id::TRACK_UID => uid = uint(content),
            id::NAME => name = text(content),
            id::CODEC_ID => codec_id = text(content),
            id::CODEC_PRIVATE => private = content,
            _ => {}
        }
    }
    let number = u8::try_from(number).ok().filter(|n| (1..=127).contains(n))?;
    let codec = TrackCodec::of_track(&codec_id, private);
    Some(Track { number, stream: StreamId::from_u64(uid), side: side_of_name(&name), codec_id, codec })
}

fn simple_tag((id, content): (u32, &[u8])) -> Option<(String, String)> {
    let (mut name, mut value) = (None, None);
    for (id, inside) in children(content).filter(|_| id == id::SIMPLE_TAG) {
        match id {
            id::TAG_NAME => name = Some(text(inside)),
            id::TAG_STRING => value = Some(text(inside)),
            _ => {}
        }
    }
    Some((name?, value?))
}

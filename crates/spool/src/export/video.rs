//! Matroska and WebM: the pictures of a call beside what was said.
//!
//! Sound is made as for [Ogg Opus](super::opus), pictures are the senders' own, as they came. Both go by the time line of
//! the call. How long the file is shows only when it has been made, as with FLAC: it is read from its beginning on.

use std::collections::VecDeque;

use media::video::VideoCodec;
use model::SegmentRecord;

use super::opus::Opus;
use super::pcm::Pcm;
use super::tags::Tags;
use super::{ExportError, Tools};
use crate::assemble::{Note, Options, Pictures};
use crate::codec::TICKS_PER_SECOND;
use crate::mka::{Cluster, ExportHead, Flavor, Sound, export_head};

/// 1 s: players seek by clusters.
const CLUSTER_MS: i64 = 1_000;
/// 1 MiB: a cluster ends with the block that fills it, which is of 4 MiB at most.
const CLUSTER_OCTETS: usize = 1 << 20;
/// A packet of Opus is 20 ms.
const PACKET_MS: i64 = 20;
const TICKS_PER_MS: i64 = TICKS_PER_SECOND / 1_000;

/// A file with pictures.
pub(super) struct Video {
    segments: Vec<(SegmentRecord, String)>,
    flavor: Flavor,
    options: Options,
    tags: Tags,
    sound: Opus,
    end_ms: i64,
    course: Course,
}

/// How far it has been made.
struct Course {
    pictures: Pictures,
    tracks: usize,
    /// Where what was made last lies in the file.
    at: u64,
    octets: Vec<u8>,
    begun: bool,
    /// The time of the next cluster.
    time_ms: i64,
    /// The next packet of sound, those that wait, and the next piece of ten seconds.
    packet: i64,
    packets: VecDeque<Vec<u8>>,
    piece: u64,
}

impl Course {
    fn new(segments: &[(SegmentRecord, String)]) -> Self {
        Self {
            pictures: Pictures::new(segments.to_vec()),
            tracks: 0,
            at: 0,
            octets: Vec::new(),
            begun: false,
            time_ms: 0,
            packet: 0,
            packets: VecDeque::new(),
            piece: 0,
        }
    }
}

impl Video {
    pub(super) fn new(
        segments: &[(SegmentRecord, String)],
        flavor: Flavor,
        options: Options,
        bitrate: u16,
        tags: &Tags,
        samples: u64,
    ) -> Result<Self, ExportError> {
        let course = Course::new(segments);
        let codecs: Vec<VideoCodec> = course.pictures.codecs().collect();
        if codecs.is_empty() {
            return Err(ExportError::NoPictures);
        }
        let fits = |codec: &VideoCodec| matches!(codec, VideoCodec::Vp8 | VideoCodec::Vp9);
        if let Some(other) = codecs.iter().find(|c| flavor == Flavor::Webm && !fits(c)) {
            return Err(ExportError::NotInWebm(other.name()));
        }
        // Sound goes on as long as pictures do: some players stop with it.
        let per_tick = u64::from(options.rate.hz()) / TICKS_PER_SECOND.unsigned_abs();
        let samples = samples.max(course.pictures.end().max(0).unsigned_abs().saturating_mul(per_tick));
        let sound = Opus::new(options, bitrate, tags, samples)?;
        let end_ms = i64::try_from(sound.packets()).unwrap_or(i64::MAX).saturating_mul(PACKET_MS);
        let (segments, tags) = (segments.to_vec(), tags.clone());
        Ok(Self { segments, flavor, options, tags, sound, end_ms, course })
    }

    /// What is not seen, as far as was read.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.course.pictures.notes()
    }

    /// Octets from an offset on: `len` of them or fewer; none at the end of the file only.
    pub(super) fn read(
        &mut self,
        offset: u64,
        len: usize,
        pcm: &mut Pcm,
        tools: &Tools<'_>,
    ) -> Result<Vec<u8>, ExportError> {
        if offset < self.course.at {
            self.course = Course::new(&self.segments);
        }
        loop {
            let skip = usize::try_from(offset - self.course.at).unwrap_or(usize::MAX);
            if let Some(rest) = self.course.octets.get(skip..).filter(|r| !r.is_empty()) {
                return Ok(rest.iter().copied().take(len).collect());
            }
            let made = if !self.course.begun {
                self.begin(tools)
            } else if self.course.time_ms < self.end_ms {
                self.cluster(pcm, tools)?
            } else {
                return Ok(Vec::new());
            };
            self.course.at += self.course.octets.len() as u64;
            self.course.octets = made;
        }
    }

    fn begin(&mut self, tools: &Tools<'_>) -> Vec<u8> {
        let course = &mut self.course;
        course.begun = true;
        course.pictures.open(tools.files);
        course.tracks = course.pictures.shows().count();
        let head = ExportHead {
            flavor: self.flavor,
            title: self.tags.title(),
            date: self.tags.started,
            duration_ms: self.end_ms.unsigned_abs(),
            tags: self.tags.matroska(),
        };
        let sound = Sound {
            private: self.sound.opus_head(),
            channels: self.options.layout.channels(),
            delay_ns: self.sound.delay_ns(),
        };
        export_head(&head, course.pictures.shows(), &sound)
    }

    /// The next cluster: blocks of all tracks, by their time.
    fn cluster(&mut self, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Vec<u8>, ExportError> {
        let mut cluster = Cluster::new(self.course.time_ms);
        let until = self.course.time_ms.saturating_add(CLUSTER_MS).min(self.end_ms);
        self.course.time_ms = until;
        loop {
            let sound_ms = self.sound_ms(pcm, tools)?;
            let picture = self.course.earliest(tools);
            match picture {
                Some((at_ms, track)) if at_ms < until && sound_ms.is_none_or(|s| at_ms <= s) => {
                    if let Some(shown) = self.course.pictures.take(track) {
                        cluster.put(number(track), at_ms, shown.key, &shown.data);
                    }
                }
                _ => {
                    let Some(at_ms) = sound_ms.filter(|s| *s < until) else { break };
                    if let Some(packet) = self.course.packets.pop_front() {
                        cluster.put(number(self.course.tracks), at_ms, true, &packet);
                        self.course.packet += 1;
                    }
                }
            }
            if cluster.len() >= CLUSTER_OCTETS {
                let next = [self.sound_ms(pcm, tools)?, self.course.earliest(tools).map(|p| p.0)];
                let next = next.into_iter().flatten().min().unwrap_or(until);
                self.course.time_ms = next.clamp((until - CLUSTER_MS).max(0), until);
                break;
            }
        }
        Ok(cluster.finish())
    }

    /// When the next packet of sound is heard.
    fn sound_ms(&mut self, pcm: &mut Pcm, tools: &Tools<'_>) -> Result<Option<i64>, ExportError> {
        let course = &mut self.course;
        if course.packets.is_empty() && course.piece < self.sound.pieces() {
            course.packets = self.sound.packets_of(course.piece, pcm, tools)?.into();
            course.piece += 1;
        }
        Ok((!course.packets.is_empty()).then(|| course.packet.saturating_mul(PACKET_MS)))
    }
}

impl Course {
    /// The picture that is next of all tracks: when it is seen, and whose it is.
    fn earliest(&mut self, tools: &Tools<'_>) -> Option<(i64, usize)> {
        let pictures = &mut self.pictures;
        let next = (0..self.tracks).filter_map(|track| {
            let shown = pictures.peek(track, tools.files)?;
            Some((shown.tick.div_euclid(TICKS_PER_MS).max(0), track))
        });
        next.min()
    }
}

/// Tracks are few, and numbered from 1 on.
fn number(track: usize) -> u8 {
    u8::try_from(track + 1).unwrap_or(u8::MAX)
}

//! The pictures of a call: the video of each sender as a track, on the time line that what was said lies on.
//!
//! ```text
//!  sidecar ─► packets of one stream ─► Depacketizer ─► Gate ─► pictures, each at a tick of the call
//!             place by the nearest anchor, then by the stream's clock: as sound
//! ```
//!
//! Video is kept as whole packets. What is sound and what is picture of one moment arrived at one moment, and both are
//! placed by when their senders' clocks said so against our wall clock: that is what keeps lips and voices together.
//! Streams of one m-line are one track, over holds and failovers. Each track reads the sidecar by itself, so nothing
//! waits for anything else; it holds one picture that is next, and what its depacketizer and its gate hold.

use std::collections::VecDeque;
use std::io::BufReader;

use media::rtp::RtpView;
use media::video::{Depacketizer, Gate, Missing, MissingKind, Picture, Setup, VideoCodec};
use model::{MediaKind, SegmentRecord, Side, StreamId, StreamRecord, WallTime};

use super::notes::{Note, note};
use super::placed::Placed;
use super::{placed, sidecar, to_f64, to_i64};
use crate::codec::{TICK_US, TICKS_PER_SECOND};
use crate::op::{Files, ReadSeek};
use crate::pcap::SidecarReader;
use crate::timeline::Timeline;
use crate::twins;

/// 10 s: what nobody wants to look at a still picture for.
const KEY_WAIT_TICKS: i64 = 10 * TICKS_PER_SECOND;
/// 8 tracks: two people with a camera and a screen each, and as many again after a change of codec.
const TRACKS_MAX: usize = 8;
/// Ticks in a millisecond.
const PER_MS: i64 = 1_000 / TICK_US;

/// A picture and when it is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    /// The tick of the call. In the order of decoding, which need not be that of time.
    pub(crate) tick: i64,
    pub(crate) key: bool,
    pub(crate) data: Vec<u8>,
}

/// What is known of a track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Shows {
    /// Its first stream.
    pub(crate) stream: StreamId,
    pub(crate) side: Side,
    pub(crate) label: Option<String>,
    pub(crate) setup: Setup,
}

/// The pictures of a call.
pub(crate) struct Pictures {
    segments: Vec<Placed>,
    tracks: Vec<Track>,
    notes: Vec<Note>,
}

/// The m-line and codec whose pictures are one track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    recorded_as: usize,
    slot: u16,
    /// Which of several of a segment: two dialogs may each have one of this slot.
    nth: usize,
    codec: VideoCodec,
}

/// A stream of a segment that a track goes through.
#[derive(Clone, Debug)]
struct Take {
    segment: usize,
    stream: usize,
    path: String,
    /// The tick of the call at which its first packet lies.
    begin: i64,
}

struct Track {
    line: Line,
    takes: VecDeque<Take>,
    open: Option<Open>,
    gate: Gate,
    ready: VecDeque<Shown>,
    shows: Option<Shows>,
    stream: StreamId,
}

struct Open {
    take: Take,
    reader: SidecarReader<BufReader<Box<dyn ReadSeek>>>,
    /// The use of a payload type that its packets are of.
    depacketizer: Option<(usize, Depacketizer)>,
}

impl Pictures {
    /// The pictures of segments, each with its directory, in any order. Nothing is read yet. Of a segment with two copies those
    /// of the better one are shown.
    pub(crate) fn new(segments: Vec<(SegmentRecord, String)>) -> Self {
        let (mut segments, _) = twins::pair(segments);
        segments.sort_by_key(|(s, _)| (s.started, s.number, s.id));
        let timeline = Timeline::new(&segments);
        let directories: Vec<String> = segments.iter().map(|(_, directory)| directory.clone()).collect();
        let segments: Vec<Placed> = placed::all(segments, timeline.starts);
        let mut pictures = Self { segments: Vec::new(), tracks: Vec::new(), notes: Vec::new() };
        for (index, (segment, directory)) in segments.iter().zip(&directories).enumerate() {
            let mut lines: Vec<Line> = Vec::new();
            for (n, stream) in segment.record.streams.iter().enumerate() {
                for codec in video_codecs(stream) {
                    let nth = lines.iter().filter(|l| (l.slot, l.codec) == (stream.slot, codec)).count();
                    let line = Line { recorded_as: segment.recorded_as, slot: stream.slot, nth, codec };
                    lines.push(line);
                    if let Some(take) = Take::of(segment, index, n, directory) {
                        pictures.add(line, stream.id, take);
                    }
                }
            }
        }
        pictures.segments = segments;
        pictures
    }

    fn add(&mut self, line: Line, stream: StreamId, take: Take) {
        if let Some(track) = self.tracks.iter_mut().find(|t| t.line == line) {
            track.takes.push_back(take);
        } else if self.tracks.len() < TRACKS_MAX {
            self.tracks.push(Track::new(line, stream, take));
        } else {
            let why = format!("more than {TRACKS_MAX} tracks of video");
            note(&mut self.notes, Note::NotDecoded { stream, codec: line.codec.name().to_owned(), why });
        }
    }

    /// What they are encoded with, each track's: nothing where there are none.
    pub(crate) fn codecs(&self) -> impl Iterator<Item = VideoCodec> {
        self.tracks.iter().map(|t| t.line.codec)
    }

    /// The tick behind the last one, as far as records tell.
    pub(crate) fn end(&self) -> i64 {
        let takes = self.tracks.iter().flat_map(|t| &t.takes);
        takes.filter_map(|t| self.segments.get(t.segment)).map(Placed::video_end).max().unwrap_or(0)
    }

    /// Reads each track up to its first picture. One that has none is left out, with a note.
    pub(crate) fn open(&mut self, files: &dyn Files) {
        let (segments, notes) = (&self.segments, &mut self.notes);
        self.tracks.retain_mut(|track| {
            track.fill(segments, files, notes);
            if track.shows.is_none() {
                let why = "no whole key frame of it was received".to_owned();
                let codec = track.line.codec.name().to_owned();
                note(notes, Note::NotDecoded { stream: track.stream, codec, why });
            }
            track.shows.is_some()
        });
    }

    /// What tracks there are, once they have been opened.
    pub(crate) fn shows(&self) -> impl Iterator<Item = &Shows> {
        self.tracks.iter().filter_map(|t| t.shows.as_ref())
    }

    /// The next picture of a track, in the order of decoding.
    pub(crate) fn peek(&mut self, track: usize, files: &dyn Files) -> Option<&Shown> {
        let track = self.tracks.get_mut(track)?;
        track.fill(&self.segments, files, &mut self.notes);
        track.ready.front()
    }

    /// The same, and it is gone.
    pub(crate) fn take(&mut self, track: usize) -> Option<Shown> {
        self.tracks.get_mut(track)?.ready.pop_front()
    }

    /// What is not seen, or not as it was sent, as far as was read.
    pub(crate) fn notes(&self) -> Vec<Note> {
        let mut notes = self.notes.clone();
        for track in &self.tracks {
            for missing in track.gate.missing() {
                note(&mut notes, not_shown(track.stream, *missing));
            }
        }
        notes
    }
}

fn not_shown(stream: StreamId, missing: Missing) -> Note {
    let [from_ms, until_ms] = [missing.from, missing.until].map(|t| (t / PER_MS).max(0).unsigned_abs());
    match missing.kind {
        MissingKind::LeftOut => Note::NotShown { stream, from_ms, until_ms },
        MissingKind::Damaged => Note::Damaged { stream, from_ms, until_ms },
    }
}

impl Take {
    /// A stream of which anything was kept.
    fn of(segment: &Placed, index: usize, stream: usize, directory: &str) -> Option<Self> {
        let record = segment.record.streams.get(stream)?;
        let file = &segment.record.sidecar.as_ref()?.file;
        let first = record.anchors.first()?;
        let wall = segment.clocks.get(&record.id)?.wall(to_f64(first.position_us / TICK_US));
        let begin = segment.start.saturating_add(to_i64(wall));
        Some(Self { segment: index, stream, path: format!("{directory}/{file}"), begin })
    }
}

impl Track {
    fn new(line: Line, stream: StreamId, take: Take) -> Self {
        Self {
            line,
            takes: VecDeque::from([take]),
            open: None,
            gate: Gate::new(KEY_WAIT_TICKS),
            ready: VecDeque::new(),
            shows: None,
            stream,
        }
    }

    /// Reads on until there is a picture, or no more.
    fn fill(&mut self, segments: &[Placed], files: &dyn Files, notes: &mut Vec<Note>) {
        while self.ready.is_empty() {
            let Some(open) = &mut self.open else {
                let Some(take) = self.takes.pop_front() else { return };
                match Open::new(take, files) {
                    Ok(open) => self.open = Some(open),
                    Err(unreadable) => note(notes, unreadable),
                }
                continue;
            };
            let Some(segment) = segments.get(open.take.segment) else { return };
            let goes_on = open.read(segment, self.line.codec);
            self.sort_out(segment);
            if !goes_on {
                self.open = None;
                if self.takes.is_empty() {
                    self.gate.finish();
                }
            }
        }
    }

    /// Takes over what the depacketizer has.
    fn sort_out(&mut self, segment: &Placed) {
        let Some(Open { take, depacketizer: Some((_, depacketizer)), .. }) = &mut self.open else { return };
        // Where two segments overlap, the later one is shown from its beginning on.
        let until = self.takes.front().map_or(i64::MAX, |next| next.begin);
        while let Some(picture) = depacketizer.next_picture() {
            if picture.at >= until {
                continue;
            }
            if self.shows.is_none() && !picture.damaged {
                let stream = segment.record.streams.get(take.stream);
                self.shows = depacketizer.setup().zip(stream).map(|(setup, stream)| Shows {
                    stream: stream.id,
                    side: stream.side,
                    label: stream.label.clone(),
                    setup,
                });
            }
            self.gate.push(picture);
        }
        while let Some(Picture { at: tick, key, data, .. }) = self.gate.next_picture() {
            self.ready.push_back(Shown { tick, key, data });
        }
    }
}

impl Open {
    fn new(take: Take, files: &dyn Files) -> Result<Self, Note> {
        let opened = files.open(&take.path).map_err(|e| e.to_string());
        let reader = opened.and_then(|f| SidecarReader::new(BufReader::new(f)).map_err(|e| e.to_string()));
        match reader {
            Ok(reader) => Ok(Self { take, reader, depacketizer: None }),
            Err(why) => Err(Note::Unreadable { path: take.path, why }),
        }
    }

    /// Reads the next packet; false when there is none, and what waited has been let go.
    fn read(&mut self, segment: &Placed, codec: VideoCodec) -> bool {
        let packet = self.reader.next_packet().ok().flatten();
        let (Some(packet), Some(stream)) = (packet, segment.record.streams.get(self.take.stream)) else {
            if let Some((_, depacketizer)) = &mut self.depacketizer {
                depacketizer.finish();
            }
            return false;
        };
        if packet.to.port() != stream.port {
            return true;
        }
        let Some(rtp) = RtpView::read(&packet.payload) else { return true };
        let Some(using) = used(stream, rtp.payload_type, packet.at, codec) else { return true };
        let codec = stream.codecs.get(using).and_then(|u| u.codec.as_ref());
        match (&mut self.depacketizer, codec) {
            (Some((of, _)), _) if *of == using => {}
            (Some((of, depacketizer)), Some(codec)) => {
                *of = using;
                depacketizer.learn(codec);
            }
            (none, codec) => *none = codec.and_then(Depacketizer::new).map(|d| (using, d)),
        }
        if let Some((_, depacketizer)) = &mut self.depacketizer {
            let position = sidecar::tick(stream, &rtp, packet.at, segment.record.started);
            let wall = segment.clocks.get(&stream.id).map_or(to_f64(position), |c| c.wall(to_f64(position)));
            depacketizer.push(segment.start.saturating_add(to_i64(wall)), &rtp);
        }
        true
    }
}

/// The codecs of a stream whose pictures can be put together, each once.
fn video_codecs(stream: &StreamRecord) -> Vec<VideoCodec> {
    let mut codecs = Vec::new();
    let is_video = stream.kind == MediaKind::Video;
    for codec in stream.codecs.iter().filter(|_| is_video).filter_map(|u| VideoCodec::of(u.codec.as_ref()?)) {
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    codecs
}

/// Which use of a payload type a packet is of, if it is video in this codec.
fn used(stream: &StreamRecord, payload_type: u8, at: WallTime, codec: VideoCodec) -> Option<usize> {
    let uses = || stream.codecs.iter().enumerate().filter(|(_, u)| u.payload_type == payload_type);
    let then = uses().rfind(|(_, u)| u.from <= at).or_else(|| uses().next())?;
    (VideoCodec::of(then.1.codec.as_ref()?)? == codec).then_some(then.0)
}

#[cfg(test)]
mod tests;

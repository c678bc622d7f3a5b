//! Files that are made while they are read: any ranges fit together, and lengths are what was said.

use model::{CallId, EndReason};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::assemble::{Layout, NoDecoders, Rate};
use crate::fixture::{START, Spool, heard};
use crate::memory::MemoryDisk;

/// Frames of the right length and head, whose octets tell the samples that each was made of.
struct Telling;

impl Mp3Encoder for Telling {
    fn can(&self) -> Result<(), Mp3EncoderError> {
        Ok(())
    }

    fn encode(&self, setup: Mp3Setup, samples: &[i16]) -> Result<Vec<u8>, Mp3EncoderError> {
        let head = if setup.rate == 8_000 { [0xFF, 0xE3, 0x48, 0x04] } else { [0xFF, 0xF3, 0x88, 0x04] };
        let frame = |samples: &[i16]| {
            let sum = samples
                .iter()
                .fold(7_u32, |h, s| h.wrapping_mul(31).wrapping_add(u32::from(s.cast_unsigned())));
            [&head[..], &sum.to_be_bytes(), &[0; 280]].concat()
        };
        Ok(samples.chunks(576 * 2).flat_map(frame).collect())
    }
}

/// 40 s of two voices.
fn call() -> (MemoryDisk, Vec<(SegmentRecord, String)>) {
    let mut spool = Spool::new();
    for ms in (0..40_000).step_by(20) {
        let octet = u8::try_from(ms / 20 * 37 % 251).unwrap();
        spool.push(&heard(1, ms, octet));
        if ms % 3_000 < 1_000 {
            spool.push(&heard(2, ms, octet.wrapping_add(77)));
        }
        if ms % 100 == 80 {
            spool.flush(u64::try_from(ms).unwrap() + 20);
        }
    }
    let record = spool.finish(40_000, EndReason::HangUp);
    let directory = spool.writer.directory().to_owned();
    (spool.disk, vec![(record, directory)])
}

fn export(segments: &[(SegmentRecord, String)], format: Format, rate: Rate) -> Export {
    let tags = Tags { call: CallId::from_u64(4_000), started: START, parties: Some("1001 → 2002".into()) };
    let options = Options { rate, layout: Layout::Stereo };
    Export::new(segments.to_vec(), &Request { format, options, bitrate: None, tags }).unwrap()
}

fn whole(export: &mut Export, tools: &Tools<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let some = export.read(out.len() as u64, 65_536, tools).unwrap();
        if some.is_empty() {
            return out;
        }
        out.extend(some);
    }
}

#[test]
fn every_format_is_as_long_as_it_says() {
    let (disk, segments) = call();
    let tools = Tools { files: &disk, decoders: &NoDecoders, mp3: &Telling };
    for (format, rate) in [
        (Format::Wav, Rate::Narrow),
        (Format::Wav, Rate::Full),
        (Format::Mp3, Rate::Narrow),
        (Format::Mp3, Rate::Wide),
        (Format::Opus, Rate::Narrow),
        (Format::Opus, Rate::Full),
    ] {
        let mut export = export(&segments, format, rate);
        assert_eq!(whole(&mut export, &tools).len() as u64, export.octets().unwrap(), "{format:?} {rate:?}");
        assert_eq!(export.notes(), []);
    }
    assert_eq!(export(&segments, Format::Flac, Rate::Narrow).octets(), None);
}

/// Samples that a FLAC file says that it has (RFC 9639 section 8.2).
fn said(flac: &[u8]) -> u64 {
    u64::from_be_bytes(*flac[18..].first_chunk().unwrap()) & ((1 << 36) - 1)
}

#[test]
fn flac_ends_wherever_a_call_ends() {
    // One frame of 4,096 samples, and so many milliseconds more, of eight samples each.
    for (ms, expected) in [(0, 4_096), (1, 4_128), (2, 4_128), (3, 4_128), (4, 4_128), (5, 4_136)] {
        let mut spool = Spool::new();
        spool.push(&heard(1, 0, 9));
        spool.push(&heard(1, 492 + ms, 9));
        let record = spool.finish(u64::try_from(512 + ms).unwrap(), EndReason::HangUp);
        let segments = vec![(record, spool.writer.directory().to_owned())];
        let tools = Tools { files: &spool.disk, decoders: &NoDecoders, mp3: &Telling };
        let flac = whole(&mut export(&segments, Format::Flac, Rate::Narrow), &tools);
        assert_eq!(said(&flac), expected, "{ms}");
    }
}

#[test]
fn what_a_format_cannot_do_is_said() {
    let (_, mut segments) = call();
    let tags = Tags { call: CallId::from_u64(4_000), started: START, parties: None };
    let options = Options { rate: Rate::Narrow, layout: Layout::Stereo };
    let request = |format, bitrate| Request { format, options, bitrate, tags: tags.clone() };
    let refused = Export::new(segments.clone(), &request(Format::Mp3, Some(33))).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "mp3 at this rate and layout has no 33 kbit/s; it has 16, 24, 32, 40, 48, 56, 64"
    );
    assert!(Export::new(segments.clone(), &request(Format::Opus, Some(25))).is_err());
    // 40 hours.
    let mut later = segments[0].clone();
    later.0.started = later.0.started + std::time::Duration::from_secs(40 * 3_600);
    segments.push(later);
    let refused = Export::new(segments.clone(), &request(Format::Wav, None)).err().unwrap();
    assert!(matches!(refused, ExportError::TooLong(_)), "{refused}");
    assert!(Export::new(segments, &request(Format::Flac, None)).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_ranges_fit_together(cuts in proptest::collection::vec(0.0_f64..1.0, 1..4), backwards: bool) {
        let (disk, segments) = call();
        let tools = Tools { files: &disk, decoders: &NoDecoders, mp3: &Telling };
        for (format, rate) in [
            (Format::Wav, Rate::Narrow),
            (Format::Mp3, Rate::Narrow),
            (Format::Opus, Rate::Narrow),
            (Format::Flac, Rate::Narrow),
        ] {
            let all = whole(&mut export(&segments, format, rate), &tools);
            let mut ends: Vec<usize> = cuts.iter().map(|c| (c * all.len() as f64) as usize).collect();
            ends.extend([0, all.len()]);
            ends.sort_unstable();
            let mut ranges: Vec<_> = ends.windows(2).map(|w| w[0]..w[1]).collect();
            if backwards {
                ranges.reverse();
            }
            let mut export = export(&segments, format, rate);
            for range in ranges {
                let mut at = range.start;
                while at < range.end {
                    let some = export.read(at as u64, range.end - at, &tools).unwrap();
                    prop_assert_eq!(&some[..], &all[at..at + some.len()], "{:?} at {}", format, at);
                    prop_assert!(!some.is_empty());
                    at += some.len();
                }
            }
        }
    }
}

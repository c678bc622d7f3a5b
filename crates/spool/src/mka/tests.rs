//! What is written is read back; what is cut is whole up to the cut; what is mutated is refused, not panicked at.

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::codec::TrackCodec;
use model::{Side, StreamId, WallTime};

fn tracks() -> Vec<TrackHead> {
    let track = |n, side, codec| TrackHead { stream: StreamId::from_u64(n), side, codec };
    vec![
        track(11, Side::Agent, TrackCodec::Ulaw),
        track(12, Side::External, TrackCodec::Alaw),
        track(13, Side::Mixed, TrackCodec::Opus { channels: 1 }),
    ]
}

fn info() -> HeadInfo {
    HeadInfo {
        title: "a title".into(),
        date: WallTime::from_millis(1_795_166_100_000),
        tags: vec![("A".into(), "1".into()), ("B".into(), "zwei".into())],
    }
}

fn part(blocks: &[Block]) -> (Vec<u8>, u64) {
    let (mut bytes, duration_at) = head(&info(), &tracks());
    let mut writer = BlockWriter::default();
    for b in blocks {
        let kind = if b.discardable { BlockKind::Fill } else { BlockKind::Media };
        writer.put(&mut bytes, b.track, b.position, kind, &b.payload);
    }
    (bytes, duration_at)
}

fn block() -> impl Strategy<Value = Block> {
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (1_u8..=3, 0_i64..400_000, any::<bool>(), payload)
        .prop_map(|(track, position, discardable, payload)| Block { track, position, discardable, payload })
}

fn read_all(bytes: &[u8]) -> (Vec<Block>, Option<Damage>, u64) {
    let mut reader = Reader::new(bytes).unwrap();
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        blocks.push(block);
    }
    (blocks, reader.damage(), reader.whole_bytes())
}

#[test]
fn a_head_says_all_that_was_told() {
    let (mut bytes, at) = part(&[]);
    let at = usize::try_from(at).unwrap();
    bytes[at..at + 8].copy_from_slice(&duration_bytes(4_711));
    let reader = Reader::new(&bytes[..]).unwrap();
    let head = reader.head();
    assert_eq!(head.timestamp_scale, 125_000);
    assert_eq!(head.duration, Some((4_711.0, at as u64)));
    assert_eq!(head.date, Some(info().date));
    assert_eq!(head.title.as_deref(), Some("a title"));
    assert_eq!((head.tag("A"), head.tag("B"), head.tag("C")), (Some("1"), Some("zwei"), None));
    let read: Vec<_> = head.tracks.iter().map(|t| (t.stream, t.side, t.codec)).collect();
    let told: Vec<_> = tracks().iter().map(|t| (t.stream, t.side, Some(t.codec))).collect();
    assert_eq!(read, told);
    // Players open nothing that has no cluster, so a head ends with the begin of the first.
    assert_eq!(reader.cluster(), Some(0));
    assert_eq!(read_all(&bytes), (vec![], None, bytes.len() as u64));
}

#[test]
fn a_cluster_begins_each_two_seconds_and_where_16_bits_do_not_reach() {
    let media = |position| Block { track: 1, position, discardable: false, payload: vec![1; 160] };
    let clusters = |positions: &[i64]| {
        let blocks: Vec<_> = positions.iter().copied().map(media).collect();
        let bytes = part(&blocks).0;
        assert_eq!(read_all(&bytes).0, blocks);
        bytes.windows(4).filter(|w| *w == [0x1F, 0x43, 0xB6, 0x75]).count()
    };
    assert_eq!(clusters(&[0, 160, 15_999]), 1);
    assert_eq!(clusters(&[0, 160, 16_000]), 2);
    assert_eq!(clusters(&[40_000]), 2, "the one of the head stays empty");
    assert_eq!(clusters(&[40_000, 40_000 - 32_768]), 2, "a late block still fits");
    assert_eq!(clusters(&[40_000, 40_000 - 32_769, 40_160]), 4, "a later one has a cluster of its own");
}

#[test]
fn elements_of_others_are_skipped_and_lacing_is_damage() {
    let (mut bytes, _) = part(&[]);
    bytes.extend_from_slice(&[0xEC, 0x82, 0, 0]); // Void
    let whole = bytes.len() as u64;
    assert_eq!(read_all(&bytes), (vec![], None, whole));
    bytes.extend_from_slice(&[0xA3, 0x85, 0x81, 0, 0, 0x82, 9]);
    assert_eq!(read_all(&bytes).1, Some(Damage::Bad { at: whole }));
}

#[test]
fn zeros_behind_the_end_are_damage_where_they_begin() {
    let (mut bytes, _) = part(&[Block { track: 1, position: 0, discardable: false, payload: vec![1; 160] }]);
    let whole = bytes.len() as u64;
    bytes.extend_from_slice(&[0; 500]);
    let (blocks, damage, whole_bytes) = read_all(&bytes);
    assert_eq!((blocks.len(), damage, whole_bytes), (1, Some(Damage::Bad { at: whole }), whole));
}

proptest! {
    #[test]
    fn blocks_round_trip(blocks in proptest::collection::vec(block(), 0..60)) {
        let (bytes, _) = part(&blocks);
        let (read, damage, whole) = read_all(&bytes);
        prop_assert_eq!(read, blocks);
        prop_assert_eq!(damage, None);
        prop_assert_eq!(whole, bytes.len() as u64);
    }

    #[test]
    fn a_cut_leaves_all_blocks_before_it(blocks in proptest::collection::vec(block(), 1..30), at in any::<prop::sample::Index>()) {
        let (bytes, _) = part(&blocks);
        let cut = at.index(bytes.len() + 1);
        let (read, damage, whole) = read_all(&bytes[..cut]);
        prop_assert!(blocks.starts_with(&read));
        prop_assert!(whole <= cut as u64);
        prop_assert_eq!(damage.is_some(), whole < cut as u64);
        // Cut at what is whole, it is clean, and nothing is lost by cutting.
        let kept = &bytes[..usize::try_from(whole).unwrap()];
        let (again, damage, _) = read_all(kept);
        prop_assert_eq!((again, damage), (read, None));
    }

    #[test]
    fn mutated_parts_never_panic(
        blocks in proptest::collection::vec(block(), 0..10),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let (mut bytes, _) = part(&blocks);
        for (at, octet) in hits {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        let scan = scan(&bytes[..]).unwrap();
        prop_assert!(scan.whole_bytes <= bytes.len() as u64);
    }

    #[test]
    fn any_bytes_are_scanned(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = scan(&bytes[..]).unwrap();
    }
}

use proptest::prelude::prop;

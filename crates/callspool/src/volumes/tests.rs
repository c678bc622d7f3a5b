//! What one opener that hangs says of its volume.

use super::*;

/// Openers that are in operations since some seconds, and one operation that has ended and when it began.
fn busy_for(openers: &[u64], ended: u64, writer: Option<u64>, now: u64) -> u64 {
    let spec = VolumeSpec { name: VolumeName::default(), path: PathBuf::new(), weight: 1, min_free: 0 };
    let volume = Volume::new(spec, 1);
    let at = |seconds: u64| seconds * 1_000_000_000;
    let hands = openers.iter().enumerate().map(|(n, since)| (Hand::Opener(n), *since));
    for (hand, since) in hands.chain(writer.map(|since| (Hand::Writer, since))) {
        volume.busy[hand.index()].store(at(since), Ordering::Relaxed);
    }
    volume.got_on.store(at(ended), Ordering::Relaxed);
    volume.busy_for(Mono(at(now))).as_secs()
}

#[test]
fn an_opener_that_hangs_alone_is_no_volume_that_stands_still() {
    for (what, openers, ended, writer, now, expected) in [
        ("nobody is at work", &[][..], 0, None, 10, 0),
        ("one hangs, and nobody got on since it began", &[5][..], 4, None, 10, 5),
        ("one hangs, and another has ended what began later", &[5][..], 6, None, 10, 0),
        ("all hang", &[5, 6, 7][..], 4, None, 10, 5),
        (
            "one hangs alone, and then another that began behind the last that got on",
            &[5, 8][..],
            6,
            None,
            10,
            2,
        ),
        ("it hangs alone for long", &[5][..], 30, None, 36, 31),
        ("the writer is alone whatever openers do", &[5][..], 6, Some(2), 10, 8),
    ] {
        assert_eq!(busy_for(openers, ended, writer, now), expected, "{what}");
    }
}

#[test]
fn an_operation_that_ends_says_that_openers_get_on() {
    let spec = VolumeSpec { name: VolumeName::default(), path: PathBuf::new(), weight: 1, min_free: 0 };
    let volume = Volume::new(spec, 1);
    volume.busy[Hand::Opener(1).index()].store(1, Ordering::Relaxed);
    let before = volume.busy_for(Mono(5_000_000_001));
    volume.at_work(Hand::Writer, || ());
    assert_eq!((before, volume.busy_for(Mono(5_000_000_001))), (Duration::from_secs(5), before));
    volume.at_work(Hand::Opener(0), || ());
    assert_eq!(volume.busy_for(Mono(5_000_000_001)), Duration::ZERO);
}

//! Whatever lies on disk, nothing panics, nothing grows, and a repair comes to rest.

use model::{EndReason, NodeNumber};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, prop_assert_eq, proptest};

use crate::assemble::{Assembler, Layout, NoDecoders, Options, Rate};
use crate::fixture::{Heard, Spool, heard, now};
use crate::layout::ManifestPath;
use crate::memory::MemoryDisk;
use crate::repair::repair;
use crate::{manifest, verify};

/// One change to a file: which file, where, what.
#[derive(Clone, Debug)]
enum Harm {
    Octet(u8),
    Cut,
    Remove,
    Insert(Vec<u8>),
}

fn harm() -> impl Strategy<Value = (prop::sample::Index, prop::sample::Index, Harm)> {
    let harm = proptest::prelude::prop_oneof![
        8 => any::<u8>().prop_map(Harm::Octet),
        1 => proptest::prelude::Just(Harm::Cut),
        1 => proptest::prelude::Just(Harm::Remove),
        2 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(Harm::Insert),
    ];
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), harm)
}

fn spoil(disk: &mut MemoryDisk, harms: &[(prop::sample::Index, prop::sample::Index, Harm)]) {
    for (file, at, harm) in harms {
        let paths: Vec<String> =
            disk.paths().filter(|p| !p.starts_with("live/")).map(ToOwned::to_owned).collect();
        let Some(path) = paths.get(file.index(paths.len().max(1))) else { return };
        let mut bytes = disk.bytes(path).unwrap_or_default().to_vec();
        let at = at.index(bytes.len() + 1);
        match harm {
            Harm::Octet(octet) if at < bytes.len() => bytes[at] = *octet,
            Harm::Octet(_) => {}
            Harm::Cut => bytes.truncate(at),
            Harm::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            Harm::Remove => {
                disk.apply(&crate::FileOp::Remove { path: path.clone() }).unwrap();
                continue;
            }
        }
        disk.put(path, bytes);
    }
}

/// A call of one segment with two parts and a sidecar.
fn call(ms: i64) -> Spool {
    let mut spool = Spool::new();
    for at in (0..ms).step_by(20) {
        spool.push(&heard(1, at, 7));
        spool.push(&Heard {
            codec: Some(model::Codec::new(if at < ms / 2 { "PCMU" } else { "PCMA" }, 8_000, 1)),
            ..heard(2, at, 9)
        });
        if at % 400 == 0 {
            spool.push(&Heard { kind: media::FrameKind::TelephoneEvent, ..heard(1, at, 3) });
        }
        spool.flush(at.unsigned_abs() + 20);
    }
    spool
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn spoiled_files_are_repaired_verified_and_heard_without_panic(
        ended in any::<bool>(),
        harms in proptest::collection::vec(harm(), 1..6),
    ) {
        let mut spool = call(3_000);
        if ended {
            spool.finish(3_000, EndReason::HangUp);
        }
        let path = ManifestPath::parse(&spool.writer.manifest_path()).unwrap();
        let segment = spool.writer.record().id;
        let mut disk = spool.disk;
        spoil(&mut disk, &harms);
        let first = repair(now(9_000), segment, &path, NodeNumber::SINGLE, &disk);
        if let Ok(first) = first {
            disk.apply_all(&first.ops).unwrap();
            let second = repair(now(10_000), segment, &path, NodeNumber::SINGLE, &disk).unwrap();
            prop_assert_eq!(second.ops, vec![]);
        }
        let _ = verify::call(&disk, &path.directory).unwrap();
        let Some(Ok(manifest)) = disk.bytes(&path.path()).map(manifest::read) else { return Ok(()) };
        let options = Options { rate: Rate::Wide, layout: Layout::Stereo };
        let mut assembler = Assembler::new(vec![(manifest.record, path.directory.clone())], options);
        // A damaged duration may claim hours; a minute shows enough.
        for _ in 0..60 {
            match assembler.next(&disk, &NoDecoders) {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }

    #[test]
    fn a_spoiled_sealed_call_is_never_called_sound(harms in proptest::collection::vec(harm(), 1..4)) {
        let mut spool = call(2_000);
        spool.finish(2_000, EndReason::HangUp);
        let directory = spool.writer.directory().to_owned();
        let before = spool.disk.clone();
        let mut disk = spool.disk;
        spoil(&mut disk, &harms);
        let cut_log_only = before.paths().all(|p| p.ends_with("call.log") || before.bytes(p) == disk.bytes(p));
        let verified = verify::call(&disk, &directory).unwrap();
        if disk != before && !cut_log_only {
            prop_assert_eq!(verified.is_sound(), false, "{:?}", verified.findings);
        }
    }
}

//! What callspool says that it recorded: the sums over all manifests of a repository.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Failure;

/// For sealing thousands of segments, digests included.
const SEALED: Duration = Duration::from_secs(60);

/// Counts over all streams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) segments: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) dropped: u64,
    /// Late, duplicate, invalid, of another source, discarded: there should be none.
    pub(crate) odd: u64,
}

/// Waits until nothing is live, and adds up.
pub(crate) fn sum_when_sealed(repository: &Path) -> Result<Recorded, Failure> {
    let until = Instant::now() + SEALED;
    let markers = repository.join(spool::layout::MARKERS_PATH);
    while !spool::markers::read(&std::fs::read(&markers)?).is_empty() {
        if Instant::now() > until {
            return Err("segments are not sealed".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut sum = Recorded::default();
    add(repository, &mut sum)?;
    Ok(sum)
}

fn add(directory: &Path, sum: &mut Recorded) -> Result<(), Failure> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            add(&path, sum)?;
        } else if path.extension().is_some_and(|e| e == "json") {
            let manifest: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            sum.segments += 1;
            for stream in manifest["segment"]["streams"].as_array().into_iter().flatten() {
                let count = |name: &str| stream["accounting"][name].as_u64().unwrap_or(0);
                sum.received += count("received");
                sum.lost += count("lost");
                sum.dropped += count("dropped");
                sum.odd += ["late", "duplicate", "invalid", "other_source", "discarded"]
                    .iter()
                    .map(|name| count(name))
                    .sum::<u64>();
            }
        }
    }
    Ok(())
}

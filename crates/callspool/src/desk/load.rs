//! How full this record server is: what is in use of each resource, of what may be. Looked at ten times a second, so
//! that nothing here may wait for a disk.

use std::time::{Duration, Instant};

use model::{Resource, Share};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::clock::mono;
use crate::recorder::Figures;

/// Of the time of all processors, in percent: what is left is for the kernel's share of a burst.
const CPU_PERCENT: u64 = 85;
/// Between two looks at processor time, which is counted in ticks of some milliseconds.
const CPU_LOOK: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Loads {
    figures: Figures,
    cores: u64,
    segments_max: u64,
    /// Processor time of this process as of the last look, and when that was.
    spent: (Duration, Instant),
    cpu: Share,
}

impl Loads {
    pub(crate) fn new(figures: Figures, segments_max: usize) -> Self {
        Self {
            figures,
            cores: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            segments_max: segments_max as u64,
            spent: (processor_time(), Instant::now()),
            cpu: Share::default(),
        }
    }

    /// What is in use now.
    pub(super) fn look(&mut self) -> Vec<(Resource, Share)> {
        self.look_at_cpu();
        let (descriptors, descriptors_max) = self.figures.descriptors();
        vec![
            (Resource::Recordings, Share::of(self.figures.segments(), self.segments_max)),
            (Resource::Descriptors, Share::of(descriptors, descriptors_max)),
            (Resource::Cpu, self.cpu),
            (Resource::DiskSpace, self.figures.disk_space(mono())),
            (Resource::DiskLatency, self.figures.disk_latency()),
        ]
    }

    /// Segments that are live.
    pub(super) fn recordings(&self) -> u32 {
        u32::try_from(self.figures.segments()).unwrap_or(u32::MAX)
    }

    fn look_at_cpu(&mut self) {
        let (spent, since) = self.spent;
        let passed = since.elapsed();
        if passed < CPU_LOOK {
            return;
        }
        let now = processor_time();
        let used = u64::try_from(now.saturating_sub(spent).as_micros()).unwrap_or(u64::MAX);
        let passed = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        self.cpu = Share::of(used, passed.saturating_mul(self.cores) / 100 * CPU_PERCENT);
        self.spent = (now, Instant::now());
    }
}

/// Of this process, in the kernel and outside.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

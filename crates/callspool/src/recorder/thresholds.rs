//! From when on something is told as an alarm: settings that can change while calls go on.
//!
//! Media threads read them once a second for each segment, and sync threads once a look.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::quality::QualityRules;

/// All of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AlarmThresholds {
    pub(crate) quality: QualityRules,
    /// A disk that will be full sooner is told of; zero: never.
    pub(crate) disk_full_within: Duration,
}

/// The ones in effect.
#[derive(Debug, Default)]
pub(crate) struct Thresholds(RwLock<AlarmThresholds>);

impl Thresholds {
    pub(crate) fn get(&self) -> AlarmThresholds {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, new: AlarmThresholds) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

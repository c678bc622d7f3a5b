//! Numbers of this node for `/metrics`.

/// Gathers numbers. Does not wait for anything but a look into `/proc`.
pub trait Metrics: Send + Sync {
    /// All that the node counts, each family once.
    fn families(&self) -> Vec<Family>;
}

/// Numbers of one name.
#[derive(Clone, PartialEq, Debug)]
pub struct Family {
    /// Its name with its base unit; a counter's without `_total`, which is added.
    pub name: &'static str,
    /// What it is, in a sentence without its period.
    pub help: &'static str,
    /// What kind of number it is.
    pub kind: FamilyKind,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// What kind of number it is.
#[derive(Clone, PartialEq, Debug)]
pub enum FamilyKind {
    /// It only grows while the process runs.
    Counter,
    /// It comes and goes.
    Gauge,
    /// How often it was how much; it has no samples.
    Histogram(Distribution),
}

/// How often something was how much.
#[derive(Clone, PartialEq, Debug)]
pub struct Distribution {
    /// Upper ends in the base unit, the last one infinite, with how many lie between it and the one before.
    pub buckets: Vec<(f64, u64)>,
    /// Of all that was counted, in the base unit.
    pub sum: f64,
}

/// A number with its labels.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Names and values. What a label can be is bounded: nothing from the network is one.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: f64,
}

impl Family {
    /// What only grows.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: FamilyKind::Counter, samples: Vec::new() }
    }

    /// What comes and goes.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: FamilyKind::Gauge, samples: Vec::new() }
    }

    /// How often something was how much, without labels.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str, of: Distribution) -> Self {
        Self { name, help, kind: FamilyKind::Histogram(of), samples: Vec::new() }
    }

    /// With a number that has no labels.
    #[must_use]
    pub fn of(self, value: f64) -> Self {
        self.with(&[], value)
    }

    /// With a number for these labels.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push(Sample { labels, value });
        self
    }
}

/// A count as metrics have it: exact up to 2^53.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "beyond 2^53 a count is as good when it is rounded")]
pub fn count(n: impl TryInto<u64>) -> f64 {
    n.try_into().map_or(f64::MAX, |n| n as f64)
}

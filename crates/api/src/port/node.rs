//! How this node stands: whether it may be sent calls, and what is wrong by its own knowledge.

use store::AlarmRow;

/// Tells how this node stands. Does not wait.
pub trait Node: Send + Sync {
    /// What keeps it from taking calls, and what it lacks beside.
    fn standing(&self) -> Standing;

    /// The conditions that last, of all tenants, newest first, as it has them in memory: for when the catalog is away.
    fn lasting(&self) -> Vec<AlarmRow>;
}

/// How a node stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// What keeps it from taking calls; it is ready when there is nothing.
    pub unready: Vec<Lack>,
    /// What it lacks and records without.
    pub degraded: Vec<Lack>,
}

/// Something that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    /// What: `sip`, `repository`, `draining`, `catalog`.
    pub what: &'static str,
    /// In words.
    pub text: String,
}

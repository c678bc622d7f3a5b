//! Which calls a change is about.

use model::{CallId, Change, ChangeKind};

/// The calls whose rows a change may change. An alarm names one too, and changes nothing of it.
pub(crate) fn concerned(change: &Change) -> impl Iterator<Item = CallId> {
    let (own, others) = match &change.kind {
        ChangeKind::Alarm(_) => (None, Vec::new()),
        ChangeKind::Joined(join) => (change.kind.call(), vec![join.from.call]),
        ChangeKind::Sides(correction) => (change.kind.call(), correction.calls.clone()),
        _ => (change.kind.call(), Vec::new()),
    };
    own.into_iter().chain(others)
}

//! Whether events can be read. Where several nodes write, none is read before all transactions that are older have ended
//! (docs/decisions/0032-postgres.md). A transaction of anybody on that server which does not end keeps them all back, and
//! whoever waits for them sees nothing wrong: so it is looked for, and told.

use std::sync::Arc;
use std::time::Duration;

use model::alarm::Seen;
use model::{Condition, TenantId};
use store::{Catalog, HeldBack, Place};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::recorder::Teller;

/// How often it is looked: transactions of ours take less, also slow ones.
const LOOK: Duration = Duration::from_secs(5);

/// Looks until this process stops, where the catalog is on a server.
pub(crate) fn watch_events(
    place: &Place,
    reader: &Arc<Catalog>,
    teller: Teller,
    tenant: TenantId,
    mut stop: watch::Receiver<bool>,
) {
    if matches!(place, Place::File(_)) {
        return;
    }
    let reader = Arc::clone(reader);
    tokio::spawn(async move {
        let mut last = None;
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // A catalog that does not answer is told as `catalog-away`.
            if let Ok(held) = reader.events_held_back().await {
                teller.observe_node(Condition::EventsWaiting, &tenant, seen(last.as_ref(), held.as_ref()));
                last = held;
            }
        }
    });
}

/// How it looks: bad where events wait for what they waited for the last time.
fn seen(last: Option<&HeldBack>, now: Option<&HeldBack>) -> Seen {
    match now {
        Some(held) if last.is_some_and(|last| last.transaction == held.transaction) => Seen::Bad(format!(
            "events cannot be told: a transaction on the server of the catalog does not end ({}); have it end",
            held.whose
        )),
        _ => Seen::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_bad() {
        let held = |transaction: &str| HeldBack {
            transaction: transaction.to_owned(),
            whose: "process 7".to_owned(),
        };
        let (one, other) = (held("41"), held("42"));
        assert_eq!(seen(None, None), Seen::Good);
        assert_eq!(seen(None, Some(&one)), Seen::Good);
        assert_eq!(seen(Some(&one), Some(&other)), Seen::Good);
        assert_eq!(seen(Some(&one), None), Seen::Good);
        match seen(Some(&one), Some(&one)) {
            Seen::Bad(text) => assert!(text.contains("(process 7)"), "{text}"),
            seen => panic!("{seen:?}"),
        }
    }
}

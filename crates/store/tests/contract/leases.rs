//! Leases, by the clock of the database: one that lasts no time is over at once.

use std::time::Duration;

use model::NodeNumber;
use store::{CallQuery, Guarded, node_lease};

use super::{block_on, filled};
use crate::fixture::home::Home;
use crate::fixture::story;

const LONG: Duration = Duration::from_secs(3_600);
const OVER: Duration = Duration::ZERO;

pub(crate) fn one_at_a_time_holds_a_lease_and_a_stale_one_changes_nothing(home: &Home) {
    block_on(async {
        let catalog = filled(home, &story(1)).await;
        let name = node_lease(NodeNumber::new(7).unwrap());
        let first = catalog.acquire(&name, "a", LONG).await.unwrap().unwrap();
        assert_eq!((first.name.as_str(), first.holder.as_str(), first.epoch), ("node:7", "a", 1));
        assert_eq!(catalog.acquire(&name, "b", LONG).await.unwrap(), None);
        assert_eq!(catalog.lease_holder(&name).await.unwrap().as_deref(), Some("a"));
        assert_eq!(catalog.lease_holder("node:8").await.unwrap(), None);
        assert!(catalog.acquire("node:8", "b", LONG).await.unwrap().is_some());
        assert_eq!(catalog.apply_guarded(&first, &story(2)).await.unwrap(), Guarded::Written);
        // The same again, after a start: what was before is stale.
        let again = catalog.acquire(&name, "a", LONG).await.unwrap().unwrap();
        assert_eq!(again.epoch, 2);
        assert!(!catalog.renew(&first, LONG).await.unwrap());
        assert_eq!(catalog.apply_guarded(&first, &story(3)).await.unwrap(), Guarded::Stale);
        // It is over, and another one takes it.
        assert!(catalog.renew(&again, OVER).await.unwrap());
        assert_eq!(catalog.lease_holder(&name).await.unwrap(), None);
        assert_eq!(catalog.apply_guarded(&again, &story(3)).await.unwrap(), Guarded::Stale);
        let others = catalog.acquire(&name, "b", LONG).await.unwrap().unwrap();
        assert_eq!(others.epoch, 3);
        assert!(!catalog.renew(&again, LONG).await.unwrap() && !catalog.release(&again).await.unwrap());
        assert_eq!(catalog.apply_guarded(&again, &story(3)).await.unwrap(), Guarded::Stale);
        assert_eq!(catalog.apply_guarded(&others, &story(4)).await.unwrap(), Guarded::Written);
        // What was given back is free, and never held again by whoever gave it.
        assert!(catalog.release(&others).await.unwrap());
        assert!(!catalog.renew(&others, LONG).await.unwrap());
        assert!(catalog.acquire(&name, "a", LONG).await.unwrap().is_some_and(|lease| lease.epoch > 3));
        assert_eq!(catalog.calls(&CallQuery::default()).await.unwrap().len(), 3);
    });
}

pub(crate) fn a_lease_that_is_over_is_renewed_unless_somebody_took_it(home: &Home) {
    block_on(async {
        let catalog = home.open().await;
        let lease = catalog.acquire("gather", "a", OVER).await.unwrap().unwrap();
        assert!(catalog.renew(&lease, LONG).await.unwrap());
        assert_eq!(catalog.acquire("gather", "b", LONG).await.unwrap(), None);
        assert_eq!(catalog.apply_guarded(&lease, &story(1)).await.unwrap(), Guarded::Written);
    });
}

//! Gathering as the page and the interface have it.

use api::port::{CallGathering, GatherAnswer, GatherError, Gathering, StandingAnswer};
use model::{CallId, TenantId};

use super::{CallStands, GatherLink, NoAnswer, Wish};

impl Gathering for GatherLink {
    fn gather(&self, tenant: TenantId, call: CallId) -> GatherAnswer {
        let link = self.clone();
        Box::pin(async move {
            match link.call(tenant, call, Wish::Gather).await {
                Ok(Some(stands)) => Ok(stands.into()),
                Ok(None) => Err(GatherError::NoSuchCall),
                Err(e @ NoAnswer::NotHere) => Err(GatherError::NotHere(e.to_string())),
                Err(e) => Err(GatherError::Unreachable(e.to_string())),
            }
        })
    }

    fn standing(&self, tenant: TenantId, call: CallId) -> StandingAnswer {
        let link = self.clone();
        // Nothing else of a call waits for this: where there is no answer, nothing is said.
        Box::pin(async move { link.call(tenant, call, Wish::Know).await.ok().flatten().map(Into::into) })
    }
}

impl From<CallStands> for CallGathering {
    fn from(stands: CallStands) -> Self {
        let text = stands.describe();
        let CallStands { stage, by, missing, failures, trouble, .. } = stands;
        let missing = missing.into_iter().map(|missing| (missing.what, missing.since)).collect();
        Self { stage, text, by, missing, failures, trouble }
    }
}

//! What other nodes have of a call, for commands of this machine: they ask the process that serves, which has the
//! connections, and read what it fetched.

use std::sync::Arc;

use model::{CallId, TenantId};

use super::call::Own;
use super::{Elsewhere, Found};
use crate::repository::Repository;

/// How much of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// What there is: manifests and logs.
    Words,
    /// Its media too.
    Media,
}

/// The way to it.
#[derive(Clone)]
pub(crate) struct AcrossLink {
    pub(crate) repository: Repository,
    /// None where nothing is fetched.
    pub(crate) elsewhere: Option<Elsewhere>,
}

impl AcrossLink {
    /// What others have of a call. It blocks, with [`Need::Media`] until all of it is here or cannot be had.
    pub(crate) fn find(&self, need: Need, tenant: &TenantId, call: CallId) -> Result<Arc<Found>, String> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(Arc::default()) };
        let own = Own::read(&self.repository, tenant, call).map_err(|e| e.to_string())?;
        let found = own.ask(elsewhere, tenant, call);
        Ok(match need {
            Need::Words => found,
            Need::Media => Arc::new(elsewhere.fetch_all(&found)),
        })
    }
}

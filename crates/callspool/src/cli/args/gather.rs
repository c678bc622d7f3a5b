//! What `callspool gather` takes.

use clap::Args;
use model::{CallId, TenantId};

/// `callspool gather`
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Without a call and without --all it lists what is waited for. With one of them it comes back when that is gathered, or when it waits for something that is missing: then the exit code is 1."
)]
pub(crate) struct GatherArgs {
    /// The call whose segments are to be brought together now, whatever gathering.window says
    #[arg(conflicts_with = "all")]
    pub(crate) call: Option<CallId>,
    /// All calls of which something is missing
    #[arg(long)]
    pub(crate) all: bool,
    /// Owner of the call; else recording.tenant
    #[arg(long, value_name = "NAME", requires = "call")]
    pub(crate) tenant: Option<TenantId>,
    /// Come back at once
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How it stands in the end as a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

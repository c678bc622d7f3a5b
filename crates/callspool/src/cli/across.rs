//! A call for commands that read one: what of it lies here, and what the process that serves has from other nodes.

use std::sync::Arc;
use std::time::Duration;

use model::CallId;

use super::operate::asked_within;
use super::{CliError, file_error};
use crate::config::Config;
use crate::control::Ask;
use crate::elsewhere::{CallAcross, Fetched, Found, Need};
use crate::repository::Repository;

/// How long it may take until it is known what others have.
const SAID_WITHIN: Duration = Duration::from_secs(70);
/// How long until all media are here: hours of a call over a line that is slow.
const FETCHED_WITHIN: Duration = Duration::from_secs(3_600);

/// Reads a call. What of it cannot be had is told, and the rest is read.
pub(super) fn read(
    config: &Config,
    repository: &Repository,
    call: CallId,
    need: Need,
) -> Result<CallAcross, CliError> {
    let what = format!("cannot read the repository {}", repository.describe());
    let directory = repository.find(call).map_err(|e| file_error(&what, &e))?;
    let tenant = directory.as_deref().and_then(|d| d.split('/').next()).and_then(|t| t.parse().ok());
    let tenant = tenant.unwrap_or_else(|| config.recording.tenant.clone());
    let found = if config.tables.peer.is_empty() || config.elsewhere.cache.0 == 0 {
        Found::default()
    } else {
        let patience = if need == Need::Media { FETCHED_WITHIN } else { SAID_WITHIN };
        let asked = asked_within(
            &config.node.data_dir,
            &Ask::Across { need, tenant: tenant.clone(), call },
            patience,
        );
        let refused =
            |text: Vec<String>| CliError::failed("other nodes are not asked", text.join("; "), "try again");
        match asked.and_then(|(answer, _)| answer.across.ok_or_else(|| refused(answer.text))) {
            Ok(found) => found,
            Err(e) => {
                eprintln!("callspool: note: it is not known what other nodes have of the call: {e}");
                Found::default()
            }
        }
    };
    let lender = Arc::new(Fetched::new(&config.node.data_dir));
    let read =
        CallAcross::of(repository, &tenant, call, &found, Some(lender)).map_err(|e| file_error(&what, &e))?;
    let read = read.ok_or_else(|| no_such(repository, call, &found))?;
    Ok(read)
}

/// Says what of a call is missing.
pub(super) fn tell_missing(call: &CallAcross) {
    for missing in &call.missing {
        eprintln!("callspool: note: {}", super::text::clean(&missing.describe()));
    }
}

fn no_such(repository: &Repository, call: CallId, found: &Found) -> CliError {
    let silent: Vec<String> = found.silent.iter().map(|silent| silent.describe()).collect();
    let why = match silent.is_empty() {
        true => format!("it is not in {}", repository.describe()),
        false => format!("it is not in {}; {}", repository.describe(), silent.join("; ")),
    };
    CliError::failed(
        format!("there is no call {call}"),
        why,
        "see `callspool ls` for the calls that there are",
    )
}

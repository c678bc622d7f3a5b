//! `callspool doctor`: whether this machine can record as it is configured, and what to do where it cannot.
//!
//! Each check is tried, not guessed: ports are bound, a file is written, a packet is sent to ourselves. Nothing
//! is left behind and nothing is changed.

mod host;
mod kernel;
mod machine;
mod owner;
mod places;
mod secrets;
mod storage;
mod tls;
mod webhooks;

use std::io::{self, Write};

use serde_json::json;

use super::args::DoctorArgs;
use super::{CliError, Outcome};
use crate::config::Loaded;

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    /// As it should be.
    Good,
    /// It works, but not as well as it could, or not in every case.
    Warning,
    /// It will not work.
    Failure,
}

/// A check, done.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Check {
    verdict: Verdict,
    /// What was looked at.
    what: String,
    /// What was found.
    found: String,
    /// What to do, unless all is well.
    todo: String,
}

impl Check {
    fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, what: what.into(), found: found.into(), todo: String::new() }
    }

    fn warning(what: impl Into<String>, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, what: what.into(), found: found.into(), todo: todo.into() }
    }

    fn failure(what: impl Into<String>, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failure, what: what.into(), found: found.into(), todo: todo.into() }
    }
}

/// Looks at everything.
pub(super) fn run(loaded: &Loaded, args: &DoctorArgs, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let config = &loaded.config;
    let source =
        loaded.file.as_ref().map_or_else(|| "the embedded default".to_owned(), |f| f.display().to_string());
    let mut checks = vec![Check::good("configuration", source)];
    checks.extend(machine::checks(config));
    checks.extend(host::checks(config));
    checks.extend(kernel::checks(config));
    checks.extend(places::checks(config));
    checks.extend(tls::checks(config));
    checks.extend(secrets::checks(config));
    checks.extend(webhooks::checks(config));
    checks.iter().try_for_each(|check| tell(out, check, args.json)).map_err(CliError::output)?;
    let failed = checks.iter().any(|c| c.verdict == Verdict::Failure);
    Ok(if failed { Outcome::Failed } else { Outcome::Ok })
}

fn tell(out: &mut dyn Write, check: &Check, as_json: bool) -> io::Result<()> {
    let verdict = match check.verdict {
        Verdict::Good => "ok",
        Verdict::Warning => "warning",
        Verdict::Failure => "failure",
    };
    if as_json {
        let object =
            json!({"check": check.what, "verdict": verdict, "found": check.found, "todo": check.todo});
        return writeln!(out, "{object}");
    }
    let todo = if check.todo.is_empty() { String::new() } else { format!("; {}", check.todo) };
    writeln!(out, "{verdict:<8} {}: {}{todo}", check.what, check.found)
}

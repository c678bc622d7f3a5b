//! How commands end: with an exit code, and where they failed with one line that says what to do.

use std::fmt;
use std::process::ExitCode;

use crate::config::Problem;

/// How a command that did its work came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// As asked.
    Ok,
    /// It found or met what must be told by the exit code; what it was is on standard output already.
    Failed,
}

/// A command that could not do its work: what, why, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CliError {
    what: String,
    why: String,
    todo: String,
    code: u8,
}

/// Something failed.
const FAILED: u8 = 1;
/// The command line or the configuration is wrong; clap uses the same code.
const USAGE: u8 = 2;

/// What a shell shows for a process that ended by SIGPIPE (128 + 13).
const SILENT: u8 = 141;

impl CliError {
    /// Something failed that may succeed another time. Exit code 1.
    pub(crate) fn failed(what: impl Into<String>, why: impl fmt::Display, todo: impl Into<String>) -> Self {
        Self { what: what.into(), why: one_line(&why), todo: todo.into(), code: FAILED }
    }

    /// The command line or the configuration is wrong. Exit code 2.
    pub(crate) fn usage(what: impl Into<String>, why: impl fmt::Display, todo: impl Into<String>) -> Self {
        Self { what: what.into(), why: one_line(&why), todo: todo.into(), code: USAGE }
    }

    /// What is wrong with a configuration; of several things all but the last are told right away. Exit code 2.
    pub(crate) fn of_problems(mut problems: Vec<Problem>) -> Self {
        let last = problems.pop();
        for problem in problems {
            eprintln!("callspool: {problem}");
        }
        match last {
            Some(p) => Self::usage(p.place, p.why, p.todo),
            None => Self::usage("the configuration", "a default cannot be read", "report this"),
        }
    }

    /// Standard output cannot be written to. That its reader has seen enough (`callspool ls | head`) is no
    /// error worth a line.
    pub(crate) fn output(error: std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::BrokenPipe { SILENT } else { FAILED };
        Self { code, ..Self::failed("cannot write the output", error, "check where it goes to") }
    }

    /// Whether nothing is to be said.
    #[must_use]
    pub(crate) fn is_silent(&self) -> bool {
        self.code == SILENT
    }

    /// The code that the process ends with.
    #[must_use]
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "callspool: {}: {}; {}", self.what, self.why, self.todo)
    }
}

impl std::error::Error for CliError {}

/// Errors of libraries may have several lines; one is shown.
fn one_line(why: &impl fmt::Display) -> String {
    let text = why.to_string();
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A failed operation on a file or directory, with the cure that fits the cause.
pub(crate) fn file_error(what: impl Into<String>, error: &std::io::Error) -> CliError {
    use std::io::ErrorKind;
    let todo = match error.kind() {
        ErrorKind::NotFound => "name one that exists",
        ErrorKind::PermissionDenied => "run as the user that owns it, or change its permissions",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space",
        ErrorKind::ReadOnlyFilesystem => "choose a place that can be written to",
        _ => "check the disk and the path",
    };
    CliError::failed(what, error, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_it_is_made_of() {
        let error = CliError::failed("cannot open x", "line one\n  line two\n", "do this");
        assert_eq!(error.to_string(), "callspool: cannot open x: line one, line two; do this");
        let denied = file_error("cannot read /x", &std::io::ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().contains("permission") && !denied.to_string().contains('\n'));
    }
}

//! Log lines on standard error, as `[log]` says. Set up once, before anything else is started.

use tracing_subscriber::EnvFilter;

use crate::cli::CliError;
use crate::config::{LogConfig, LogFormat};

/// Begins to log.
pub(crate) fn start(config: &LogConfig) -> Result<(), CliError> {
    let wrong = |why: String| {
        CliError::usage("cannot log as log.level says", why, "give error, warn, info, debug or trace")
    };
    let filter = EnvFilter::builder().parse(&config.level).map_err(|e| wrong(e.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let begun = match config.format {
        LogFormat::Text => {
            let colors = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colors).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().try_init(),
    };
    begun.map_err(|e| wrong(e.to_string()))
}

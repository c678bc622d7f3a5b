//! Log lines on standard error, as `[log]` says. Set up once, before anything else is started; the level can be
//! changed while it runs.

use tracing_subscriber::EnvFilter;

use crate::cli::CliError;
use crate::config::{LogConfig, LogFormat};

/// Changes the level of a log that runs.
pub(crate) struct LogLevel(Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>);

impl LogLevel {
    /// From now on.
    pub(crate) fn set(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::builder().parse(level).map_err(|e| e.to_string())?;
        self.0(filter)
    }
}

/// Begins to log.
pub(crate) fn start(config: &LogConfig) -> Result<LogLevel, CliError> {
    let wrong = |why: String| {
        CliError::usage("cannot log as log.level says", why, "give error, warn, info, debug or trace")
    };
    let filter = EnvFilter::builder().parse(&config.level).map_err(|e| wrong(e.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let (begun, level) = match config.format {
        LogFormat::Text => {
            let colors = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let lines = lines.with_ansi(colors).with_target(false).with_filter_reloading();
            let handle = lines.reload_handle();
            let set = move |filter| handle.reload(filter).map_err(|e| e.to_string());
            (lines.try_init(), LogLevel(Box::new(set)))
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let handle = lines.reload_handle();
            let set = move |filter| handle.reload(filter).map_err(|e| e.to_string());
            (lines.try_init(), LogLevel(Box::new(set)))
        }
    };
    begun.map_err(|e| wrong(e.to_string()))?;
    Ok(level)
}

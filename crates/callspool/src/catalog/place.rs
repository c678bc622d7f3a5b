//! Where the catalog is that the configuration names, with the password that its file has.

use std::time::Duration;

use store::Place;

use crate::cli::CliError;
use crate::config::{Config, Problem};
use crate::patience::within;
use crate::private_text::private_text;

/// How long the disk of the password may take: nothing records yet.
const READ: Duration = Duration::from_secs(5);

/// The server of `catalog.url`, else the file `catalog.path`.
pub(crate) fn place(config: &Config) -> Result<Place, CliError> {
    let Some(settings) = config.catalog.url.settings() else {
        return Ok(Place::from(&config.catalog.path));
    };
    let path = config.catalog.password_file.clone();
    if path.as_os_str().is_empty() {
        return Ok(settings.clone().into());
    }
    let what = format!("catalog.password_file {}", path.display());
    let silent = || ("its disk does not answer".to_owned(), "look after its disk".to_owned());
    let read = within(READ, move || private_text(&path)).unwrap_or_else(|| Err(silent()));
    let text = read.map_err(|(why, todo)| CliError::of_problems(vec![Problem::new(what, why, todo)]))?;
    // One line, as editors end files with a line break.
    Ok(settings.clone().with_password(text.trim_end_matches(['\r', '\n'])).into())
}

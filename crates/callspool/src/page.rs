//! The HTTP side of this process: the socket, the token, and what `api` needs from the rest.

use std::sync::Arc;

use api::{ApiConfig, ApiState, LiveCalls, Ports, Token};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::audio::Recordings;
use crate::catalog::CatalogLink;
use crate::cli::CliError;
use crate::config::Config;
use crate::live_calls::LiveLink;
use crate::repository::Repository;

/// Binds the address and serves until told to stop.
pub(crate) async fn start(
    config: &Config,
    repository: &Repository,
    catalog: &CatalogLink,
    live: Option<LiveLink>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), CliError> {
    let address = config.api.listen;
    let listener = TcpListener::bind(address).await.map_err(|e| {
        let todo = "stop what uses the address, or choose another in api.listen";
        CliError::failed(format!("cannot serve the page on {address}"), e, todo)
    })?;
    let text = crate::token::load_or_create(&config.api.token_file)?;
    let token = Token::new(&text)
        .map_err(|e| CliError::failed("cannot use the token file", e, "remove it, and a new one is made"))?;
    let settings = ApiConfig {
        tenant: config.recording.tenant.clone(),
        token,
        allowed_hosts: config.api.allowed_hosts.clone(),
    };
    let ports = Ports {
        catalog: Arc::clone(&catalog.reader),
        writer: Some(catalog.handle.clone()),
        audio: Arc::new(Recordings::new(repository.clone())),
        live: live.map(|link| -> Arc<dyn LiveCalls> { Arc::new(link) }),
    };
    let app = api::router(ApiState::new(settings, ports));
    tracing::info!("page http://{address}/ (its token is in {})", config.api.token_file.display());
    tokio::spawn(async move {
        let stopped = async move {
            let _ = stop.wait_for(|s| *s).await;
        };
        if let Err(e) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
            tracing::error!("the page is not served any more: {e}");
        }
    });
    Ok(())
}

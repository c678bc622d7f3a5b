//! Reaching another node: its address is looked up and connected to, and TLS shows that it is the one that was meant.
//!
//! Each step has its deadline. What it is called is looked up at each attempt; a look-up that does not end is waited
//! for, as its thread would be there all the same, and told of meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use model::PeerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::server_name;
use crate::credentials::Credentials;
use crate::socket;
use crate::trouble::of_io;

/// For a connection by TCP, to each address: nodes of a cluster are some milliseconds apart.
const CONNECT: Duration = Duration::from_secs(1);
/// From there until it has said who it is: a node that is just starting is busy.
pub(crate) const GREETING: Duration = Duration::from_secs(2);
/// The first pause between attempts: a node that was started again is missed for no longer than it needs to start.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest one. What lasted longer was a connection: the next pause is the first again.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Addresses that a name has: two families, two networks.
const ADDRESSES_MAX: usize = 4;

/// A connection by TCP. `slow` is told of a look-up that takes long; what it refuses ends the attempt.
pub(crate) async fn connect<F>(address: &str, slow: impl FnOnce(String) -> F) -> Result<TcpStream, String>
where
    F: Future<Output = Result<(), String>>,
{
    let mut why = format!("{address} has no address");
    for address in look_up(address, slow).await?.into_iter().take(ADDRESSES_MAX) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address} does not answer within {} s", CONNECT.as_secs()),
        }
    }
    Err(why)
}

async fn look_up<F>(address: &str, slow: impl FnOnce(String) -> F) -> Result<Vec<SocketAddr>, String>
where
    F: Future<Output = Result<(), String>>,
{
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let mut looking = Box::pin(tokio::net::lookup_host(address));
    let found = match timeout(CONNECT, &mut looking).await {
        Ok(found) => found,
        Err(_) => {
            slow(format!("{address} is still being looked up: do the name servers answer?")).await?;
            looking.await
        }
    };
    Ok(found.map_err(|error| format!("{address}: {error}"))?.collect())
}

/// The same within TLS, on which both have proved who they are.
pub(crate) async fn secure(
    stream: TcpStream,
    own: &Credentials,
    name: &PeerName,
) -> Result<TlsStream<TcpStream>, String> {
    socket::prepare(&stream).map_err(|error| of_io(&error))?;
    let expected = server_name(name)
        .ok_or_else(|| format!("'{name}' cannot be in a certificate: give it another name"))?;
    let stream = TlsConnector::from(own.client()).connect(expected, stream).await;
    stream.map_err(|error| of_io(&error))
}

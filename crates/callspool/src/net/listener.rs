//! A listener of any transport over TCP: accepts for ever, whatever `accept` says.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sip::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::config::Stay;
use super::connections::TaskEvent;

/// When descriptors or memory are used up, accepting again at once would spin; the peers wait in the backlog.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// Connections that the kernel completes before we accept them: a burst of reconnecting phones.
const BACKLOG: i32 = 1_024;

/// Binds and listens. The address may be in TIME_WAIT from a former run.
pub(super) fn bind(address: SocketAddr, stay: Stay) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    stay.allow(&socket, address)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Hands accepted connections to the owner, until the owner is gone.
pub(super) async fn accept(listener: TcpListener, transport: Transport, events: mpsc::Sender<TaskEvent>) {
    loop {
        let event = match listener.accept().await {
            Ok((stream, remote)) => TaskEvent::Accepted { transport, stream, remote },
            Err(error) => {
                if !is_passing(&error) {
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
                TaskEvent::AcceptFailed { error }
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Whether only this one connection failed (man 2 accept). Everything else lasts until something is freed or
/// mended.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

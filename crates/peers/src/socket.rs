//! What the socket of a link is told, at both ends.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

/// How long what was sent may be unanswered by the kernel at the other end before the connection is given up (RFC
/// 5482). A machine that lost its power or its network says nothing; TCP by itself would wait for a quarter of an
/// hour. Beats come ten times a second, so there is always something unanswered then.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// Orders are small and must not wait for one another; and an end that is gone is noticed.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_user_timeout(Some(UNANSWERED_MAX))
}

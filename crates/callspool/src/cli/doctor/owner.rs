//! Who has a port, as the kernel lists it in /proc: the socket's inode, then the process that holds it.

use std::io::BufRead;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};

/// How /proc/net writes a TCP socket that listens.
const LISTENING: &str = "0A";

/// The process that answers on this control socket, where there is one and this user may ask it.
pub(super) fn serving(control: &Path) -> Option<i32> {
    let connection = UnixStream::connect(control).ok()?;
    getsockopt(&connection, sockopt::PeerCredentials).ok().map(|c| c.pid())
}

/// The id and name of a process that has this port open, where this user may see it.
pub(super) fn of_port(proc: &Path, port: u16) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["udp", "udp6", "tcp", "tcp6"]
        .iter()
        .flat_map(|table| inodes(&proc.join("net").join(table), port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = std::fs::read_dir(proc).ok()?.flatten();
    processes.filter_map(|p| Some((p.file_name().to_str()?.parse().ok()?, p.path()))).find_map(
        |(id, path): (u32, _)| {
            let sockets = std::fs::read_dir(path.join("fd")).ok()?.flatten();
            let ours = |link: &Path| {
                let text = link.to_string_lossy();
                let inode = text.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']'));
                inode.is_some_and(|i| inodes.iter().any(|o| o == i))
            };
            let holds = sockets.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|link| ours(&link));
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            holds.then(|| (id, name.trim().to_owned()))
        },
    )
}

/// Inodes of the sockets in a table that receive on a port: column 2 is `address:port`, 4 the state, 10 the inode.
fn inodes(table: &Path, port: u16) -> Vec<String> {
    let Ok(file) = std::fs::File::open(table) else { return Vec::new() };
    let is_tcp = table.file_name().is_some_and(|n| n.to_string_lossy().starts_with("tcp"));
    let hex = format!("{port:04X}");
    let inode = |line: String| {
        let mut columns = line.split_whitespace().skip(1);
        let (_, local) = columns.next()?.rsplit_once(':')?;
        let state = columns.nth(1)?;
        let inode = columns.nth(5)?;
        (local == hex && (!is_tcp || state == LISTENING)).then(|| inode.to_owned())
    };
    std::io::BufReader::new(file).lines().map_while(Result::ok).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_from_a_data_directory_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        assert_eq!(serving(&socket), None);
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(serving(&socket), i32::try_from(std::process::id()).ok());
        drop(listener);
        assert_eq!(serving(&socket), None, "a socket that a crash left");
    }

    #[test]
    fn the_process_behind_a_port_is_found() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        for port in [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()] {
            let (id, _) = of_port(Path::new("/proc"), port).expect("its owner");
            assert_eq!(id, std::process::id());
        }
        drop(tcp);
        assert_eq!(of_port(Path::new("/nowhere"), 1), None);
    }
}

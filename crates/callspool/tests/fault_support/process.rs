//! The server's process as the kernel sees it.

use std::path::Path;

use crate::support::server::Server;

/// The id of the process that serves from this directory.
pub fn id_of(server: &Server) -> u32 {
    let mark = format!("CALLSPOOL_NODE__DATA_DIR={}", server.state().display());
    let is_it = |process: &Path| {
        let read = |name: &str| std::fs::read(process.join(name)).unwrap_or_default();
        let fields = |bytes: Vec<u8>| bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect::<Vec<_>>();
        fields(read("cmdline")).get(1).is_some_and(|a| a == b"serve")
            && fields(read("environ")).iter().any(|v| v == mark.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let numbered = |e: std::fs::DirEntry| Some((e.file_name().to_str()?.parse().ok()?, e.path()));
    let found = entries.filter_map(numbered).find(|(_, path)| is_it(path));
    found.map(|(id, _): (u32, _)| id).expect("the server's process")
}

/// Its resident memory in KiB.
pub fn resident_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process is there");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Its open descriptors.
pub fn descriptors(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).expect("the process is there").count()
}

/// The UDP sockets among them.
pub fn sockets(server: &Server) -> usize {
    let id = id_of(server);
    let links = std::fs::read_dir(format!("/proc/{id}/fd")).expect("the process is there").flatten();
    let inodes: Vec<String> = links
        .filter_map(|e| {
            Some(
                std::fs::read_link(e.path())
                    .ok()?
                    .to_str()?
                    .strip_prefix("socket:[")?
                    .trim_end_matches(']')
                    .to_owned(),
            )
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/udp").expect("/proc/net/udp");
    let inode = |line: &str| line.split_whitespace().nth(9).map(str::to_owned);
    table.lines().skip(1).filter_map(inode).filter(|inode| inodes.contains(inode)).count()
}

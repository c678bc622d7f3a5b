//! Started as root, it becomes somebody else before it opens anything, and can still bind a port below 1024.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "all of this is test code")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use support::program::Program;
use support::server::Server;
use support::{PATIENCE, http, wait_until};

/// In every user database, and the owner of nothing.
const USER: &str = "nobody";
/// A loopback address that nobody else uses, with a port that only root may bind.
const LOW: &str = "127.7.7.7:987";

#[test]
fn root_becomes_the_user_that_is_named() {
    becomes_the_user("sockets");
}

/// The power to read all packets is gone when the rings are open.
#[test]
fn root_becomes_the_user_that_is_named_and_opens_rings_of_packets() {
    becomes_the_user("packet_ring");
}

fn becomes_the_user(source: &str) {
    assert!(nix::unistd::geteuid().is_root(), "this test gives up root, so it needs it");
    let user = nix::unistd::User::from_name(USER).unwrap().expect("the user nobody");
    let low = if source == "sockets" { LOW } else { "127.7.7.8:987" };
    let server = Server::prepare(&[("NODE__USER", USER), ("SIP__TCP", low), ("MEDIA__SOURCE", source)]);
    // Its directory is root's, and closed.
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(server.directory(), open).unwrap();
    let configuration = server.directory().join("callspool.toml");
    std::fs::set_permissions(configuration, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = server.command();
    command.arg("serve");
    let mut program = Program::start(command, &server.directory().join("as-nobody.log"));
    wait_until("an answer", PATIENCE, || match http::get(&server.http_address(), "/healthz", &[]) {
        // The page is there before the sockets of SIP are, and before rings of packets are open.
        Ok(response) if response.status == 200 && program.output().contains(" is ready") => Ok(()),
        other => Err(format!("{:?}: {}", other.map(|r| r.status), program.output())),
    });
    std::net::TcpStream::connect(low).expect("a connection to the port below 1024");
    for task in std::fs::read_dir(format!("/proc/{}/task", program.id())).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
        assert!(field("Uid:").iter().all(|id| *id == uid), "{status}");
        assert!(field("Gid:").iter().all(|id| *id == gid), "{status}");
        assert!(field("Groups:").iter().all(|id| *id == gid), "{status}");
        // CAP_NET_BIND_SERVICE is the tenth.
        for set in ["CapEff:", "CapPrm:"] {
            assert_eq!(u64::from_str_radix(&field(set)[0], 16), Ok(1 << 10), "{status}");
        }
    }
    // No core dump: what the kernel shows of a process that must not be dumped belongs to root (proc(5)), and the limit is 0.
    let of_kernel = format!("/proc/{}", program.id());
    assert_eq!(std::fs::metadata(format!("{of_kernel}/maps")).unwrap().uid(), 0);
    let limits = std::fs::read_to_string(format!("{of_kernel}/limits")).unwrap();
    let core: Vec<_> =
        limits.lines().find(|l| l.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    // It still sees its own descriptors.
    let token = std::fs::read_to_string(server.state().join("token")).unwrap();
    let bearer = format!("Bearer {}", token.trim());
    let metrics =
        http::get(&server.http_address(), "/metrics", &[("Authorization", &bearer)]).unwrap().text();
    assert!(metrics.contains("process_open_fds "), "{metrics}");
    let way = format!("callspool_media_source{{source=\"{source}\"}} 1");
    if program.output().contains("is not to be had") {
        println!("NOT TRIED over {source}");
    } else {
        assert!(metrics.contains(&way), "{way} in {metrics}");
    }
    for file in ["", "token", "catalog.db", "repository"] {
        let owner = std::fs::metadata(server.state().join(file)).unwrap().uid();
        assert_eq!(owner, user.uid.as_raw(), "of {file}");
    }
    program.terminate();
    assert_eq!(program.wait(PATIENCE).code(), Some(0), "{}", program.output());
}

#[test]
fn a_user_that_cannot_be_is_refused_before_anything_is_opened() {
    let server = Server::prepare(&[("NODE__USER", "no-such-user")]);
    let done = server.callspool(&["serve"]);
    assert_eq!(done.code, Some(2), "{}", done.err);
    assert!(
        done.err.contains("node.user: there is no user no-such-user; make it, or name another"),
        "{}",
        done.err
    );
    assert!(!server.state().exists());
}

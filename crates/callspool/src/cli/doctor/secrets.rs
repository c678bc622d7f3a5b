//! What might show keys of media: core dumps, swap, signalling and an interface that others can read.

use std::path::Path;

use super::Check;
use crate::config::{AskEncryption, Config, KeysFrom, TrunkTransport};

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let mut checks = vec![core_dumps(config), swap(Path::new("/"))];
    checks.extend(trunks(config));
    checks
}

fn core_dumps(config: &Config) -> Check {
    let what = "core dumps";
    if config.node.core_dumps {
        let todo = "take node.core_dumps out when the fault is found, and remove the dumps";
        return Check::warning(what, "allowed: one would hold keys of media and what is said", todo);
    }
    Check::good(what, "callspool forbids them")
}

/// What the kernel writes memory to, a line each behind the head: name, kind, size, used, priority (proc_swaps(5)).
fn swap(root: &Path) -> Check {
    let what = "swap";
    let text = std::fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    let names = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let open: Vec<&str> = names.filter(|name| !is_safe(root, name)).collect();
    if open.is_empty() {
        return Check::good(what, "none, or none that can be read later");
    }
    Check::warning(
        what,
        format!("{}: keys of media and what is said may lie there in the clear", open.join(", ")),
        "encrypt it, or keep callspool out of it: its unit says MemorySwapMax=0; swapoff, where it runs without",
    )
}

/// Whether it is in memory (zram), or encrypted by the kernel (dm-crypt).
fn is_safe(root: &Path, name: &str) -> bool {
    let path = root.join(name.trim_start_matches('/'));
    // Names such as /dev/mapper/swap are links to dm-0.
    let path = path.canonicalize().unwrap_or(path);
    let Some(device) = path.file_name().and_then(|n| n.to_str()) else { return false };
    let uuid = std::fs::read_to_string(root.join("sys/block").join(device).join("dm/uuid"));
    device.starts_with("zram") || uuid.is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

/// Trunks whose settings send keys where others may read them, or nowhere.
fn trunks(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    for (name, trunk) in &config.tables.trunk {
        let is_secure = |t: &TrunkTransport| matches!(t, TrunkTransport::Tls | TrunkTransport::Wss);
        let in_clear = trunk.transports.is_empty() || !trunk.transports.iter().all(is_secure);
        let what = format!("keys of trunk {name}");
        if trunk.ask_encrypted == AskEncryption::Sdes && in_clear {
            checks.push(Check::warning(
                what.clone(),
                "ask_encrypted = \"sdes\" puts keys into signalling, and it may come in the clear",
                "have it send SIP over TLS, and say so: transports = [\"tls\"]; or ask for \"dtls\"",
            ));
        }
        if trunk.keys == KeysFrom::Sdp {
            continue;
        }
        checks.push(match config.api.listen.ip().is_loopback() {
            true => Check::good(what, "by the interface, on this machine or through a proxy"),
            false => Check::warning(
                what,
                format!("they come by the interface, which has no TLS of its own on {}", config.api.listen),
                "listen on loopback, with a proxy with TLS before it",
            ),
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::Surroundings;

    fn root(swaps: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("proc/swaps", format!("Filename Type Size Used Priority\n{swaps}").as_str()),
            ("sys/block/dm-0/dm/uuid", "CRYPT-PLAIN-swap\n"),
            ("sys/block/dm-1/dm/uuid", "LVM-abc\n"),
            ("dev/dm-0", ""),
        ] {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(root.path().join("dev/mapper")).unwrap();
        std::os::unix::fs::symlink("../dm-0", root.path().join("dev/mapper/swap")).unwrap();
        root
    }

    #[test]
    fn swap_that_can_be_read_later_is_told_of() {
        for (swaps, open) in [
            ("", None),
            (
                "/dev/zram0 partition 1 0 5\n/dev/dm-0 partition 1 0 -2\n/dev/mapper/swap partition 1 0 -2\n",
                None,
            ),
            ("/dev/dm-1 partition 1 0 -2\n", Some("/dev/dm-1")),
            ("/dev/sda2 partition 1 0 -2\n/swapfile file 1 0 -3\n", Some("/dev/sda2, /swapfile")),
        ] {
            let check = swap(root(swaps).path());
            assert_eq!(check.verdict == Verdict::Warning, open.is_some(), "{check:?}");
            assert!(open.is_none_or(|open| check.found.starts_with(open)), "{check:?}");
        }
        assert_eq!(swap(Path::new("/nonexistent")).verdict, Verdict::Good);
    }

    fn verdicts(settings: &[(&str, &str)]) -> Vec<Verdict> {
        let directory = tempfile::tempdir().unwrap();
        let variable = |(name, value): &(&str, &str)| (format!("CALLSPOOL_{name}"), (*value).to_owned());
        let around = Surroundings {
            variables: settings.iter().map(variable).collect(),
            directory: directory.path().to_owned(),
            ..Surroundings::of_process()
        };
        let config = crate::config::load(None, &around).unwrap().config;
        [core_dumps(&config)].into_iter().chain(trunks(&config)).map(|check| check.verdict).collect()
    }

    #[test]
    fn settings_that_show_keys_are_told_of() {
        let (good, warning) = (Verdict::Good, Verdict::Warning);
        assert_eq!(verdicts(&[]), [good]);
        assert_eq!(verdicts(&[("NODE__CORE_DUMPS", "true")]), [warning]);
        let from = ("TRUNK__A__FROM", "192.0.2.7");
        let (sdes, keys) = (("TRUNK__A__ASK_ENCRYPTED", "sdes"), ("TRUNK__A__KEYS", "api"));
        assert_eq!(verdicts(&[from, sdes, keys]), [good, warning, good]);
        assert_eq!(verdicts(&[from, sdes, ("TRUNK__A__TRANSPORTS", "tls, udp")]), [good, warning]);
        assert_eq!(verdicts(&[from, sdes, ("TRUNK__A__TRANSPORTS", "tls, wss")]), [good]);
        let open = [("API__LISTEN", "0.0.0.0:8080"), ("API__ALLOWED_HOSTS", "rec.example")];
        assert_eq!(verdicts(&[&[from, keys], &open[..]].concat()), [good, warning]);
    }
}

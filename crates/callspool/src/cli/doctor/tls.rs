//! What TLS needs: certificates and keys that can be read and fit, for long enough, by nobody else.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::Check;
use crate::certificates::{self, EXPIRES_SOON, Renewable as _};
use crate::config::Config;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    let what = "TLS certificates";
    let loaded = match certificates::load(config) {
        // Nothing is listened on with TLS: the configuration would have been refused.
        Ok(None) => return Vec::new(),
        Ok(Some(loaded)) => loaded,
        Err(e) => return vec![Check::failure(what, e.to_string(), "no TLS connection is made until then")],
    };
    let mut checks = vec![valid(loaded.valid_for(crate::clock::wall()))];
    if !config.tls.key.as_os_str().is_empty() {
        checks.push(private(&config.tls.key));
    }
    checks
}

fn valid(left: Option<Duration>) -> Check {
    let what = "TLS certificates";
    let days = left.map(|left| left.as_secs() / 86_400);
    match (left, days) {
        (Some(Duration::ZERO), _) => Check::failure(
            what,
            "ours has expired",
            "renew it: peers refuse it; a new file is read by itself",
        ),
        (Some(left), Some(days)) if left <= EXPIRES_SOON => Check::warning(
            what,
            format!("ours expires in {days} days"),
            "see why it is not renewed; a new file is read by itself",
        ),
        (_, Some(days)) => Check::good(what, format!("read, and they fit; ours is valid for {days} days")),
        (_, None) => Check::good(what, "authorities are read; we have none of our own"),
    }
}

/// A key that others read is everybody's. It is used all the same: whose group it is, only the operator knows.
fn private(key: &Path) -> Check {
    let what = format!("TLS key {}", key.display());
    match std::fs::metadata(key).map(|m| m.mode() & 0o777) {
        Ok(mode) if mode & 0o007 != 0 => Check::warning(
            what,
            format!("everybody can read it (mode {mode:04o})"),
            format!("chmod o= {}, and take another key", key.display()),
        ),
        Ok(_) => Check::good(what, "not for everybody to read"),
        Err(e) => Check::failure(what, e.to_string(), "let this user read it"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_certificate_is_valid_or_soon_not_or_not() {
        let days = |n: u64| valid(Some(Duration::from_secs(n * 86_400))).verdict;
        assert_eq!((days(90), days(13), days(0)), (Verdict::Good, Verdict::Warning, Verdict::Failure));
        assert_eq!(valid(None).verdict, Verdict::Good);
    }

    #[test]
    fn files_that_cannot_be_used_are_told_of_and_none_needs_none() {
        let around = crate::config::Surroundings::of_process();
        let mut config = Config::embedded(&around).unwrap();
        assert_eq!(checks(&config), []);
        config.tls.certificate = "/nonexistent/chain.pem".into();
        config.tls.key = "/nonexistent/key.pem".into();
        let told = checks(&config);
        assert!(
            matches!(&told[..], [c] if c.verdict == Verdict::Failure && c.found.contains("chain.pem")),
            "{told:?}"
        );
    }

    #[test]
    fn a_key_is_not_for_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key.pem");
        std::fs::write(&key, "x").unwrap();
        let with = |mode| {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            private(&key).verdict
        };
        assert_eq!((with(0o600), with(0o640), with(0o644)), (Verdict::Good, Verdict::Good, Verdict::Warning));
        assert_eq!(private(Path::new("/nonexistent")).verdict, Verdict::Failure);
    }
}

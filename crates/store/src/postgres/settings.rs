//! Which server, whose database, as who: from a URL, as PostgreSQL's own programs take it.
//!
//! ```text
//! postgres://callspool@db1.example:5432,db2.example:5432/callspool?sslrootcert=/etc/callspool/db-ca.pem
//! postgres:///callspool?host=/run/postgresql
//! ```
//!
//! Of several hosts the one that takes writes is looked for. What is said over a network is encrypted and the server's
//! certificate verified, unless the URL says otherwise. A password is best kept in a file, or in `PGPASSWORD`; it is never
//! shown.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Where PostgreSQL listens.
const PORT: u16 = 5_432;
/// A primary and its standbys: nobody has more, and each may cost a deadline when it does not answer.
const HOSTS_MAX: usize = 8;
/// Statements that stay prepared: 27 kinds of the writer in four lengths (`bulk`), and some thirty others.
const STATEMENTS: usize = 256;

/// Which server, whose database, as who.
#[derive(Clone)]
pub struct PostgresSettings {
    hosts: Vec<Host>,
    database: String,
    user: Option<String>,
    password: Option<String>,
    ssl_mode: Option<PgSslMode>,
    ssl_root_cert: Option<String>,
}

/// A server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    /// A name, an address, or the directory of a socket.
    name: String,
    port: u16,
}

/// Text that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Another scheme, or none.
    #[error("the address of a catalog on PostgreSQL begins with postgres://")]
    Scheme,
    /// No database is named.
    #[error("the address of the catalog names no database: postgres://user@host/DATABASE")]
    NoDatabase,
    /// What is no host, or too many.
    #[error("'{0}' is no host: NAME, NAME:PORT or [IPV6]:PORT, several divided by commas, 8 at most")]
    Host(String),
    /// `%` without two hexadecimal digits behind it.
    #[error("a '%' in the address of the catalog must be followed by two hexadecimal digits")]
    Percent,
    /// A parameter that is not known, or has no such value.
    #[error(
        "'{0}' is not understood: sslmode=disable|require|verify-ca|verify-full, sslrootcert=FILE, host=DIRECTORY, \
         port=NUMBER"
    )]
    Parameter(String),
}

impl PostgresSettings {
    /// With this password, whatever the URL says.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Whether it has one.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        self.password.is_some()
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// How to connect with a host. What is not said comes from the environment, as for PostgreSQL's own programs.
    pub(crate) fn options(&self, host: &Host) -> PgConnectOptions {
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&host.name)
            .port(host.port)
            .database(&self.database)
            .ssl_mode(self.ssl_mode.unwrap_or_else(|| host.ssl_mode()))
            .application_name("callspool")
            .statement_cache_capacity(STATEMENTS);
        if let Some(user) = &self.user {
            options = options.username(user);
        }
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if let Some(file) = &self.ssl_root_cert {
            options = options.ssl_root_cert(file);
        }
        options
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        let bad = || SettingsError::Host(text.chars().take(80).collect());
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or_else(bad)?;
                (address, port.strip_prefix(':').or_else(|| port.is_empty().then_some("")).ok_or_else(bad)?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let port = if port.is_empty() { PORT } else { port.parse().map_err(|_| bad())? };
        if name.is_empty() || port == 0 { Err(bad()) } else { Ok(Self { name: name.to_owned(), port }) }
    }

    fn is_here(&self) -> bool {
        self.name.starts_with('/')
            || self.name == "localhost"
            || self.name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Encrypted and verified where others could listen.
    fn ssl_mode(&self) -> PgSslMode {
        if self.is_here() { PgSslMode::Disable } else { PgSslMode::VerifyFull }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl FromStr for PostgresSettings {
    type Err = SettingsError;
    fn from_str(url: &str) -> Result<Self, SettingsError> {
        let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
        let rest = rest.ok_or(SettingsError::Scheme)?;
        let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (who, database) = rest.split_once('/').ok_or(SettingsError::NoDatabase)?;
        if database.is_empty() {
            return Err(SettingsError::NoDatabase);
        }
        let (user, hosts) = who.rsplit_once('@').map_or((None, who), |(user, hosts)| (Some(user), hosts));
        let (user, password) = match user {
            Some(user) => user.split_once(':').map_or((Some(user), None), |(u, p)| (Some(u), Some(p))),
            None => (None, None),
        };
        let hosts = hosts.split(',').filter(|host| !host.is_empty()).map(Host::parse);
        let mut settings = Self {
            hosts: hosts.collect::<Result<_, _>>()?,
            database: decoded(database)?,
            user: user.filter(|u| !u.is_empty()).map(decoded).transpose()?,
            password: password.map(decoded).transpose()?,
            ssl_mode: None,
            ssl_root_cert: None,
        };
        settings.take(parameters)?;
        if settings.hosts.is_empty() {
            settings.hosts.push(Host { name: "localhost".to_owned(), port: PORT });
        }
        match settings.hosts.get(HOSTS_MAX) {
            Some(beyond) => Err(SettingsError::Host(beyond.to_string())),
            None => Ok(settings),
        }
    }
}

impl PostgresSettings {
    /// Takes what stands behind the question mark.
    fn take(&mut self, parameters: &str) -> Result<(), SettingsError> {
        let mut port = PORT;
        let mut directories = Vec::new();
        for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
            let bad = || SettingsError::Parameter(parameter.chars().take(80).collect());
            let (key, value) = parameter.split_once('=').ok_or_else(bad)?;
            let value = decoded(value)?;
            match (key, value.as_str()) {
                ("sslmode", "disable") => self.ssl_mode = Some(PgSslMode::Disable),
                ("sslmode", "require") => self.ssl_mode = Some(PgSslMode::Require),
                ("sslmode", "verify-ca") => self.ssl_mode = Some(PgSslMode::VerifyCa),
                ("sslmode", "verify-full") => self.ssl_mode = Some(PgSslMode::VerifyFull),
                ("sslrootcert", _) => self.ssl_root_cert = Some(value),
                ("host", directory) if directory.starts_with('/') => directories.push(value),
                ("port", number) => port = number.parse().map_err(|_| bad())?,
                _ => return Err(bad()),
            }
        }
        self.hosts.extend(directories.into_iter().map(|name| Host { name, port }));
        Ok(())
    }
}

/// Text in which `%41` stands for `A`.
fn decoded(text: &str) -> Result<String, SettingsError> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits: Option<Vec<u8>> = [rest.next(), rest.next()].into_iter().collect();
            let digits = digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit));
            let digits = digits.and_then(|d| String::from_utf8(d).ok()).ok_or(SettingsError::Percent)?;
            octets.push(u8::from_str_radix(&digits, 16).map_err(|_| SettingsError::Percent)?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).map_err(|_| SettingsError::Percent)
}

/// Without the password, which is in no log.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        write!(f, "postgres://{user}{}/{}", hosts.join(","), self.database)
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn what_an_address_says() {
        let check = |url: &str, shown: &str, password: Option<&str>, modes: &[PgSslMode]| {
            let settings: PostgresSettings = url.parse().unwrap();
            assert_eq!(settings.to_string(), shown, "{url}");
            assert_eq!(settings.password.as_deref(), password, "{url}");
            let found: Vec<String> = settings
                .hosts()
                .iter()
                .map(|host| format!("{:?}", settings.options(host).get_ssl_mode()))
                .collect();
            let modes: Vec<String> = modes.iter().map(|mode| format!("{mode:?}")).collect();
            assert_eq!(found, modes, "{url}");
        };
        use PgSslMode::{Disable, Require, VerifyFull};
        check(
            "postgres://spool@a:5433,b/calls",
            "postgres://spool@a:5433,b:5432/calls",
            None,
            &[VerifyFull, VerifyFull],
        );
        check("postgresql:///calls?host=/run/pg&port=7", "postgres:///run/pg:7/calls", None, &[Disable]);
        check(
            "postgres://u:p%40ss@[::1]:6/c?sslmode=require",
            "postgres://u@[::1]:6/c",
            Some("p@ss"),
            &[Require],
        );
        check("postgres://127.0.0.1/c", "postgres://127.0.0.1:5432/c", None, &[Disable]);
        check("postgres:///c", "postgres://localhost:5432/c", None, &[Disable]);
    }

    #[test]
    fn what_is_no_address_says_why() {
        let many = ["a"; 9].join(",");
        for (url, why) in [
            ("mysql://a/b", "begins with"),
            ("postgres://a", "names no database"),
            ("postgres://a/", "names no database"),
            ("postgres://a:x/b", "'a:x' is no host"),
            ("postgres://:5/b", "':5' is no host"),
            ("postgres://[::1/b", "is no host"),
            (&format!("postgres://{many}/b"), "8 at most"),
            ("postgres://a/b?ssl=on", "'ssl=on' is not understood"),
            ("postgres://a/b?sslmode=prefer", "'sslmode=prefer' is not understood"),
            ("postgres://u%4@a/b", "two hexadecimal"),
        ] {
            let error = url.parse::<PostgresSettings>().unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let settings: PostgresSettings = "postgres://u:secret@a/b".parse().unwrap();
        let shown = format!("{settings} {settings:?} {:?}", settings.clone().with_password("hidden"));
        assert!(!shown.contains("secret") && !shown.contains("hidden"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(s in "(postgres://)?[a-z%:@/,?=\\[\\]é]{0,30}") {
            if let Ok(settings) = s.parse::<PostgresSettings>() {
                prop_assert!((1..=HOSTS_MAX).contains(&settings.hosts().len()));
            }
        }
    }
}

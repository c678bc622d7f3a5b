//! The type of the value that says on which server the catalog is.

use store::PostgresSettings;

use super::declare::{Setting, quoted};

/// 2 KiB: eight hosts with long names and a path or two.
const URL_MAX: usize = 2_048;

/// Where PostgreSQL is that has the catalog; nothing where the catalog is a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatalogUrl {
    text: String,
    settings: Option<PostgresSettings>,
}

impl CatalogUrl {
    /// Whether there is a server.
    pub(crate) const fn is_given(&self) -> bool {
        self.settings.is_some()
    }

    /// The server, if there is one.
    pub(crate) const fn settings(&self) -> Option<&PostgresSettings> {
        self.settings.as_ref()
    }
}

impl PartialEq for CatalogUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Setting for CatalogUrl {
    const EXPECTED: &'static str =
        "an address such as \"postgres://callspool@db1.example.com,db2.example.com/callspool\"";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > URL_MAX {
            return Err(format!("it is longer than {URL_MAX} octets"));
        }
        let settings: PostgresSettings = text.parse().map_err(|e: store::SettingsError| e.to_string())?;
        if settings.has_password() {
            // The configuration is shown, printed and mailed.
            return Err(
                "a password stands in it, where others see it: catalog.password_file has it".to_owned()
            );
        }
        Ok(Self { text: text.to_owned(), settings: Some(settings) })
    }

    fn to_toml(&self) -> String {
        quoted(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_server_and_no_password() {
        let url = CatalogUrl::from_text("postgres://spool@db1,db2/calls").unwrap();
        assert!(url.is_given() && url.to_toml() == r#""postgres://spool@db1,db2/calls""#);
        assert!(!CatalogUrl::from_text("").unwrap().is_given());
        for (text, why) in [
            ("db1", "begins with postgres://"),
            ("postgres://db1", "names no database"),
            ("postgres://u:secret@db1/calls", "catalog.password_file"),
        ] {
            let said = CatalogUrl::from_text(text).unwrap_err();
            assert!(said.contains(why) && !said.contains("secret@"), "{said}");
        }
        assert!(CatalogUrl::from_text(&format!("postgres://{}/c", "a".repeat(URL_MAX))).is_err());
    }
}

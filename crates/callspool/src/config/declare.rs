//! The form in which settings are declared: one place says a key's type, default, unit and meaning, and the
//! structs, the loader, the reference in the docs and `check-config` all follow from it.
//!
//! There are two forms. What there is once stands in a section, `[sip]`, declared in [`super::sections`] by
//! [`sections!`](sections). What there can be any number of stands in *named tables*, `[trunk.acme]`, declared
//! in [`super::tables`] by [`tables!`](tables):
//!
//! ```text
//! tables! {
//!     /// Where events are posted as they happen.                    what one of them is, for the docs
//!     webhook: WebhookConfig, at most WEBHOOKS_MAX {                 [webhook.NAME], and how many there may be
//!         /// How long a request may take.                           what the key does, for the docs
//!         timeout: Duration = "10s", "time";                         type, default, unit
//!     }
//! }
//! ```
//!
//! Then `config.tables.webhook` is a `BTreeMap<String, WebhookConfig>`: read from the file and from variables
//! (`CALLSPOOL_WEBHOOK__OPS__URL` is `webhook.ops.url`), shown by `check-config`, written into
//! `docs/configuration.md`, and refused with line, reason and cure where a name, a key or a value is wrong. A
//! default must be readable; that a key must be given, or fits the others, is for [`super::check`] to say
//! (`Findings::add_to_table`). A new type of value implements [`Setting`].
//!
//! It never names a setting itself.

use super::sections::Config;
use super::tables::Tables;

/// A section of the file, as declared.
pub(crate) struct Section {
    /// Its name: `[sip]`.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of the reference.
    pub(crate) keys: &'static [Key<ValueIn>],
}

/// A kind of named tables, as declared.
pub(crate) struct TableKind {
    /// What stands before the name: `trunk` of `[trunk.acme]`.
    pub(crate) name: &'static str,
    /// What one of them is.
    pub(crate) doc: &'static str,
    /// How many there may be.
    pub(crate) max: usize,
    /// Their keys, in the order of the reference.
    pub(crate) keys: &'static [Key<ValueInTable>],
    /// The names of those that there are.
    pub(crate) names: fn(&Tables) -> Vec<&str>,
}

/// Shows the value of a section's key as TOML.
pub(crate) type ValueIn = fn(&Config) -> String;
/// Shows the value of a key as TOML; none if there is no table of this name.
pub(crate) type ValueInTable = fn(&Tables, &str) -> Option<String>;

/// A key, as declared.
pub(crate) struct Key<F> {
    /// Its name within the section.
    pub(crate) name: &'static str,
    /// The unit or kind of its value.
    pub(crate) unit: &'static str,
    /// What it does.
    pub(crate) doc: &'static str,
    /// Its default as TOML.
    pub(crate) default: fn() -> String,
    /// Its value in a loaded configuration, as TOML.
    pub(crate) effective: F,
}

/// A type of value: how it is read from TOML or from an environment variable, and how it is shown.
pub(crate) trait Setting: Sized {
    /// What is expected, to stand behind "give": `a time with a unit, such as "20s"`.
    const EXPECTED: &'static str;

    /// From text: a TOML string, an environment variable, a default. The error says what is wrong with it.
    fn from_text(text: &str) -> Result<Self, String>;

    /// From a TOML value. Numbers and booleans are read by their text where the type allows it.
    fn from_toml(value: &toml::Value) -> Result<Self, String> {
        match value.as_str() {
            Some(text) => Self::from_text(text),
            None => Err(format!("{} is not expected here", article(value.type_str()))),
        }
    }

    /// As TOML. Reading it again gives the same value.
    fn to_toml(&self) -> String;
}

/// The TOML form of a default.
pub(crate) fn default_as_toml<T: Setting>(text: &str) -> String {
    T::from_text(text).map_or_else(|_| quoted(text), |v| v.to_toml())
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A kind of TOML value with its article: `an integer`.
pub(crate) fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

/// Declares the sections with their keys: structs, reference and reader.
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Type:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $T:ty = $default:literal, $unit:literal; )+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, PartialEq, Debug)]
            pub(crate) struct $Type {
                $( $(#[doc = $doc])+ pub(crate) $key: $T, )+
            }
        )+

        /// All settings, checked, with absolute paths.
        #[derive(Clone, PartialEq, Debug)]
        pub(crate) struct Config {
            $( $(#[doc = $section_doc])+ pub(crate) $section: $Type, )+
            /// What there can be any number of, by kind and name.
            pub(crate) tables: $crate::config::tables::Tables,
        }

        /// What was declared, in order.
        pub(crate) const SECTIONS: &[$crate::config::declare::Section] = &[$(
            $crate::config::declare::Section {
                name: stringify!($section),
                doc: concat!($($section_doc),+),
                keys: &[$(
                    $crate::config::declare::Key {
                        name: stringify!($key),
                        unit: $unit,
                        doc: concat!($($doc),+),
                        default: || $crate::config::declare::default_as_toml::<$T>($default),
                        effective: |config| $crate::config::declare::Setting::to_toml(&config.$section.$key),
                    }
                ),+],
            }
        ),+];

        impl Config {
            /// Reads every key from where it is set, else from its default. None only if a default itself
            /// cannot be read; what is wrong with a value that was set is noted in `values`.
            pub(super) fn read(values: &mut $crate::config::source::Values) -> Option<Self> {
                Some(Self {$(
                    $section: $Type {
                        $( $key: values.take(stringify!($section), stringify!($key), $default)?, )+
                    },
                )+
                    tables: $crate::config::tables::Tables::read(values)?,
                })
            }
        }
    };
}
pub(crate) use sections;

/// Declares kinds of named tables with their keys: structs, reference and reader. See the module.
macro_rules! tables {
    ($(
        $(#[doc = $kind_doc:literal])+
        $kind:ident: $Type:ident, at most $max:path {
            $( $(#[doc = $doc:literal])+ $key:ident: $T:ty = $default:literal, $unit:literal; )+
        }
    )+) => {
        $(
            $(#[doc = $kind_doc])+
            #[derive(Clone, PartialEq, Debug)]
            pub(crate) struct $Type {
                $( $(#[doc = $doc])+ pub(crate) $key: $T, )+
            }
        )+

        /// All named tables, by kind, then by name.
        #[derive(Clone, PartialEq, Debug, Default)]
        pub(crate) struct Tables {
            $( $(#[doc = $kind_doc])+ pub(crate) $kind: std::collections::BTreeMap<String, $Type>, )+
        }

        /// What was declared, in order.
        pub(crate) const TABLES: &[$crate::config::declare::TableKind] = &[$(
            $crate::config::declare::TableKind {
                name: stringify!($kind),
                doc: concat!($($kind_doc),+),
                max: $max,
                names: |tables| tables.$kind.keys().map(String::as_str).collect(),
                keys: &[$(
                    $crate::config::declare::Key {
                        name: stringify!($key),
                        unit: $unit,
                        doc: concat!($($doc),+),
                        default: || $crate::config::declare::default_as_toml::<$T>($default),
                        effective: |tables, name| {
                            let table = tables.$kind.get(name)?;
                            Some($crate::config::declare::Setting::to_toml(&table.$key))
                        },
                    }
                ),+],
            }
        ),+];

        impl Tables {
            /// Reads every table that is named somewhere; its keys from where they are set, else from their
            /// defaults. None only if a default itself cannot be read.
            pub(super) fn read(values: &mut $crate::config::source::Values) -> Option<Self> {
                let mut tables = Self::default();
                $(
                    for name in values.names(stringify!($kind)) {
                        let table = $Type {
                            $( $key: values.take_named(stringify!($kind), &name, stringify!($key), $default)?, )+
                        };
                        tables.$kind.insert(name, table);
                    }
                )+
                Some(tables)
            }
        }
    };
}
pub(crate) use tables;

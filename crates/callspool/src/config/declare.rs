//! The form in which settings are declared: one place says a key's type, default, unit and meaning, and the
//! structs, the loader, the reference in the docs and `check-config` all follow from it.
//!
//! It never names a setting itself; those are in [`super::sections`].

use super::sections::Config;

/// A section of the file, as declared.
pub(crate) struct Section {
    /// Its name: `[sip]`.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of the reference.
    pub(crate) keys: &'static [Key],
}

/// A key, as declared.
pub(crate) struct Key {
    /// Its name within the section.
    pub(crate) name: &'static str,
    /// The unit or kind of its value.
    pub(crate) unit: &'static str,
    /// What it does.
    pub(crate) doc: &'static str,
    /// Its default as TOML.
    pub(crate) default: fn() -> String,
    /// Its value in a loaded configuration, as TOML.
    pub(crate) effective: fn(&Config) -> String,
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
                )+})
            }
        }
    };
}
pub(crate) use sections;

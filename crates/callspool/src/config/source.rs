//! Where values come from: one TOML file, then the environment over it.
//!
//! Everything that is set is matched against what is declared. What is not declared is refused, with the
//! nearest name that is, since a misspelled key that is silently ignored is a default that nobody wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::declare::Setting;
use super::sections::SECTIONS;

/// What the name of an environment variable begins with: `CALLSPOOL_SIP__UDP` is `sip.udp`.
pub(crate) const ENV_PREFIX: &str = "CALLSPOOL_";

/// Names that differ by more than this many edits are not suggested.
const SUGGESTION_DISTANCE_MAX: usize = 4;

/// Where a value was set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the file, on a line counted from 1.
    File(PathBuf, usize),
    /// In an environment variable.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong with the configuration: where, why, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// Where it is: a file and line with the key, or a variable.
    pub(crate) place: String,
    /// What is wrong.
    pub(crate) why: String,
    /// What to do.
    pub(crate) todo: String,
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, why: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { place: place.into(), why: why.into(), todo: todo.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.why, self.todo)
    }
}

/// A value as it was set.
enum Raw {
    Toml(Value),
    Text(String),
}

/// All that was set, and what is wrong with it so far.
#[derive(Default)]
pub(crate) struct Values {
    set: BTreeMap<(&'static str, &'static str), (Origin, Raw)>,
    origins: BTreeMap<(&'static str, &'static str), Origin>,
    problems: Vec<Problem>,
}

impl Values {
    /// Adds what a file sets.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) {
        let root: Table = match text.parse() {
            Ok(root) => root,
            Err(error) => return self.problems.push(syntax_error(path, text, &error)),
        };
        let lines = Lines::of(path, text);
        for (name, value) in root {
            let place = lines.place(&name, None);
            let Some(section) = SECTIONS.iter().find(|s| s.name == name) else {
                self.problems.push(unknown_at_top(&place, &name, &value));
                continue;
            };
            let Value::Table(table) = value else {
                let todo = format!("write it as a section, [{name}], with its keys below");
                self.problems.push(Problem::new(place, format!("'{name}' is a section"), todo));
                continue;
            };
            for (key_name, value) in table {
                match section.keys.iter().find(|k| k.name == key_name) {
                    Some(key) => {
                        let origin = Origin::File(path.to_owned(), lines.line(&name, Some(&key_name)));
                        self.set.insert((section.name, key.name), (origin, Raw::Toml(value)));
                    }
                    None => {
                        let place = lines.place(&name, Some(&key_name));
                        self.problems.push(unknown_key(&place, section.name, &key_name));
                    }
                }
            }
        }
    }

    /// Adds what the environment sets, over what was there. Variables without the prefix, or that do not look
    /// like a setting, are somebody else's.
    pub(crate) fn add_env(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
            let declared = SECTIONS
                .iter()
                .flat_map(|s| s.keys.iter().map(move |k| (s.name, k.name)))
                .find(|(s, k)| rest == env_rest(s, k));
            match declared {
                Some(key) => {
                    self.set.insert(key, (Origin::Env(name), Raw::Text(text)));
                }
                None if looks_like_a_setting(rest) => self.problems.push(unknown_variable(&name, rest)),
                None => {}
            }
        }
    }

    /// The value of a key: where it was set last, else its default. None only if the default cannot be read.
    pub(super) fn take<T: Setting>(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: &str,
    ) -> Option<T> {
        let set = self.set.remove(&(section, key));
        let origin = set.as_ref().map_or(Origin::Default, |(origin, _)| origin.clone());
        let value = match &set {
            Some((_, Raw::Toml(value))) => Some(T::from_toml(value)),
            Some((_, Raw::Text(text))) => Some(T::from_text(text)),
            None => None,
        };
        let place = place(&origin, section, key);
        self.origins.insert((section, key), origin);
        match value {
            Some(Ok(value)) => return Some(value),
            Some(Err(why)) => self.problems.push(Problem::new(place, why, format!("give {}", T::EXPECTED))),
            None => {}
        }
        match T::from_text(default) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(Problem::new(
                    format!("{section}.{key}"),
                    why,
                    "report this: the default is broken",
                ));
                None
            }
        }
    }

    /// Where each key was set, and what is wrong.
    pub(super) fn finish(self) -> (BTreeMap<(&'static str, &'static str), Origin>, Vec<Problem>) {
        (self.origins, self.problems)
    }
}

/// How a message names a key: with the file and line, or by the variable.
pub(super) fn place(origin: &Origin, section: &str, key: &str) -> String {
    match origin {
        Origin::File(path, line) => format!("{}:{line} {section}.{key}", path.display()),
        Origin::Env(name) => name.clone(),
        Origin::Default => format!("{section}.{key}"),
    }
}

/// The environment variable of a key.
#[must_use]
pub(crate) fn env_name(section: &str, key: &str) -> String {
    format!("{ENV_PREFIX}{}", env_rest(section, key))
}

fn env_rest(section: &str, key: &str) -> String {
    format!("{}__{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

/// `SIP__LISTN` and `SIP_UDP` do, `TEST_DIR` does not.
fn looks_like_a_setting(rest: &str) -> bool {
    rest.contains("__")
        || rest.split_once('_').is_some_and(|(s, _)| SECTIONS.iter().any(|d| d.name.eq_ignore_ascii_case(s)))
}

fn unknown_variable(name: &str, rest: &str) -> Problem {
    let all = SECTIONS.iter().flat_map(|s| s.keys.iter().map(|k| env_rest(s.name, k.name)));
    let todo = match nearest(rest, all) {
        Some(near) => format!("did you mean {ENV_PREFIX}{near}?"),
        None => "remove it, or see docs/configuration.md for what there is".to_owned(),
    };
    Problem::new(name, "no setting has this variable", todo)
}

fn unknown_key(place: &str, section: &str, key: &str) -> Problem {
    let here = SECTIONS.iter().filter(|s| s.name == section).flat_map(|s| s.keys).map(|k| k.name.to_owned());
    let elsewhere = || SECTIONS.iter().find(|s| s.keys.iter().any(|k| k.name == key));
    let todo = match (nearest(key, here), elsewhere()) {
        (_, Some(other)) => format!("it belongs into [{}]", other.name),
        (Some(near), None) => format!("did you mean '{near}'?"),
        (None, None) => format!("remove it, or see docs/configuration.md for what [{section}] has"),
    };
    Problem::new(place, format!("[{section}] has no key '{key}'"), todo)
}

fn unknown_at_top(place: &str, name: &str, value: &Value) -> Problem {
    let owner = SECTIONS.iter().find(|s| s.keys.iter().any(|k| k.name == name));
    if let (false, Some(section)) = (value.is_table(), owner) {
        return Problem::new(
            place,
            format!("'{name}' stands outside its section"),
            format!("move it below [{}]", section.name),
        );
    }
    let todo = match nearest(name, SECTIONS.iter().map(|s| s.name.to_owned())) {
        Some(near) => format!("did you mean [{near}]?"),
        None => format!("use one of {}", SECTIONS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")),
    };
    Problem::new(place, format!("there is no section '{name}'"), todo)
}

/// The name with the fewest edits, if there are few.
fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let limit = SUGGESTION_DISTANCE_MAX.min(name.chars().count() / 2 + 1);
    names
        .map(|candidate| (strsim::damerau_levenshtein(name, &candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> Problem {
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let why = error.message().lines().next().unwrap_or_default();
    Problem::new(format!("{}:{line}", path.display()), format!("not valid TOML: {why}"), "correct the line")
}

/// On which line of a file each section and key stands.
struct Lines<'a> {
    path: &'a Path,
    of: BTreeMap<(String, Option<String>), usize>,
}

impl<'a> Lines<'a> {
    fn of(path: &'a Path, text: &str) -> Self {
        let mut of = BTreeMap::new();
        let root = DeTable::parse(text).map(toml::Spanned::into_inner).unwrap_or_default();
        for (name, value) in root {
            let section = name.get_ref().to_string();
            of.insert((section.clone(), None), line_of(text, name.span().start));
            if let Some(table) = value.get_ref().as_table() {
                for key in table.keys() {
                    let line = line_of(text, key.span().start);
                    of.insert((section.clone(), Some(key.get_ref().to_string())), line);
                }
            }
        }
        Self { path, of }
    }

    fn line(&self, section: &str, key: Option<&str>) -> usize {
        self.of.get(&(section.to_owned(), key.map(str::to_owned))).copied().unwrap_or(1)
    }

    fn place(&self, section: &str, key: Option<&str>) -> String {
        format!("{}:{}", self.path.display(), self.line(section, key))
    }
}

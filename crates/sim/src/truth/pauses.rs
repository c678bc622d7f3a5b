//! What may be kept of what callers say: nothing, from when somebody was told that it is paused until the order to go on.

use call::Ask;

use super::Truth;

/// Whether a packet may be kept, or must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Secrecy {
    /// Nobody ever ordered a pause.
    #[default]
    None,
    /// A pause was ordered, or its end, and it is not known how far that has come.
    Doubtful,
    /// Somebody was told that nothing is kept.
    Secret,
}

impl Truth {
    pub(crate) fn secrecy(&self, caller: usize) -> Secrecy {
        self.paused.get(&caller).copied().unwrap_or_default()
    }

    /// Somebody orders a pause of a caller's call, or its end.
    pub(crate) fn orders(&mut self, caller: usize, ask: Ask) {
        if matches!(ask, Ask::Pause { .. } | Ask::Resume) {
            self.paused.insert(caller, Secrecy::Doubtful);
        }
    }

    /// Whoever ordered it is told that it is so.
    pub(crate) fn is_so(&mut self, caller: usize, ask: Ask) {
        match ask {
            Ask::Pause { .. } => _ = self.paused.insert(caller, Secrecy::Secret),
            Ask::Resume => _ = self.paused.remove(&caller),
            Ask::Start | Ask::Stop => {}
        }
    }
}

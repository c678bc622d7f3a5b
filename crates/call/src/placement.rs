//! Which record server gets the next segment: one after the other, each as often as it has room.
//!
//! ```text
//!   room 5 1 1:   a a b a c a a      and not   a a a a a b c
//! ```
//!
//! Each time everybody gets as many points as he has room, who has most is chosen, and pays for all. So shares follow the
//! room over any stretch, those of equal room are asked in a circle, and nobody has to remember how often who was chosen. It
//! draws no lots: the same history gives the same choice.

/// The points of a record server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Balance(i64);

/// Chooses among these, by their room; the first of several that have the same points. None when there are none.
pub(crate) fn choose<'a, K>(among: impl Iterator<Item = (K, u32, &'a mut Balance)>) -> Option<K> {
    let mut all: Vec<_> = among.collect();
    let mut price = 0_i64;
    for (_, room, balance) in &mut all {
        price = price.saturating_add(i64::from(*room));
        balance.0 = balance.0.saturating_add(i64::from(*room));
    }
    // Of equals the last is taken: from the end it is the first.
    let (chosen, _, balance) = all.into_iter().rev().max_by_key(|(_, _, balance)| balance.0)?;
    balance.0 = balance.0.saturating_sub(price);
    Some(chosen)
}

#[cfg(test)]
mod tests;

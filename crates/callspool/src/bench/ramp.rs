//! Which load is tried next: upwards until it does not hold, then halfway between, until it is known within a
//! twentieth. It decides only; others measure.

/// How much more is tried while everything holds.
const FACTOR: f64 = 1.5;
/// The load that holds and the one that does not may differ by this part of the first.
const NEAR: usize = 20;

/// Whether a load was within the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    Yes,
    No,
}

/// A search for the most that holds.
#[derive(Clone, Debug)]
pub(super) struct Ramp {
    from: usize,
    most: usize,
    /// The most that held.
    held: Option<usize>,
    /// The least that did not.
    broke: Option<usize>,
}

impl Ramp {
    /// Begins with a load, and never tries more than another one.
    pub(super) fn new(from: usize, most: usize) -> Self {
        Self { from: from.clamp(1, most.max(1)), most: most.max(1), held: None, broke: None }
    }

    /// What is tried next; none when there is nothing more to find out.
    pub(super) fn next(&self) -> Option<usize> {
        match (self.held, self.broke) {
            (None, None) => Some(self.from),
            (Some(held), None) if held >= self.most => None,
            (Some(held), None) => Some(more(held).min(self.most)),
            (None, Some(1)) => None,
            (None, Some(broke)) => Some(broke / 2),
            (Some(held), Some(broke)) => {
                let is_near = broke - held <= (held / NEAR).max(1);
                (!is_near).then_some(held + (broke - held) / 2)
            }
        }
    }

    /// What came out.
    pub(super) fn took(&mut self, load: usize, came_out: Held) {
        match came_out {
            Held::Yes => self.held = self.held.max(Some(load)),
            Held::No => self.broke = Some(self.broke.map_or(load, |b| b.min(load))),
        }
        // A load below one that broke may hold by chance the second time: what broke counts.
        if let (Some(held), Some(broke)) = (self.held, self.broke)
            && held >= broke
        {
            self.held = None;
        }
    }

    /// The most that held.
    pub(super) fn most(&self) -> Option<usize> {
        self.held
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a load is a number of calls, far below 2^53"
)]
fn more(held: usize) -> usize {
    (held as f64 * FACTOR).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads that are tried where up to `capacity` hold, and what is found.
    fn search(from: usize, most: usize, capacity: usize) -> (Vec<usize>, Option<usize>) {
        let (mut ramp, mut tried) = (Ramp::new(from, most), Vec::new());
        while let Some(load) = ramp.next() {
            assert!(tried.len() < 60, "it does not end: {tried:?}");
            tried.push(load);
            ramp.took(load, if load <= capacity { Held::Yes } else { Held::No });
        }
        (tried, ramp.most())
    }

    #[test]
    fn it_goes_up_and_comes_near() {
        assert_eq!(search(100, 20_000, 250), (vec![100, 150, 225, 338, 281, 253, 239, 246], Some(246)));
        assert_eq!(search(100, 200, 1_000), (vec![100, 150, 200], Some(200)));
        assert_eq!(search(100, 1_000, 0), (vec![100, 50, 25, 12, 6, 3, 1], None));
        assert_eq!(search(8, 1_000, 1), (vec![8, 4, 2, 1], Some(1)));
        assert_eq!(search(500, 100, 1_000), (vec![100], Some(100)));
    }

    #[test]
    fn whatever_holds_is_found_within_a_twentieth() {
        for capacity in 1..2_000 {
            let (_, found) = search(100, 5_000, capacity);
            let found = found.unwrap();
            assert!(found <= capacity && capacity - found <= (found / NEAR).max(1), "{capacity}: {found}");
        }
    }
}

//! Whether a segment is to keep what arrives, as far as its record server was told.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: bool,
    /// The number of the last order.
    ordered: u64,
    /// The number of an order that waits until the segment is open.
    reserved: Option<u64>,
    /// The number of the last that was carried out.
    carried_out: u64,
}

impl Gate {
    /// The gate of a segment that begins: open, or closed.
    pub(crate) fn begin(closed: bool) -> Self {
        Self { closed, ..Self::default() }
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) const fn set(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// An order of this number will be given when the segment is open; one that waits already stays.
    pub(crate) fn reserve(&mut self, order: u64) {
        let order = *self.reserved.get_or_insert(order);
        self.ordered = order;
    }

    /// The number of an order that waits until the segment is open.
    pub(crate) const fn reserved(&self) -> Option<u64> {
        self.reserved
    }

    /// The order of this number, which waited for another segment, waits for this one.
    pub(crate) const fn reserve_anew(&mut self, order: u64) {
        self.reserved = Some(order);
        self.ordered = order;
    }

    pub(crate) const fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }

    /// An order is given: its number, the reserved one if there is one.
    pub(crate) fn order(&mut self, next: u64) -> u64 {
        self.ordered = self.reserved.take().unwrap_or(next);
        self.ordered
    }

    /// The number of an order that was given and is not carried out.
    pub(crate) fn given(&self) -> Option<u64> {
        self.awaited().filter(|_| self.reserved.is_none())
    }

    pub(crate) fn carried_out(&mut self, order: u64) {
        self.carried_out = self.carried_out.max(order);
    }

    /// The order that is still to be carried out before the gate stands as told.
    pub(crate) fn awaited(&self) -> Option<u64> {
        (self.carried_out < self.ordered).then_some(self.ordered)
    }
}

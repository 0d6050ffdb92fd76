//! Numbered places for connections. A number is a poll token, so a place that was given up is not
//! given out again before the turn ends: an event that was already collected for the old tenant
//! then finds the place empty.

/// A growing table of numbered places.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<usize>,
    resting: Vec<usize>,
    len: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), resting: Vec::new(), len: 0 }
    }

    pub(super) fn insert(&mut self, tenant: T) -> usize {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            self.places[slot] = Some(tenant);
            slot
        } else {
            self.places.push(Some(tenant));
            self.places.len() - 1
        }
    }

    /// Empties the place; its number rests until [`Slots::end_turn`].
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let tenant = self.places.get_mut(slot)?.take()?;
        self.len -= 1;
        self.resting.push(slot);
        Some(tenant)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        self.places.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.places.get_mut(slot)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The numbers in use now.
    pub(super) fn numbers(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|&slot| self.places[slot].is_some()).collect()
    }

    /// No collected event is left: numbers given up in this turn may be used again.
    pub(super) fn end_turn(&mut self) {
        self.free.append(&mut self.resting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rests_until_the_turn_ends() {
        let mut slots = Slots::new();
        let (first, second) = (slots.insert('a'), slots.insert('b'));
        assert_eq!(slots.remove(first), Some('a'));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(first), None);
        let third = slots.insert('c');
        assert!(third != first && third != second);
        slots.end_turn();
        assert_eq!(slots.insert('d'), first);
        assert_eq!((slots.len(), slots.numbers()), (3, vec![0, 1, 2]));
    }
}

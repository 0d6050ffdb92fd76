//! Numbered slots for connections. A number is part of a poll token, so a slot that was emptied is not used again before
//! the turn ends: an event that was already collected for the old connection then finds the slot empty.

/// A growing table of numbered slots.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    resting: Vec<usize>,
    len: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), resting: Vec::new(), len: 0 }
    }

    pub(super) fn insert(&mut self, connection: T) -> usize {
        self.len += 1;
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(connection);
            slot
        } else {
            self.slots.push(Some(connection));
            self.slots.len() - 1
        }
    }

    /// Empties a slot. Its number rests until [`Slots::end_turn`].
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let connection = self.slots.get_mut(slot)?.take()?;
        self.len -= 1;
        self.resting.push(slot);
        Some(connection)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The numbers in use now.
    pub(super) fn numbers(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|&slot| self.slots[slot].is_some()).collect()
    }

    /// No collected event is left: numbers of slots that were emptied in this turn may be used again.
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

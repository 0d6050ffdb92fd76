//! How many connections each address has, where a setting limits that.

use std::collections::HashMap;
use std::net::IpAddr;

/// Counts connections by address; at most one entry per connection.
#[derive(Debug)]
pub(super) struct Addresses {
    /// `None`: nothing is counted.
    most: Option<usize>,
    counts: HashMap<IpAddr, usize>,
}

impl Addresses {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { most, counts: HashMap::new() }
    }

    /// One more connection. `false`: the address has as many as it may have, and this one is not counted.
    pub(super) fn enter(&mut self, address: IpAddr) -> bool {
        let Some(most) = self.most else { return true };
        let count = self.counts.entry(address.to_canonical()).or_default();
        let may = *count < most;
        *count += usize::from(may);
        may
    }

    /// A connection that was counted has ended.
    pub(super) fn leave(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        if let Some(count) = self.counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_count_in_whatever_form_it_comes() {
        let [v4, mapped, v6]: [IpAddr; 3] =
            ["10.0.0.7", "::ffff:10.0.0.7", "fe80::7"].map(|text| text.parse().unwrap());
        let mut addresses = Addresses::new(Some(2));
        assert!(addresses.enter(v4) && addresses.enter(mapped) && addresses.enter(v6));
        assert!(!addresses.enter(v4) && !addresses.enter(mapped) && addresses.enter(v6));
        addresses.leave(mapped);
        assert!(addresses.enter(v4) && !addresses.enter(v4));
        (0..2).for_each(|_| addresses.leave(v4));
        (0..2).for_each(|_| addresses.leave(v6));
        assert!(addresses.counts.is_empty());
    }

    #[test]
    fn without_a_cap_nothing_is_kept() {
        let mut addresses = Addresses::new(None);
        let address = IpAddr::from([127, 0, 0, 1]);
        assert!((0..10_000).all(|_| addresses.enter(address)));
        addresses.leave(address);
        assert!(addresses.counts.is_empty());
    }
}

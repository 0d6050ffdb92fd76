//! Finds card numbers in characters: runs of digits, or groups of digits as people write card numbers, with one blank or
//! dash between two groups.
//!
//! A number counts only as a whole: with a letter beside it, it is an id; a longer run of digits is not a card number;
//! `3.1415926535897932` is a fraction. Masked numbers stay as they are: stars are remembered, so that the remaining
//! digits of one number never become part of another.

use super::issuers::{self, DIGITS_MAX, DIGITS_MIN, KEPT_FIRST, KEPT_LAST};

/// The most groups in a card number: 4-4-4-4-3.
const GROUPS_MAX: usize = 5;
/// The fewest stars in a masked number.
const STARS_MIN: usize = DIGITS_MIN - KEPT_FIRST - KEPT_LAST;

/// The digits to mask, and the buffers of a search, kept for the next one.
#[derive(Default)]
pub(super) struct Finder {
    /// The places of the digits to mask; a digit of two numbers comes twice.
    pub(super) masked: Vec<usize>,
    /// Card numbers found.
    pub(super) cards: usize,
    /// The digits of `groups`: place and value.
    digits: Vec<(usize, u8)>,
    /// The last groups with single separators between them.
    groups: Vec<Group>,
    /// The end of the last number found: what overlaps it is not counted again.
    found_to: usize,
}

#[derive(Clone, Copy)]
struct Group {
    digits: usize,
    /// The characters before it allow a number to begin here.
    begins: bool,
    /// The stars of a masked number are before it.
    after_stars: bool,
}

impl Finder {
    /// Searches the characters of one text, each with its place.
    pub(super) fn search(&mut self, mut chars: impl Iterator<Item = (usize, char)> + Clone) {
        self.end_chain();
        self.found_to = 0;
        let (mut before_that, mut before) = (' ', ' ');
        // Stars since the last digit, with nothing but single separators among them.
        let mut stars = None;
        while let Some((at, c)) = chars.next() {
            if c.is_ascii_digit() {
                if !before.is_ascii_digit() {
                    self.open_group(begins(before_that, before), stars.is_some_and(|n| n >= STARS_MIN));
                }
                self.push(at, c as u8 - b'0');
                stars = Some(0);
            } else {
                if before.is_ascii_digit() {
                    self.close_group(c, &chars);
                }
                if !(before.is_ascii_digit() && is_separator(c)) {
                    self.end_chain();
                }
                stars = match c {
                    '*' => stars.map(|n| n + 1),
                    _ => stars.filter(|_| is_separator(c) && !is_separator(before)),
                };
            }
            (before_that, before) = (before, c);
        }
        if before.is_ascii_digit() {
            self.close_group(' ', &chars);
        }
    }

    fn end_chain(&mut self) {
        self.digits.clear();
        self.groups.clear();
    }

    fn open_group(&mut self, begins: bool, after_stars: bool) {
        if self.groups.len() == GROUPS_MAX {
            self.digits.drain(..self.groups[0].digits);
            self.groups.remove(0);
        }
        self.groups.push(Group { digits: 0, begins, after_stars });
    }

    fn push(&mut self, at: usize, digit: u8) {
        match self.groups.last_mut() {
            Some(group) if group.digits < DIGITS_MAX => {
                group.digits += 1;
                self.digits.push((at, digit));
            }
            // Too long for a card number: none begins in it or continues across it.
            _ => self.end_chain(),
        }
    }

    /// Checks every number that ends with the last group.
    fn close_group(&mut self, after: char, rest: &(impl Iterator<Item = (usize, char)> + Clone)) {
        if after.is_alphanumeric() {
            return;
        }
        for first in 0..self.groups.len() {
            let groups = &self.groups[first..];
            let count: usize = groups.iter().map(|group| group.digits).sum();
            let number = &self.digits[self.digits.len() - count..];
            if !groups[0].begins || !is_written_so(groups, number) || !is_card(number) {
                continue;
            }
            // The remaining digits of a masked number are fewer than any card number has.
            let whole = groups.len() == 1;
            if whole || !(groups[0].after_stars || is_before_stars(after, rest.clone())) {
                let (from, to) = (number[0].0, number[count - 1].0);
                self.cards += usize::from(from >= self.found_to);
                self.found_to = to + 1;
                let hidden = &number[KEPT_FIRST..count - KEPT_LAST];
                self.masked.extend(hidden.iter().map(|&(at, _)| at));
            }
        }
    }
}

fn is_card(number: &[(usize, u8)]) -> bool {
    let mut digits = [0; DIGITS_MAX];
    let Some(digits) = digits.get_mut(..number.len()) else { return false };
    digits.iter_mut().zip(number).for_each(|(digit, (_, value))| *digit = *value);
    issuers::is_card_number(digits)
}

/// How people write card numbers.
fn is_written_so(groups: &[Group], number: &[(usize, u8)]) -> bool {
    let mut sizes = [0; GROUPS_MAX];
    sizes.iter_mut().zip(groups).for_each(|(size, group)| *size = group.digits);
    match sizes[..groups.len()] {
        [_] | [4, 4, 4, 2..=7] | [4, 4, 4, 4, 1..=3] => true,
        // American Express, Diners Club, UATP.
        [4, 6, 4 | 5] | [4, 5, 6] => true,
        // UnionPay. With other prefixes this is an id and an EAN-13.
        [6, 13] => matches!(number, [(_, 6), (_, 2), ..]),
        _ => false,
    }
}

/// One blank or dash, plain or non-breaking.
fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '\u{a0}' | '\u{202f}' | '\u{2010}'..='\u{2013}' | '\u{2212}')
}

/// Whether a number may begin after these two characters. The letter of an escape does not count as a letter: a text
/// inside a text has escapes.
fn begins(before_that: char, before: char) -> bool {
    match before {
        '.' => !before_that.is_ascii_digit(),
        'n' | 'r' | 't' => before_that == '\\',
        _ => !before.is_alphanumeric(),
    }
}

/// Whether `after` is the first star of a masked number: stars, and then a digit.
fn is_before_stars(after: char, rest: impl Iterator<Item = (usize, char)>) -> bool {
    let mut stars = usize::from(after == '*');
    let mut before = after;
    for (_, c) in rest {
        match c {
            _ if stars == 0 => return false,
            '*' => stars += 1,
            _ if is_separator(c) && !is_separator(before) => {}
            _ => return c.is_ascii_digit() && stars >= STARS_MIN,
        }
        before = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with its card numbers masked, and how many there were.
    fn masked(text: &str) -> (String, usize) {
        let mut finder = Finder::default();
        finder.search(text.char_indices());
        let star = |(at, c)| if finder.masked.contains(&at) { '*' } else { c };
        (text.char_indices().map(star).collect(), finder.cards)
    }

    #[test]
    fn cards_are_found_as_people_write_them() {
        for (text, wanted) in [
            ("4111111111111111", "411111******1111"),
            ("4111 1111 1111 1111", "4111 11** **** 1111"),
            ("4111-1111-1111-1111", "4111-11**-****-1111"),
            ("4111-1111 1111-1111", "4111-11** ****-1111"),
            ("4111\u{a0}1111\u{2011}1111\u{2013}1111", "4111\u{a0}11**\u{2011}****\u{2013}1111"),
            ("3782 822463 10005", "3782 82**** *0005"),
            ("3782-8224-6310-005", "3782-82**-***0-005"),
            ("3056 930902 5904", "3056 93**** 5904"),
            ("6799 9901 0000 0000 019", "6799 99** **** ***0 019"),
            ("6799990100000000019", "679999*********0019"),
            ("card=4111111111111111.", "card=411111******1111."),
            ("(4111111111111111)", "(411111******1111)"),
            ("till-4111111111111111-2", "till-411111******1111-2"),
            ("17 4111111111111111 2025", "17 411111******1111 2025"),
            ("2025-11-18 4111 1111 1111 1111", "2025-11-18 4111 11** **** 1111"),
            ("17,4111111111111111,12.50", "17,411111******1111,12.50"),
            ("sum 4111111111111111.00", "sum 411111******1111.00"),
            ("No.4111111111111111", "No.411111******1111"),
            ("_4111111111111111_", "_411111******1111_"),
            (r"line\n4111111111111111", r"line\n411111******1111"),
            ("**4111111111111111**", "**411111******1111**"),
            ("**4111 1111 1111 1111** 5", "**4111 11** **** 1111** 5"),
            ("4111111111111111 5555555555554444", "411111******1111 555555******4444"),
            ("411111******1111 5555555555554444", "411111******1111 555555******4444"),
            ("00000000000000000000 4111111111111111", "00000000000000000000 411111******1111"),
        ] {
            assert_eq!(masked(text).0, wanted);
            assert_eq!(masked(wanted), (wanted.to_owned(), 0));
        }
    }

    #[test]
    fn what_is_no_card_stays_whole() {
        for text in [
            "",
            "4111111111111112",
            "411111111111111",
            "04111111111111111111",
            "a4111111111111111",
            "4111111111111111b",
            "é4111111111111111",
            "4111111111111111\u{0664}",
            "4111 1111 1111 1111EUR",
            "4111  1111 1111 1111",
            "4111 -1111 1111 1111",
            "4111\n1111\t1111/1111",
            "4111.1111.1111.1111",
            "41111111 11111111",
            "411111 1111111111",
            "411 1111 1111 11111",
            "0.4111111111111111",
            "3.4111111111111111",
            "411111******1111",
            "4111 11** **** 1111",
            "4006381333931 123",
            "412345 4006381333931",
        ] {
            assert_eq!(masked(text), (text.to_owned(), 0));
        }
    }

    #[test]
    fn every_window_of_a_long_chain_is_looked_at() {
        let (text, cards) = masked("9 4111 1111 1111 1111 4111 1111 1111 1111 9");
        assert!(cards >= 2);
        assert!(text.starts_with("9 4111 11** **** 1111 4111 11** **** 1111 9"), "{text}");
        let long = "7 ".repeat(50_000) + "4111111111111111";
        assert!(masked(&long).0.ends_with("411111******1111"));
    }

    #[test]
    fn what_a_masked_number_left_is_not_part_of_another() {
        for text in
            ["411111******4242 2222 3333 4444", "5018 2222 4111 11** **** 1111", "4242 **** 4242 4242"]
        {
            assert_eq!(masked(text), (text.to_owned(), 0));
        }
    }
}

//! Which numbers are card numbers: an issuer's prefix, a length that it issues, the check digit.
//! `docs/card-numbers.md` has the sources of the table and what is left out on purpose.

/// The lengths of the shortest and the longest number that is checked.
pub(super) const DIGITS_MIN: usize = 14;
pub(super) const DIGITS_MAX: usize = 19;

/// How many digits stay at the start and at the end.
pub(super) const KEPT_FIRST: usize = 6;
pub(super) const KEPT_LAST: usize = 4;

/// Prefixes from `first` to `last`, all of one length, and the lengths of numbers issued: bit n for n digits.
struct Range {
    first: u32,
    last: u32,
    lengths: u32,
}

/// A range of prefixes and its lengths.
const fn issued(first: u32, last: u32, lengths: &[u32]) -> Range {
    assert!(first <= last && first.ilog10() == last.ilog10());
    let mut bits = 0;
    let mut at = 0;
    while at < lengths.len() {
        assert!(lengths[at] as usize >= DIGITS_MIN && lengths[at] as usize <= DIGITS_MAX);
        bits |= 1 << lengths[at];
        at += 1;
    }
    Range { first, last, lengths: bits }
}

const ANY: &[u32] = &[14, 15, 16, 17, 18, 19];
const FROM_16: &[u32] = &[16, 17, 18, 19];

/// A network whose prefixes are all within another row is named in that row.
const RANGES: [Range; 34] = [
    // Visa; Dankort's, Elo's and Switch's numbers of the same prefix.
    issued(4, 4, &[16, 18, 19]),
    // Mastercard.
    issued(51, 55, &[16]),
    issued(2221, 2720, &[16]),
    // American Express.
    issued(34, 34, &[15]),
    issued(37, 37, &[15]),
    // Diners Club International; Hipercard's 3841.
    issued(300, 305, &[14, 16, 17, 18, 19]),
    issued(3095, 3095, &[14, 16, 17, 18, 19]),
    issued(36, 36, ANY),
    issued(38, 39, &[14, 16, 17, 18, 19]),
    // Discover; RuPay's, Elo's, Troy's and Verve's 65.
    issued(6011, 6011, FROM_16),
    issued(644, 649, FROM_16),
    issued(65, 65, FROM_16),
    // JCB; LankaPay's 357111, RuPay's 353 and 356.
    issued(3528, 3589, FROM_16),
    issued(2131, 2131, &[15]),
    issued(1800, 1800, &[15]),
    // UnionPay; RuPay's 81.
    issued(62, 62, ANY),
    issued(81, 81, FROM_16),
    // Maestro; Verve's 506, Elo's 5066 and 509, RuPay's 508, Dankort's 5019, Meeza's 5078,
    // Switch's 5641, Solo's 6767, UzCard's 5614.
    issued(50, 50, ANY),
    issued(56, 58, ANY),
    issued(67, 67, ANY),
    // Maestro, InterPayment, InstaPayment. With 18 digits they would be .NET's ticks, a time.
    issued(63, 63, &[14, 15, 16, 17, 19]),
    issued(6304, 6304, &[18]),
    // Switch and Solo.
    issued(6331, 6334, &[18]),
    // RuPay; Hipercard's 6062, UkrCard's 6040.
    issued(60, 60, &[16, 19]),
    issued(82, 82, &[16]),
    // Mir, and PayPak and BORICA after it.
    issued(2200, 2204, FROM_16),
    issued(2205, 2205, &[16]),
    // Troy, NAPAS, Humo, UzCard, ArCa, Belkart.
    issued(9792, 9792, &[16]),
    issued(9704, 9704, &[16, 19]),
    issued(9860, 9860, &[16]),
    issued(8600, 8600, &[16]),
    issued(9051, 9051, &[16]),
    issued(9112, 9112, &[16]),
    // UATP.
    issued(1, 1, &[15]),
];

/// Whether these digits, each from 0 to 9, are a card number.
pub(super) fn is_card_number(digits: &[u8]) -> bool {
    is_issued(digits) && luhn_holds(digits)
}

fn is_issued(digits: &[u8]) -> bool {
    let prefix = |length: u32| digits.iter().take(length as usize).fold(0, |n, &d| n * 10 + u32::from(d));
    (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len())
        && RANGES.iter().any(|range| {
            range.lengths >> digits.len() & 1 == 1
                && (range.first..=range.last).contains(&prefix(range.first.ilog10() + 1))
        })
}

/// The check digit of ISO/IEC 7812: from the right, every second digit doubled, the sum of all digits
/// divisible by ten.
fn luhn_holds(digits: &[u8]) -> bool {
    const DOUBLED: [u32; 10] = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| if place % 2 == 1 { DOUBLED[usize::from(digit)] } else { u32::from(digit) })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_card(number: &str) -> bool {
        is_card_number(&number.bytes().map(|byte| byte - b'0').collect::<Vec<_>>())
    }

    #[test]
    fn prefix_length_and_check_digit_must_all_fit() {
        for (number, is) in [
            ("4111111111111111", true),
            ("4111111111111112", false), // check digit
            ("4222222222222", false),    // 13 digits
            ("7111111111111118", false), // prefix
            ("378282246310005", true),   // 15, of American Express
            ("4000000000006", false),    // 13 digits
            ("411111111111116", false),  // 15, of Visa
            ("2221000000000009", true),  // the first of Mastercard's second series
            ("2720999999999996", true),  // and the last
            ("2720990000000007", true),
            ("2721000000000004", false), // behind it
            ("2220990000000000", false), // before it
            ("6799990100000000019", true),
            ("0000000000000000", false),
        ] {
            assert_eq!(is_card(number), is, "{number}");
        }
    }

    #[test]
    fn one_wrong_digit_never_passes() {
        let good: Vec<u8> = "5555555555554444".bytes().map(|byte| byte - b'0').collect();
        for at in 4..good.len() {
            for digit in (0..10).filter(|&digit| digit != good[at]) {
                let mut wrong = good.clone();
                wrong[at] = digit;
                assert!(!is_card_number(&wrong), "{wrong:?}");
            }
        }
    }
}

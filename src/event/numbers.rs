//! Price and quantity: the JSON numbers, booleans and strings that they accept.
//!
//! Tokens come from a body that passed the scan: a number follows JSON's grammar and fits a double.

use super::refusal::Problem;
use super::text;

/// A price: any number, a boolean, or a string with a finite number.
pub(super) fn price(token: &str) -> Result<f64, Problem> {
    match token.as_bytes().first() {
        Some(b'"') => price_from_text(text::decode(token).ok_or(Problem::FloatParsing)?.trim()),
        Some(b't') => Ok(1.0),
        Some(b'f') => Ok(0.0),
        _ => token.parse().map_err(|_| Problem::FloatType),
    }
}

fn price_from_text(text: &str) -> Result<f64, Problem> {
    let value: f64 = text.parse().map_err(|_| Problem::FloatParsing)?;
    if value.is_finite() { Ok(value) } else { Err(Problem::FiniteNumber) }
}

/// A quantity: a whole number, a boolean, or a string with a whole number.
pub(super) fn quantity(token: &str) -> Result<i64, Problem> {
    match token.as_bytes().first() {
        Some(b'"') => quantity_from_text(text::decode(token).ok_or(Problem::IntParsing)?.trim()),
        Some(b't') => Ok(1),
        Some(b'f') => Ok(0),
        Some(b'-' | b'0'..=b'9') if token.contains(['.', 'e', 'E']) => quantity_from_float(token),
        Some(b'-' | b'0'..=b'9') => token.parse().map_err(|_| Problem::IntParsingSize),
        _ => Err(Problem::IntType),
    }
}

fn quantity_from_float(token: &str) -> Result<i64, Problem> {
    /// The first whole number above the greatest i64; its negative is the least i64.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let value: f64 = token.parse().map_err(|_| Problem::IntType)?;
    if value.fract() != 0.0 {
        Err(Problem::IntFromFloat)
    } else if (-END..END).contains(&value) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within an i64")]
        Ok(value as i64)
    } else {
        Err(Problem::IntParsingSize)
    }
}

/// An optional sign, digits, and an optional fraction of zeros.
fn quantity_from_text(text: &str) -> Result<i64, Problem> {
    let only = |text: &str, wanted: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| wanted(&b));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    if !only(digits, u8::is_ascii_digit) || !only(fraction, |byte| *byte == b'0') {
        return Err(Problem::IntParsing);
    }
    whole.parse().map_err(|_| Problem::IntParsingSize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_coerced_as_the_contract_says() {
        for (token, value) in [
            ("0", 0.0_f64),
            ("-0", -0.0),
            ("10", 10.0),
            ("12.5", 12.5),
            ("1e300", 1e300),
            ("1e-400", 0.0),
            ("123456789012345678901234567890", 1.234_567_890_123_456_8e29),
            ("true", 1.0),
            ("false", 0.0),
            (r#""12.5""#, 12.5),
            (r#"" 12.5 ""#, 12.5),
            (r#""+1""#, 1.0),
            (r#"".5""#, 0.5),
            (r#""5.""#, 5.0),
            (r#""1e3""#, 1e3),
            (r#""00012""#, 12.0),
            (r#""\t\u00a012\u3000""#, 12.0),
            (r#""1\u0032""#, 12.0),
            (r#""-0""#, -0.0),
            (r#""1e-400""#, 0.0),
            ("\"\u{85}7\u{2003}\"", 7.0),
            (r#""1E+2""#, 100.0),
        ] {
            let got = price(token).map(f64::to_bits);
            assert_eq!(got, Ok(value.to_bits()), "{token}");
        }
        for token in [
            r#""""#,
            r#"" ""#,
            r#""1,5""#,
            r#""0x10""#,
            r#""$12""#,
            r#""٣""#,
            r#""1_000""#,
            r#""1 2""#,
            r#"".""#,
            r#""1e""#,
            r#""+""#,
            r#""--1""#,
            r#""twelve""#,
            r#""true""#,
            r#""\u200b1""#,
            r#""1\u0000""#,
            r#""null""#,
        ] {
            assert_eq!(price(token), Err(Problem::FloatParsing), "{token}");
        }
        for token in [
            r#""inf""#,
            r#""-inf""#,
            r#""Infinity""#,
            r#"" NaN ""#,
            r#""-nan""#,
            r#""1e400""#,
            r#""-1e999999""#,
        ] {
            assert_eq!(price(token), Err(Problem::FiniteNumber), "{token}");
        }
        for token in ["[]", "{}", "[1]", r#"{"a":1}"#, "null"] {
            assert_eq!(price(token), Err(Problem::FloatType), "{token}");
        }
    }

    #[test]
    fn quantities_are_coerced_as_the_contract_says() {
        for (token, value) in [
            ("3", 3),
            ("-3", -3),
            ("0", 0),
            ("-0", 0),
            ("3.0", 3),
            ("1e2", 100),
            ("-0.0", 0),
            ("0e0", 0),
            ("3.0000000000000000000001", 3),
            ("1e-400", 0),
            ("1.5e1", 15),
            ("true", 1),
            ("false", 0),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-9223372036854775808.0", i64::MIN),
            ("9223372036854774784.0", 9_223_372_036_854_774_784),
            (r#""3""#, 3),
            (r#""+3""#, 3),
            (r#""-3""#, -3),
            (r#""007""#, 7),
            (r#""3.00""#, 3),
            (r#"" 3 ""#, 3),
            (r#""\u00333""#, 33),
            (r#""\n-0.0\u2028""#, 0),
            (r#""00000000000000000000000000000001""#, 1),
            (r#""9223372036854775807""#, i64::MAX),
            (r#""-9223372036854775808.0""#, i64::MIN),
        ] {
            assert_eq!(quantity(token), Ok(value), "{token}");
        }
        for token in [
            r#""""#,
            r#"" ""#,
            r#""3.""#,
            r#"".0""#,
            r#""3e2""#,
            r#""3 pcs""#,
            r#""3.5""#,
            r#""3.0.0""#,
            r#""+""#,
            r#""-""#,
            r#""+-3""#,
            r#""0x3""#,
            r#""٣""#,
            r#""1_0""#,
            r#""1 0""#,
            r#""true""#,
            r#""inf""#,
            r#""3,0""#,
            r#""99999999999999999999 pcs""#,
            r#""3.0 0""#,
            r#""-.0""#,
        ] {
            assert_eq!(quantity(token), Err(Problem::IntParsing), "{token}");
        }
        for token in ["3.5", "1e-1", "-0.5", "0.1", "1e-300", "3.000000001"] {
            assert_eq!(quantity(token), Err(Problem::IntFromFloat), "{token}");
        }
        let digits_300 = "9".repeat(300);
        for token in [
            "9223372036854775808",
            "-9223372036854775809",
            "9223372036854775807.0",
            "9223372036854775808.0",
            "1e19",
            "-1e300",
            r#""9223372036854775808""#,
            r#""-9223372036854775809.00""#,
            digits_300.as_str(),
        ] {
            assert_eq!(quantity(token), Err(Problem::IntParsingSize), "{token}");
        }
        for token in ["[]", "{}", "[1]", "null"] {
            assert_eq!(quantity(token), Err(Problem::IntType), "{token}");
        }
    }
}

//! Numbers as they are written.

/// True when both well-written decimals are the same number, digit by digit: no float comes in between.
#[must_use]
pub fn is_same_number(one: &str, other: &str) -> bool {
    significant(one) == significant(other)
}

/// Sign, digits without zeros at either end, and the power of ten of the first.
fn significant(written: &str) -> (bool, String, i64) {
    let unsigned = written.strip_prefix('-').unwrap_or(written);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let from_first = all.trim_start_matches('0');
    let zeros = all.len() - from_first.len();
    let digits = from_first.trim_end_matches('0').to_owned();
    let exponent = exponent.parse::<i64>().unwrap_or(0);
    let first = i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(zeros).unwrap_or(0);
    let power = if digits.is_empty() { 0 } else { exponent.saturating_add(first) };
    (unsigned.len() < written.len(), digits, power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_written_in_many_ways() {
        for (one, other) in
            [("1", "1.0"), ("100", "1e2"), ("0.10", "1E-1"), ("0", "0e7"), ("-1.50", "-15e-1")]
        {
            assert!(is_same_number(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "-1"), ("1", "10"), ("0.1", "0.10000000000000001"), ("1e400", "1e401")] {
            assert!(!is_same_number(one, other), "{one} {other}");
        }
    }
}

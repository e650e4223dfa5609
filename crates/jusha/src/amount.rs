//! Money and fuel as people write them. Integers only: a float would make `0.0003` a lie.

use base::{FUEL_PER_GFUEL, NANOCREDITS_PER_CREDIT, TASK_FUEL_MAX};

/// Digits after the point in credits and in Gfuel: both are 10⁻⁹ of their unit.
const DECIMALS: usize = 9;

/// Parses `12`, `0.0003` or `.5` into units of 10⁻⁹.
fn parse_decimal(text: &str) -> Result<u64, String> {
    let refuse = |problem: &str| Err(format!("`{text}` {problem}"));
    if text.starts_with('-') {
        return refuse("is negative");
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return refuse("is not a number such as 2 or 0.0003");
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > DECIMALS {
        return refuse("has more than nine digits after the point");
    }
    let padded = format!("{whole}{fraction:0<DECIMALS$}");
    padded.trim_start_matches('0').parse().or_else(|_| {
        if padded.bytes().all(|byte| byte == b'0') { Ok(0) } else { refuse("is too large") }
    })
}

/// Credits, such as `1.5`, as nanocredits. Zero is refused: nothing costs nothing.
pub fn parse_credits(text: &str) -> Result<i64, String> {
    let nanocredits = parse_decimal(text)?;
    match i64::try_from(nanocredits) {
        Ok(0) => Err(format!("`{text}` is zero")),
        Ok(nanocredits) => Ok(nanocredits),
        Err(_) => Err(format!("`{text}` credits are more than there can be")),
    }
}

/// A price per Tfuel: credits such as `0.0003`, or nanocredits such as `300000n`.
pub fn parse_price(text: &str) -> Result<i64, String> {
    let Some(nanocredits) = text.strip_suffix('n') else { return parse_credits(text) };
    match nanocredits.parse::<i64>() {
        Ok(nanocredits) if nanocredits > 0 => Ok(nanocredits),
        _ => Err(format!(
            "`{text}` is not a price: expected credits per Tfuel such as 0.0003, \
                          or nanocredits such as 300000n"
        )),
    }
}

/// Gfuel, such as `0.5`, as fuel.
pub fn parse_gfuel(text: &str) -> Result<u64, String> {
    match parse_decimal(text)? {
        0 => Err(format!("`{text}` is zero")),
        fuel if fuel > TASK_FUEL_MAX => Err(format!(
            "`{text}` is more than a task may use: {} Gfuel",
            TASK_FUEL_MAX / FUEL_PER_GFUEL
        )),
        fuel => Ok(fuel),
    }
}

/// Nanocredits as exact credits: `0.0031`.
pub fn credits(nanocredits: i64) -> String {
    let sign = if nanocredits < 0 { "-" } else { "" };
    let unit = NANOCREDITS_PER_CREDIT.unsigned_abs();
    let (whole, fraction) = (nanocredits.unsigned_abs() / unit, nanocredits.unsigned_abs() % unit);
    let text = format!("{sign}{whole}.{fraction:0DECIMALS$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Fuel with its unit, to three digits: for people, never for bills.
pub fn fuel(fuel: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "Tfuel"),
        (FUEL_PER_GFUEL, "Gfuel"),
        (1_000_000, "Mfuel"),
        (1_000, "kfuel"),
    ];
    for (unit, name) in UNITS {
        if fuel >= unit {
            let hundredths = u128::from(fuel) * 100 / u128::from(unit);
            return format!("{}.{:02} {name}", hundredths / 100, hundredths % 100);
        }
    }
    format!("{fuel} fuel")
}

/// A duration as people say it.
pub fn seconds(ms: i64) -> String {
    let ms = ms.max(0);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        for (text, nanocredits) in [
            ("0.0003", 300_000),
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("2.", 2_000_000_000),
            ("0.000000001", 1),
            ("0.1000000000000", 100_000_000),
            ("9223372036.854775807", i64::MAX),
        ] {
            assert_eq!(parse_credits(text), Ok(nanocredits), "{text}");
        }
        for bad in [
            "",
            ".",
            "-1",
            "0",
            "0.0",
            "1e3",
            "1,5",
            "0x1",
            "+1",
            " 1",
            "0.0000000001",
            "9223372037",
            "99999999999999999999",
        ] {
            let error = parse_credits(bad).unwrap_err();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }

    #[test]
    fn prices_may_be_given_in_nanocredits() {
        assert_eq!(parse_price("300000n"), Ok(300_000));
        assert_eq!(parse_price("0.0003"), Ok(300_000));
        for bad in ["0n", "-5n", "n", "1.5n", "0"] {
            assert!(parse_price(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_parsed_is_printed_alike() {
        for text in ["0.0003", "1", "1.5", "0.000000001", "1000", "9223372036.854775807"] {
            assert_eq!(credits(parse_credits(text).unwrap()), text);
        }
        assert_eq!(credits(0), "0");
        assert_eq!(credits(-1_500_000_000), "-1.5");
        assert_eq!(credits(i64::MIN), "-9223372036.854775808");
    }

    #[test]
    fn fuel_limits() {
        assert_eq!(parse_gfuel("0.5"), Ok(500_000_000));
        assert!(parse_gfuel("0").is_err());
        assert!(parse_gfuel("999999999").unwrap_err().contains("140737"));
        assert_eq!(fuel(999), "999 fuel");
        assert_eq!(fuel(12_345_678_901), "12.34 Gfuel");
        assert_eq!(fuel(TASK_FUEL_MAX), "140.73 Tfuel");
    }

    #[test]
    fn durations() {
        for (ms, text) in [
            (0, "0 ms"),
            (41_000, "41 s"),
            (2_340, "2.3 s"),
            (200_000, "3 min 20 s"),
            (7_260_000, "2 h 1 min"),
        ] {
            assert_eq!(seconds(ms), text);
        }
    }
}

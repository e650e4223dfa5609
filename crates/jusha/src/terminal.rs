//! What people and programs read: tables, JSON, and nothing else on standard output.

use std::borrow::Cow;
use std::io::Write;

use serde::Serialize;

use crate::error::{CliError, CliResult};

/// Text from elsewhere (names, reasons) as it may be shown: what moves a cursor, begins a line or
/// turns the direction of reading could make it look like ours.
pub fn clean(text: &str) -> Cow<'_, str> {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match text.contains(steers) {
        true => text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect(),
        false => text.into(),
    }
}

/// Writes to standard output. A reader that went away (`| head`) ends the command in silence.
pub fn out(bytes: &[u8]) -> CliResult<()> {
    out_while_read(bytes).map(drop)
}

/// The same for what has no end; false when nobody reads it any more.
pub fn out_while_read(bytes: &[u8]) -> CliResult<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(format!("can't write to standard output: {error}"))),
    }
}

/// A line on standard output.
pub fn line(text: &str) -> CliResult<()> {
    out(format!("{text}\n").as_bytes())
}

/// A value as pretty JSON on standard output.
pub fn json<T: Serialize>(value: &T) -> CliResult<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::new(format!("can't write JSON: {error}")))?;
    line(&text)
}

/// Rows under a head, columns aligned; numbers to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell).into_owned()).collect()).collect();
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let numeric: Vec<bool> = (0..head.len())
        .map(|column| {
            !rows.is_empty()
                && rows.iter().all(|row| {
                    row.get(column).is_some_and(|cell| {
                        cell.starts_with(|c: char| c.is_ascii_digit() || c == '-')
                            && !cell.contains('_')
                    })
                })
        })
        .collect();
    let render = |cells: &[String]| {
        let mut text = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if numeric[column] {
                text.push_str(&padding);
                text.push_str(cell);
            } else {
                text.push_str(cell);
                text.push_str(&padding);
            }
            text.push_str("  ");
        }
        text.trim_end().to_owned() + "\n"
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = render(&head);
    for row in &rows {
        text.push_str(&render(row));
    }
    text
}

/// JSON if wanted, else a table, or `nothing` when there are no rows.
pub fn list<T: Serialize>(
    as_json: bool,
    values: &[T],
    nothing: &str,
    head: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> CliResult<()> {
    if as_json {
        return json(&values);
    }
    if values.is_empty() {
        return line(nothing);
    }
    let rows: Vec<Vec<String>> = values.iter().map(row).collect();
    out(table(head, &rows).as_bytes())
}

/// A time as `2026-11-22 17:09:42Z`.
pub fn time(ms: i64) -> String {
    let (days, second) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1_000);
    // Civil date from days since 1970, by Hinnant's algorithm: years begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(time(0), "1970-01-01 00:00:00Z");
        assert_eq!(time(1_767_225_600_000), "2026-01-01 00:00:00Z");
        assert_eq!(time(1_709_164_799_000), "2024-02-28 23:59:59Z");
        assert_eq!(time(1_709_164_800_000), "2024-02-29 00:00:00Z");
        assert_eq!(time(-1), "1969-12-31 23:59:59Z");
    }

    #[test]
    fn what_others_say_moves_no_cursor() {
        assert_eq!(clean("a machine — Ämter, 機"), "a machine — Ämter, 機");
        let hostile = "ok\r\n\u{1b}[2Jhint: run this\u{9b}A\u{202e}";
        assert_eq!(clean(hostile), "ok\u{fffd}\u{fffd}\u{fffd}[2Jhint: run this\u{fffd}A\u{fffd}");
        let rows = [vec!["\u{1b}[1mant".to_owned()]];
        assert_eq!(table(&["name"], &rows), "name\n\u{fffd}[1mant\n");
    }

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [vec!["ant".to_owned(), "5".to_owned()], vec!["b".to_owned(), "120".to_owned()]];
        assert_eq!(
            table(&["machine", "fuel"], &rows),
            "machine  fuel\nant         5\nb         120\n"
        );
    }
}

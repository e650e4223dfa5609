//! An account's statement, from its parts: `jusha wallet statement`, `jusha admin statement`.

use base::AccountId;
use clap::Args;
use client::Client;
use wire::{STATEMENT_CSV_HEAD, Statement};

use crate::error::CliResult;
use crate::{amount, terminal};

/// Which period, and how it is written.
#[derive(Debug, Args)]
pub struct Period {
    /// The first day (UTC), such as 2026-11-01 [default: the account's beginning]
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    from: Option<i64>,
    /// The first day that isn't in it any more [default: there is no end]
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    to: Option<i64>,
    /// CSV on standard output, for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// JSON on standard output
    #[arg(long)]
    json: bool,
}

/// Milliseconds of a day's beginning.
fn parse_day(text: &str) -> Result<i64, String> {
    let refuse = || format!("`{text}` is not a day such as 2026-11-01");
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return Err(refuse()) };
    let number = |part: &str, digits: usize| match part.len() == digits {
        true => part.parse::<u32>().map(i64::from).map_err(|_| refuse()),
        false => Err(refuse()),
    };
    let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
    // Hinnant's algorithm, the other way than `terminal::time`, which also finds the days that
    // no month has.
    let from_march = if month <= 2 { year - 1 } else { year };
    let era = from_march.div_euclid(400);
    let year_of_era = from_march.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let ms = (era * 146_097 + day_of_era - 719_468) * 86_400_000;
    if terminal::time(ms).starts_with(text) { Ok(ms) } else { Err(refuse()) }
}

/// Fetches a whole statement and writes it.
pub async fn write(client: &Client, account: Option<AccountId>, period: &Period) -> CliResult<()> {
    let whole = fetch(client, account, period).await?;
    if period.json {
        return terminal::json(&whole);
    }
    if period.csv {
        return terminal::out(format!("{STATEMENT_CSV_HEAD}{}", whole.csv_rows()).as_bytes());
    }
    let head = ["when", "reason", "moved", "change", "available", "in all", "from", "to"];
    let row = |line: &wire::StatementLine| {
        vec![
            terminal::time(line.at_ms),
            line.reason.clone(),
            amount::credits(line.amount_nanocredits),
            amount::credits(line.change_nanocredits),
            amount::credits(line.balances.available_nanocredits),
            amount::credits(line.balances.total_nanocredits),
            line.from.clone(),
            line.to.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = whole.lines.iter().map(row).collect();
    let end = |name: &str, balances: wire::Balances| {
        let available = amount::credits(balances.available_nanocredits);
        let total = amount::credits(balances.total_nanocredits);
        format!("{name}  {available} available, {total} in all\n")
    };
    let (opening, closing) = (end("opening", whole.opening), end("closing", whole.closing));
    let table = if rows.is_empty() { String::new() } else { terminal::table(&head, &rows) };
    terminal::out(format!("{}\n{opening}{table}{closing}", whole.account).as_bytes())
}

async fn fetch(
    client: &Client,
    account: Option<AccountId>,
    period: &Period,
) -> CliResult<Statement> {
    let bounds = (period.from.unwrap_or(0), period.to.unwrap_or(i64::MAX));
    let mut whole = client.statement(account, bounds, None).await?;
    while let Some(cursor) = whole.next_cursor.take() {
        let more = client.statement(account, bounds, Some(&cursor)).await?;
        whole.lines.extend(more.lines);
        (whole.closing, whole.next_cursor) = (more.closing, more.next_cursor);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for day in ["1970-01-01", "2024-02-29", "2026-11-23", "2000-12-31", "1999-03-01"] {
            let ms = parse_day(day).unwrap();
            assert_eq!(terminal::time(ms), format!("{day} 00:00:00Z"));
        }
        for bad in ["", "2026", "2026-2-1", "2023-02-29", "2026-13-01", "2026-00-10", "26-01-01"] {
            assert!(parse_day(bad).unwrap_err().contains("is not a day"), "{bad}");
        }
    }
}

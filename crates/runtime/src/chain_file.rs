//! A chain as a text that others can check: a JSON line per record, as `jusha exec --chain` writes
//! and `jusha verify --chain` reads it.

use crate::protocol::Record;

/// Why a text is not a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFileError {
    /// A line is something else.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Records go back.
    #[error(
        "line {line}: record {k} at fuel {fuel} can't come after one with more; keep the lines in their order"
    )]
    Order {
        /// Counted from 1.
        line: usize,
        /// The record's number.
        k: u64,
        /// The task's fuel there.
        fuel: u64,
    },
}

/// A record's line, its end included.
pub fn line(record: &Record) -> String {
    format!("{{\"k\":{},\"fuel\":{},\"digest\":\"{}\"}}\n", record.k, record.fuel, record.digest)
}

/// All records of a text; blank lines are nothing.
pub fn read(text: &[u8]) -> Result<Vec<Record>, ChainFileError> {
    let mut records: Vec<Record> = Vec::new();
    for (index, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let record: Record = serde_json::from_slice(bytes)
            .map_err(|error| ChainFileError::Line { line: index + 1, why: error.to_string() })?;
        if records.last().is_some_and(|last| last.fuel > record.fuel) {
            let Record { k, fuel, .. } = record;
            return Err(ChainFileError::Order { line: index + 1, k, fuel });
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use base::Digest;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let record = |k, fuel| Record { k, fuel, digest: Digest::of(&[k as u8]) };
        let records = [record(1, 10), record(2, 20), record(2, 20), record(2, 25)];
        let text: String = records.iter().map(line).collect();
        assert_eq!(read(text.as_bytes()).unwrap(), records);
        assert_eq!(read(text.replace('\n', "\n\n  \r\n").as_bytes()).unwrap(), records);
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let good = line(&Record { k: 3, fuel: 30, digest: Digest::default() });
        for (bad, line, words) in [
            ("nonsense\n".to_owned(), 2, "expected"),
            ("\n{\"k\":4,\"fuel\":31}\n".to_owned(), 3, "missing field `digest`"),
            (good.replace(":30", ":3.5"), 2, "invalid type"),
            (good.replace(":30", ":29"), 2, "record 3 at fuel 29"),
            (good.replace('}', ",\"more\":1}"), 2, "unknown field `more`"),
        ] {
            let error = read(format!("{good}{bad}").as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line {line}: ")), "{error}");
            assert!(error.contains(words), "{error}");
        }
        assert!(read(b"\xff\n").unwrap_err().to_string().starts_with("line 1: "));
    }
}

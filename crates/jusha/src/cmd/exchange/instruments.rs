//! The file of instruments: what an exchange trades.

use std::fs;
use std::path::Path;

use wire::{InstrumentFile, NewInstrument};

use crate::error::{CliError, CliResult, io};

/// The file in the data directory.
pub const FILE: &str = "instruments.toml";

/// Reads a file of instruments, and says what an exchange would refuse.
pub fn read_instruments(path: &Path) -> CliResult<Vec<NewInstrument>> {
    let text = io(fs::read_to_string(path), format_args!("read {}", path.display()))?;
    let file: InstrumentFile = toml::from_str(&text).map_err(|error| {
        CliError::new(format!("{}: {}", path.display(), error.to_string().trim()))
            .hint("docs/operation.md has the fields; `jusha admin instruments` prints such a file")
    })?;
    exchange::check_instruments(&file.instruments)
        .map_err(|flaw| CliError::new(format!("{}: {flaw}", path.display())))?;
    if file.instruments.is_empty() {
        return Err(CliError::new(format!("{} has no instruments", path.display()))
            .hint("with it nothing would be traded: begin with `jusha admin instruments`"));
    }
    Ok(file.instruments)
}

/// The text of such a file.
pub fn instruments_text(instruments: Vec<NewInstrument>) -> CliResult<String> {
    toml::to_string(&InstrumentFile { instruments })
        .map_err(|error| CliError::new(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_and_what_is_wrong_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_instruments(&path).map_err(|error| error.to_string())
        };
        let text = "[[instrument]]\nname = \"cpu.2g.fast\"\nmemory_mib = 2048\n\
                    speed_min_mfuel_per_s = 3000\ntick_nanocredits = 1000\n\
                    price_min_nanocredits = 1000\n";
        let one = read(text).unwrap();
        assert_eq!((one.len(), one[0].speed_min_mfuel_per_s, one[0].lot), (1, 3_000, 1));
        assert_eq!(read(&instruments_text(one.clone()).unwrap()).unwrap(), one);
        for (text, word) in [
            ("[[instrument]]\nmemory_mib = 1\n".to_owned(), "name"),
            (format!("{text}price = 1\n"), "unknown field `price`"),
            (format!("{text}lot = 0\n"), "cpu.2g.fast"),
            (format!("{text}{text}"), "twice"),
            (String::new(), "no instruments"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}

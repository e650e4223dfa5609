//! `/sys/class/power_supply`: adapters and batteries.
//! (<https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-class-power>)

use std::fs;
use std::path::Path;

use crate::Power;

/// Where the electricity comes from; `supplies` is that directory. A computer without a battery of
/// its own has none to spare: a mouse's doesn't count.
pub fn read(supplies: &Path) -> Power {
    let Ok(entries) = fs::read_dir(supplies) else { return Power::Mains };
    let (mut adapter, mut discharging) = (false, None);
    for entry in entries.flatten() {
        let value = |name: &str| {
            let text = fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        if value("scope") == "Device" {
            continue;
        }
        if value("type") == "Battery" {
            if value("status") == "Discharging" {
                let percent = value("capacity").parse().unwrap_or(0_u8).min(100);
                discharging = Some(discharging.map_or(percent, |other: u8| other.min(percent)));
            }
        } else {
            adapter |= value("online") == "1";
        }
    }
    match discharging {
        // Some computers draw on the battery for a moment while they are plugged in.
        Some(percent) if !adapter => Power::Battery { percent },
        _ => Power::Mains,
    }
}

/// Whether the computer has a battery of its own.
pub fn has_battery(supplies: &Path) -> bool {
    let text = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default();
    let entries = fs::read_dir(supplies).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|supply| {
        text(supply.join("type")).trim() == "Battery"
            && text(supply.join("scope")).trim() != "Device"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Supplies with their files as `name: file=text, …`.
    fn with(supplies: &[(&str, &[(&str, &str)])]) -> Power {
        let dir = tempfile::tempdir().unwrap();
        for (name, files) in supplies {
            fs::create_dir(dir.path().join(name)).unwrap();
            for (file, text) in *files {
                fs::write(dir.path().join(name).join(file), format!("{text}\n")).unwrap();
            }
        }
        read(dir.path())
    }

    #[test]
    fn a_laptop_knows_whether_it_is_plugged_in() {
        let adapter = |online| ("AC", [("type", "Mains"), ("online", online)]);
        let battery = |status, capacity| {
            ("BAT0", [("type", "Battery"), ("status", status), ("capacity", capacity)])
        };
        let both = |adapter: &(&str, [(&str, &str); 2]), battery: &(&str, [(&str, &str); 3])| {
            with(&[(adapter.0, &adapter.1), (battery.0, &battery.1)])
        };
        let low = Power::Battery { percent: 31 };
        assert_eq!(both(&adapter("0"), &battery("Discharging", "31")), low);
        assert_eq!(both(&adapter("1"), &battery("Discharging", "31")), Power::Mains);
        assert_eq!(both(&adapter("1"), &battery("Charging", "31")), Power::Mains);
        assert_eq!(both(&adapter("0"), &battery("Full", "100")), Power::Mains);
        // Two batteries: the emptier one. No number is the worst.
        let second = [("type", "Battery"), ("status", "Discharging"), ("capacity", "x")];
        let (name, first) = battery("Discharging", "31");
        assert_eq!(with(&[(name, &first), ("BAT1", &second)]), Power::Battery { percent: 0 });
    }

    #[test]
    fn a_desktop_is_plugged_in() {
        assert_eq!(read(Path::new("/nonexistent")), Power::Mains);
        assert_eq!(with(&[]), Power::Mains);
        let mouse = [("type", "Battery"), ("status", "Discharging"), ("scope", "Device")];
        assert_eq!(with(&[("hidpp_battery_0", &mouse)]), Power::Mains);
    }
}

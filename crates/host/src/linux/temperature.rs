//! `/sys/class/hwmon` and `/sys/class/thermal`: the processor's sensors.
//! (<https://www.kernel.org/doc/Documentation/hwmon/sysfs-interface.rst>)

use std::fs;
use std::path::Path;

/// Drivers whose sensors are in processors. A disk may be hotter without anybody's fault.
const PROCESSORS: [&str; 6] =
    ["coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "x86_pkg_temp"];
/// Outside of these a sensor is broken or something else.
const PLAUSIBLE: std::ops::Range<i32> = -40_000..150_000;

/// The hottest sensor of the processor in thousandths of a degree; of all thermal zones where none
/// says that it is one; `None` without sensors, as in virtual machines. `class` is `/sys/class`.
pub fn read(class: &Path) -> Option<i32> {
    let of = |path: &Path| {
        let text = fs::read_to_string(path).ok()?;
        text.trim().parse::<i32>().ok().filter(|value| PLAUSIBLE.contains(value))
    };
    let (mut processor, mut other) = (None, None);
    for monitor in entries(&class.join("hwmon")) {
        let name = fs::read_to_string(monitor.join("name")).unwrap_or_default();
        if !PROCESSORS.contains(&name.trim()) {
            continue;
        }
        let inputs = entries(&monitor).into_iter().filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("temp") && name.ends_with("_input")
        });
        processor = processor.max(inputs.filter_map(|path| of(&path)).max());
    }
    for zone in entries(&class.join("thermal")) {
        let kind = fs::read_to_string(zone.join("type")).unwrap_or_default();
        let value = of(&zone.join("temp"));
        match PROCESSORS.contains(&kind.trim()) {
            true => processor = processor.max(value),
            false => other = other.max(value),
        }
    }
    processor.or(other)
}

fn entries(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> Option<i32> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        read(dir.path())
    }

    #[test]
    fn the_hottest_core_counts_and_no_disk() {
        let files = [
            ("hwmon/hwmon0/name", "nvme"),
            ("hwmon/hwmon0/temp1_input", "91000"),
            ("hwmon/hwmon1/name", "coretemp"),
            ("hwmon/hwmon1/temp1_input", "61000"),
            ("hwmon/hwmon1/temp2_input", "64500"),
            ("hwmon/hwmon1/temp2_crit", "100000"),
            ("hwmon/hwmon1/temp3_input", "999999"),
            ("thermal/thermal_zone0/type", "acpitz"),
            ("thermal/thermal_zone0/temp", "95000"),
            ("thermal/thermal_zone1/type", "x86_pkg_temp"),
            ("thermal/thermal_zone1/temp", "64000"),
        ];
        assert_eq!(with(&files), Some(64_500));
        assert_eq!(with(&files[7..9]), Some(95_000), "better than nothing");
        assert_eq!(with(&files[..2]), None);
        assert_eq!(read(Path::new("/nonexistent")), None);
    }
}

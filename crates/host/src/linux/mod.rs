//! Linux, from what the kernel and the login manager show in files.

pub mod cpu;
pub mod power;
pub mod presence;
pub mod temperature;

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Host, Observation};

/// This computer.
#[derive(Debug)]
pub struct Linux {
    root: PathBuf,
    presence: presence::Watcher,
    cpu: cpu::Cpu,
}

impl Linux {
    /// `root` is `/`, or what stands for it in tests.
    pub fn new(root: &Path) -> Self {
        Linux {
            root: root.to_owned(),
            presence: presence::Watcher::new(root),
            cpu: cpu::Cpu::new(&root.join("proc")),
        }
    }

    /// Milliseconds since the start, sleep included: so a gap shows that the computer slept.
    fn uptime_ms(&self) -> Option<u64> {
        let text = fs::read_to_string(self.root.join("proc/uptime")).ok()?;
        let (seconds, rest) = text.split_ascii_whitespace().next()?.split_once('.')?;
        Some(seconds.parse::<u64>().ok()? * 1000 + rest.get(..2)?.parse::<u64>().ok()? * 10)
    }

    /// The time zone's name, such as `Europe/Berlin`.
    pub fn time_zone(&self) -> Option<String> {
        let target = fs::read_link(self.root.join("etc/localtime")).ok();
        let named =
            target.and_then(|path| Some(path.to_str()?.split_once("zoneinfo/")?.1.to_owned()));
        let written = || fs::read_to_string(self.root.join("etc/timezone")).ok();
        named.or_else(|| Some(written()?.trim().to_owned()))
    }

    /// Whether it has a battery of its own: then it is made to take little.
    pub fn has_battery(&self) -> bool {
        power::has_battery(&self.root.join("sys/class/power_supply"))
    }

    /// Its memory, as far as programs can have it.
    pub fn memory_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.root.join("proc/meminfo")).ok()?;
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }
}

impl Host for Linux {
    fn observe(&mut self, own: &[u32]) -> Observation {
        let at_ms = self.uptime_ms().unwrap_or(0);
        Observation {
            at_ms,
            minute_of_day: local_minute(),
            presence: self.presence.look(at_ms, || None),
            power: power::read(&self.root.join("sys/class/power_supply")),
            others_cpu_permille: self.cpu.others_permille(own, at_ms),
            temperature_millicelsius: temperature::read(&self.root.join("sys/class")),
            traffic_today_bytes: 0,
        }
    }
}

/// Minutes since midnight on the owner's clock.
fn local_minute() -> u16 {
    let local = local_time();
    u16::try_from(local.tm_hour * 60 + local.tm_min).unwrap_or(0)
}

/// The day on the owner's clock, such as 20261123: traffic and earnings are counted by it.
pub fn local_day() -> u32 {
    let local = local_time();
    let day = (local.tm_year + 1900) * 10_000 + (local.tm_mon + 1) * 100 + local.tm_mday;
    u32::try_from(day).unwrap_or(0)
}

fn local_time() -> libc::tm {
    // SAFETY: all-zero bytes are a `tm`; both pointers are to values that outlive the calls.
    unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        let now = libc::time(std::ptr::null_mut());
        libc::localtime_r(&now, &mut local);
        local
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_can_be_observed() {
        let mut linux = Linux::new(Path::new("/"));
        let own = [std::process::id()];
        let first = linux.observe(&own);
        assert_eq!(first.others_cpu_permille, 1000, "nothing to compare with");
        let second = linux.observe(&own);
        assert!(first.at_ms > 0 && second.at_ms >= first.at_ms);
        assert!(second.minute_of_day < 1440);
        assert!(linux.memory_bytes().unwrap() > 64 << 20);
        assert!((20_200_101..21_000_101).contains(&local_day()));
    }
}

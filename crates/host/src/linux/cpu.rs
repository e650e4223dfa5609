//! `/proc/stat` and `/proc/PID/stat`: who uses the processor.
//! (<https://man7.org/linux/man-pages/man5/proc_stat.5.html>, proc_pid_stat.5)

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// What is looked at together: a program that starts is not a computer in use.
const WINDOW_MS: u64 = 10_000;

/// What was used lately.
#[derive(Debug)]
pub struct Cpu {
    proc: PathBuf,
    /// The oldest first: one that is older than the window, and all younger ones.
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    at_ms: u64,
    /// Ticks of all cores, idle or not.
    all: u64,
    busy: u64,
    own: u64,
}

impl Cpu {
    /// `proc` is `/proc`.
    pub fn new(proc: &Path) -> Self {
        Cpu { proc: proc.to_owned(), samples: VecDeque::new() }
    }

    /// What everybody but the processes `own` and their ended children used of all cores in the
    /// last ten seconds, as far as they were seen, in thousandths. The first time, and where it
    /// can't be read, that is everything: what isn't known counts as busy.
    pub fn others_permille(&mut self, own: &[u32], now_ms: u64) -> u16 {
        let Some(now) = self.sample(own, now_ms) else {
            self.samples.clear();
            return 1000;
        };
        let is_old = |sample: &Sample| now_ms.saturating_sub(sample.at_ms) >= WINDOW_MS;
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
        let then = self.samples.front().copied();
        self.samples.push_back(now);
        let Some(then) = then else { return 1000 };
        let all = now.all.saturating_sub(then.all);
        if all == 0 {
            return 1000;
        }
        let busy = now.busy.saturating_sub(then.busy);
        let others = busy.saturating_sub(now.own.saturating_sub(then.own));
        (others.min(all) * 1000 / all) as u16
    }

    fn sample(&self, own: &[u32], at_ms: u64) -> Option<Sample> {
        let text = fs::read_to_string(self.proc.join("stat")).ok()?;
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks = line.split_ascii_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>();
        // user nice system idle iowait irq softirq steal; the guests' time is in the user's.
        let ticks = ticks.ok()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else {
            return None;
        };
        let busy = user + nice + system + irq + softirq;
        let own = own.iter().filter_map(|process| self.process(*process)).sum();
        Some(Sample { at_ms, all: busy + idle + iowait + steal, busy, own })
    }

    /// Ticks of a process and of its children that ended: when a worker ends, what it used goes
    /// over to the agent and isn't lost.
    fn process(&self, process: u32) -> Option<u64> {
        let text = fs::read_to_string(self.proc.join(process.to_string()).join("stat")).ok()?;
        // The name may contain anything, brackets and spaces, too.
        let (_, fields) = text.rsplit_once(')')?;
        let ticks = fields.split_ascii_whitespace().skip(11).take(4);
        ticks.map(|ticks| ticks.parse::<u64>().ok()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, cpu: [u64; 8], processes: &[(u32, [u64; 4])]) {
        let ticks = cpu.map(|ticks| ticks.to_string()).join(" ");
        fs::write(dir.join("stat"), format!("cpu  {ticks} 0 0\ncpu0 1 2 3\nintr 5\n")).unwrap();
        for (process, ticks) in processes {
            let own = dir.join(process.to_string());
            fs::create_dir_all(&own).unwrap();
            let ticks = ticks.map(|ticks| ticks.to_string()).join(" ");
            let head = format!("{process} (a) R (b) S 1 1 1 0 -1 4194304 10 20 30 40");
            fs::write(own.join("stat"), format!("{head} {ticks} 20 0 1 0 100\n")).unwrap();
        }
    }

    #[test]
    fn what_is_ours_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let mut cpu = Cpu::new(dir.path());
        assert_eq!(cpu.others_permille(&[], 0), 1000, "unreadable");
        // The agent is 7, a worker 8.
        write(dir.path(), [0, 0, 0, 1000, 0, 0, 0, 0], &[(7, [0; 4]), (8, [0; 4])]);
        assert_eq!(cpu.others_permille(&[7, 8], 0), 1000, "the first look");
        // 400 of 1000 ticks were busy, 300 of them the worker's and 20 the agent's.
        write(
            dir.path(),
            [50, 300, 40, 1600, 0, 5, 5, 0],
            &[(7, [10, 10, 0, 0]), (8, [290, 10, 0, 0])],
        );
        assert_eq!(cpu.others_permille(&[7, 8], 10_000), 80);
        // The worker ended: what it used is among the agent's children's, and nothing else ran.
        write(dir.path(), [50, 400, 40, 2500, 0, 5, 5, 0], &[(7, [10, 10, 390, 10])]);
        assert_eq!(cpu.others_permille(&[7], 20_000), 0);
        // Waiting for a disk or another virtual machine is not using it.
        write(dir.path(), [51, 400, 40, 2500, 500, 5, 5, 499], &[(7, [10, 10, 390, 10])]);
        assert_eq!(cpu.others_permille(&[7], 30_000), 1);
    }

    #[test]
    fn a_short_burst_is_seen_in_its_ten_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let mut cpu = Cpu::new(dir.path());
        let (mut busy, mut idle) = (0, 1000);
        let seen: Vec<u16> = (0..30_u64)
            .map(|second| {
                // One second of one core of two, then twenty of nothing.
                let used = u64::from(second == 1) * 100;
                busy += used;
                idle += 200 - used;
                write(dir.path(), [busy, 0, 0, idle, 0, 0, 0, 0], &[]);
                cpu.others_permille(&[], second * 1000)
            })
            .collect();
        assert_eq!(seen[..4], [1000, 500, 250, 166]);
        assert_eq!(seen[10..13], [50, 0, 0]);
    }

    #[test]
    fn this_computer_can_be_read() {
        let mut cpu = Cpu::new(Path::new("/proc"));
        let own = std::process::id();
        cpu.others_permille(&[own], 0);
        let before = cpu.samples[0];
        // Busy until the kernel's tick has counted it.
        let mut x = 1_u64;
        while cpu.process(own).unwrap() <= before.own {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(cpu.others_permille(&[own], 1) <= 1000);
        assert!(cpu.samples[1].own > before.own);
    }
}

//! A computer with a keyboard that tests can press: its files are in a directory, but for what the
//! kernel says of processes, which is this computer's own.

use std::cell::Cell;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::unistd::Pid;

use crate::stage::{Scene, children_of};

/// Long ago.
const HOUR: Duration = Duration::from_secs(3600);

/// See the module.
pub struct Computer {
    root: PathBuf,
    terminal: Cell<u32>,
}

impl Computer {
    /// One whose owner has been away for an hour, and an agent's settings on it: nobody minds what
    /// tests do beside.
    pub fn new(scene: &Scene, machine: &str) -> Computer {
        let root = scene.path(&format!("{machine}-root"));
        fs::create_dir_all(root.join("dev/pts")).unwrap();
        symlink("/proc", root.join("proc")).unwrap();
        scene.write(
            &format!("{machine}/settings.toml"),
            "others_cpu_max_percent = 100\ntemperature_max_celsius = 255\n",
        );
        let computer = Computer { root, terminal: Cell::new(0) };
        computer.leave();
        computer
    }

    /// The options with which a machine is on it.
    pub fn options(&self) -> [&str; 3] {
        // Other tests run beside, and to those the lowest priority would leave everything.
        ["--ordinary-priority", "--root", self.root.to_str().unwrap()]
    }

    /// The owner presses a key.
    pub fn press(&self) {
        self.touched(SystemTime::now());
    }

    /// The terminal is closed, and of another one an agent sees that it was left an hour ago. (That
    /// a key was never pressed is nothing that an agent believes of one that it has seen.)
    pub fn leave(&self) {
        let terminal = self.terminal.get();
        let _ = fs::remove_file(self.path());
        self.terminal.set(terminal + 1);
        self.touched(SystemTime::now() - HOUR);
    }

    fn path(&self) -> PathBuf {
        self.root.join(format!("dev/pts/{}", self.terminal.get()))
    }

    fn touched(&self, at: SystemTime) {
        let path = self.path();
        let terminal = File::options().create(true).append(true).open(path).unwrap();
        terminal.set_times(FileTimes::new().set_accessed(at)).unwrap();
    }
}

/// The worker processes of an agent.
pub fn workers_of(agent: Pid) -> Vec<Pid> {
    children_of(agent)
}

/// A process as the kernel sees it: its state's letter, and the ticks of the processor that it
/// used. `None` when it is gone.
pub fn process(id: Pid) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Some((fields[0].chars().next().unwrap(), ticks))
}

/// Keeps this process busy for so many ticks: whatever may run meanwhile has had its chance.
pub fn burn(ticks: u64) {
    let own = Pid::this();
    let until = process(own).unwrap().1 + ticks;
    let mut x = 1_u64;
    while process(own).unwrap().1 < until {
        for _ in 0..100_000 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }
}

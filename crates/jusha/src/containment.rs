//! What an owner may do without, by name: nothing of it is ever given up silently.

use clap::Args;
use runtime::sandbox::Weakening;

/// Options of every command that runs programs on this computer.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Weaker containment (see `jusha doctor`)")]
pub struct Containment {
    /// Run programs although this system can't filter their system calls: one that breaks out of
    /// WebAssembly can then attack the kernel
    #[arg(long)]
    without_syscall_filter: bool,
    /// Run programs although this system has neither Landlock nor user namespaces: nothing but
    /// the filter of system calls then keeps them from this computer's files
    #[arg(long)]
    without_file_isolation: bool,
}

impl Containment {
    /// As the runtime takes it.
    pub fn weakening(&self) -> Weakening {
        Weakening {
            without_syscall_filter: self.without_syscall_filter,
            without_file_isolation: self.without_file_isolation,
        }
    }

    /// As options for a child of this program.
    pub fn options(&self) -> Vec<&'static str> {
        let options = [
            (self.without_syscall_filter, "--without-syscall-filter"),
            (self.without_file_isolation, "--without-file-isolation"),
        ];
        options.into_iter().filter_map(|(given, option)| given.then_some(option)).collect()
    }
}

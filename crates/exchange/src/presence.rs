//! Which machines are connected, and which have been silent for too long. Owned by the
//! sequencer, never journaled: after a restart every machine gets a full period to come back,
//! and more if that is short.
//! Time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base::MachineId;
use tokio::sync::mpsc;
use wire::{RuntimeTerms, ToAgent};

/// The way to one connected agent. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// Tells an agent's newest connection from an older one.
    pub connection: u64,
    /// Bounded: an agent that doesn't read is dropped, never waited for.
    pub sender: mpsc::Sender<ToAgent>,
    /// What its tasks need not wait for.
    pub runtimes: Vec<RuntimeTerms>,
}

#[derive(Debug)]
struct Watched {
    link: Option<Link>,
    deadline: Instant,
}

/// The machines that are connected or expected.
#[derive(Debug)]
pub(crate) struct Presence {
    machines: BTreeMap<MachineId, Watched>,
    lapse_after: Duration,
    reconnect_grace: Duration,
}

impl Presence {
    pub fn new(lapse_after: Duration, reconnect_grace: Duration) -> Self {
        Presence { machines: BTreeMap::new(), lapse_after, reconnect_grace }
    }

    /// Waits a full period for a machine that isn't connected.
    pub fn expect(&mut self, machine: MachineId, now: Instant) {
        let deadline = now + self.lapse_after;
        self.machines.entry(machine).or_insert(Watched { link: None, deadline });
    }

    /// Waits for a machine that may need longer than usual, since the exchange was away.
    pub fn expect_after_start(&mut self, machine: MachineId, start_grace: Duration, now: Instant) {
        let deadline = now + self.lapse_after.max(start_grace);
        self.machines.entry(machine).or_insert(Watched { link: None, deadline });
    }

    /// The exchange itself stood still for so long, and could hear nobody.
    pub fn shift(&mut self, stall: Duration) {
        for watched in self.machines.values_mut() {
            watched.deadline += stall;
        }
    }

    /// A machine connected; an older connection of it is closed.
    pub fn connected(&mut self, machine: MachineId, link: Link, now: Instant) {
        let deadline = now + self.lapse_after;
        self.machines.insert(machine, Watched { link: Some(link), deadline });
    }

    /// A machine said something.
    pub fn heard(&mut self, machine: MachineId, connection: u64, now: Instant) {
        let deadline = now + self.lapse_after;
        if let Some(watched) = self.current(machine, connection) {
            watched.deadline = deadline;
        }
    }

    /// A connection closed. An older one than the current doesn't matter.
    pub fn disconnected(&mut self, machine: MachineId, connection: u64, now: Instant) {
        let grace = now + self.reconnect_grace;
        if let Some(watched) = self.current(machine, connection) {
            watched.link = None;
            watched.deadline = watched.deadline.min(grace);
        }
    }

    /// Closes a machine's connection for good: it is retired.
    pub fn forget(&mut self, machine: MachineId) {
        self.machines.remove(&machine);
    }

    /// Machines whose time is over, which are forgotten hereby: a connection that was silent
    /// is closed, so that the agent comes back and learns what it lost.
    pub fn overdue(&mut self, now: Instant) -> Vec<MachineId> {
        let due: Vec<MachineId> = self
            .machines
            .iter()
            .filter(|(_, watched)| watched.deadline <= now)
            .map(|(machine, _)| *machine)
            .collect();
        for machine in &due {
            self.machines.remove(machine);
        }
        due
    }

    /// Sends to a machine if it is connected. One whose queue is full is dropped: it learns
    /// from its next Welcome what it missed.
    pub fn send(&mut self, machine: MachineId, message: ToAgent, now: Instant) {
        let Some(watched) = self.machines.get_mut(&machine) else { return };
        let Some(link) = &watched.link else { return };
        if link.sender.try_send(message).is_err() {
            tracing::warn!(%machine, "agent reads too slowly or is gone; disconnected");
            let connection = link.connection;
            self.disconnected(machine, connection, now);
        }
    }

    /// Whether this connection is the machine's current one.
    pub fn is_current(&self, machine: MachineId, connection: u64) -> bool {
        self.machines
            .get(&machine)
            .and_then(|watched| watched.link.as_ref())
            .is_some_and(|link| link.connection == connection)
    }

    /// Whether a machine is connected.
    pub fn is_online(&self, machine: MachineId) -> bool {
        self.machines.get(&machine).is_some_and(|watched| watched.link.is_some())
    }

    /// The runtimes that a connected machine says it has.
    pub fn runtimes(&self, machine: MachineId) -> &[RuntimeTerms] {
        let link = self.machines.get(&machine).and_then(|watched| watched.link.as_ref());
        link.map_or(&[], |link| &link.runtimes)
    }

    /// The connected machines that have runtimes.
    pub fn with_runtimes(&self) -> impl Iterator<Item = (MachineId, &[RuntimeTerms])> {
        self.machines
            .iter()
            .filter_map(|(machine, watched)| Some((*machine, &watched.link.as_ref()?.runtimes[..])))
            .filter(|(_, runtimes)| !runtimes.is_empty())
    }

    /// How many machines are connected.
    pub fn online(&self) -> usize {
        self.machines.values().filter(|watched| watched.link.is_some()).count()
    }

    /// Closes every connection.
    pub fn close(&mut self) {
        self.machines.clear();
    }

    fn current(&mut self, machine: MachineId, connection: u64) -> Option<&mut Watched> {
        self.machines.get_mut(&machine).filter(|watched| {
            watched.link.as_ref().is_some_and(|link| link.connection == connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: MachineId = MachineId(7);

    fn presence() -> (Presence, Instant) {
        (Presence::new(Duration::from_secs(6), Duration::from_secs(3)), Instant::now())
    }

    fn link(connection: u64, queue: usize) -> (Link, mpsc::Receiver<ToAgent>) {
        let (sender, receiver) = mpsc::channel(queue);
        (Link { connection, sender, runtimes: Vec::new() }, receiver)
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn silence_and_a_closed_connection_have_their_own_periods() {
        let (mut presence, start) = presence();
        presence.connected(MACHINE, link(1, 1).0, start);
        presence.heard(MACHINE, 1, after(start, 5));
        assert_eq!(presence.overdue(after(start, 10)), []);
        presence.disconnected(MACHINE, 1, after(start, 6));
        assert_eq!(presence.overdue(after(start, 8)), []);
        assert_eq!(presence.overdue(after(start, 9)), [MACHINE]);
        assert_eq!(presence.overdue(after(start, 99)), [], "a machine lapses once");
    }

    #[test]
    fn an_older_connection_neither_closes_nor_keeps_alive_the_newer() {
        let (mut presence, start) = presence();
        let (old, mut old_receiver) = link(1, 1);
        presence.connected(MACHINE, old, start);
        let (new, _receiver) = link(2, 1);
        presence.connected(MACHINE, new, start);
        assert!(
            old_receiver.try_recv().is_err_and(|e| e == mpsc::error::TryRecvError::Disconnected)
        );
        presence.disconnected(MACHINE, 1, start);
        assert!(presence.is_online(MACHINE));
        presence.heard(MACHINE, 1, after(start, 5));
        assert_eq!(presence.overdue(after(start, 6)), [MACHINE]);
    }

    #[test]
    fn an_agent_that_does_not_read_is_dropped() {
        let (mut presence, start) = presence();
        let (link, _receiver) = link(1, 1);
        presence.connected(MACHINE, link, start);
        let message = || ToAgent::Refused { code: String::new(), message: String::new() };
        presence.send(MACHINE, message(), start);
        assert!(presence.is_online(MACHINE));
        presence.send(MACHINE, message(), start);
        assert!(!presence.is_online(MACHINE));
    }
}

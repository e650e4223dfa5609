//! The demo's processes: an exchange and three machines, each with a key, an account and a
//! price of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::MachineId;
use client::Client;

use crate::children::{self, Role};
use crate::cmd::exchange::{open_account, operator};
use crate::cmd::up::utf8;
use crate::error::{CliError, CliResult, io};
use crate::terminal;

/// The machines and what they ask, in nanocredits per Tfuel.
const MACHINES: [(&str, i64); 3] = [("ant", 200_000), ("bee", 300_000), ("cicada", 450_000)];

/// Says what happens: on standard output, or on standard error when that is for JSON.
#[derive(Clone, Copy)]
pub struct Narrator {
    json: bool,
}

impl Narrator {
    /// A line.
    pub fn say(self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            // A closed standard output shows in the exit status of whoever closed it.
            let _ = terminal::line(text);
        }
    }

    /// A line above others.
    pub fn head(self, text: &str) {
        self.say(&format!("\n{text}"));
    }
}

/// Everything that runs.
pub struct Stage {
    directory: PathBuf,
    /// Removes the directory at the end.
    temporary: Option<tempfile::TempDir>,
    narrator: Narrator,
    exchange: Option<Role>,
    url: String,
    operator: Option<Client>,
    buyer_token: String,
    machines: Vec<Machine>,
}

struct Machine {
    id: MachineId,
    name: &'static str,
    role: Role,
}

impl Stage {
    /// Nothing runs yet.
    pub fn build(data: Option<&Path>, json: bool) -> CliResult<Stage> {
        let (directory, temporary) = match data {
            Some(data) => {
                if data.join("exchange").exists() {
                    return Err(CliError::new(format!("{} is of an earlier demo", data.display()))
                        .hint("give an empty directory, or none"));
                }
                io(std::fs::create_dir_all(data), format_args!("make {}", data.display()))?;
                (data.to_owned(), None)
            }
            None => {
                let made = tempfile::Builder::new().prefix("jusha-demo-").tempdir();
                let made = io(made, "make a temporary directory")?;
                (made.path().to_owned(), Some(made))
            }
        };
        Ok(Stage {
            directory,
            temporary,
            narrator: Narrator { json },
            exchange: None,
            url: String::new(),
            operator: None,
            buyer_token: String::new(),
            machines: Vec::new(),
        })
    }

    /// Who says what happens.
    pub fn narrator(&self) -> Narrator {
        self.narrator
    }

    /// The operator's client.
    pub fn operator(&self) -> CliResult<&Client> {
        self.operator.as_ref().ok_or_else(|| CliError::new("the exchange is not started"))
    }

    /// The buyer's client.
    pub fn buyer(&mut self, token: &str) -> CliResult<Client> {
        token.clone_into(&mut self.buyer_token);
        Ok(Client::new(&self.url, token)?)
    }

    /// Starts the exchange and the machines, and waits for their offers.
    pub async fn start(&mut self) -> CliResult<()> {
        let data = self.directory.join("exchange");
        let args = [
            "--data",
            utf8(&data)?,
            "--listen",
            "127.0.0.1:0",
            "--heartbeat-ms",
            "300",
            "--lapse-ms",
            "1500",
        ];
        let (role, url) = children::start_exchange(&args, &self.log("exchange"))?;
        self.narrator.head("An exchange and three machines, each a process of its own");
        self.narrator.say(&format!("    exchange  process {:<7} {url}", role.id()));
        self.exchange = Some(role);
        self.operator = Some(operator(&data, Some(&url), None)?);
        self.url = url;
        for (name, price) in MACHINES {
            self.start_machine(name, price).await?;
        }
        self.wait_for_offers().await
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    async fn start_machine(&mut self, name: &'static str, price: i64) -> CliResult<()> {
        let owner = open_account(self.operator()?, &format!("owner of {name}"), 0).await?;
        let owner = Client::new(&self.url, &owner.token)?;
        let join = owner.join_code().await?.join;
        let data = self.directory.join(name);
        let price_text = format!("{price}n");
        let args = [
            "provide",
            "--always",
            &join,
            "--name",
            name,
            "--slots",
            "1",
            "--price",
            &price_text,
            "--data",
            utf8(&data)?,
            "--checkpoint-interval-ms",
            "500",
        ];
        let log = self.log(name);
        let mut role = children::start(name, &args, &log)?;
        let id = loop {
            role.check(&log)?;
            if let Some(machine) = owner.machines().await?.first() {
                break machine.machine;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        self.narrator.say(&format!(
            "    {name:<9} process {:<7} asks {} credits per Tfuel, machine {}…",
            role.id(),
            crate::amount::credits(price),
            id.short()
        ));
        self.machines.push(Machine { id, name, role });
        Ok(())
    }

    async fn wait_for_offers(&mut self) -> CliResult<()> {
        loop {
            let book = self.operator()?.book(provider::INSTRUMENT).await?;
            if book.ask_orders.len() >= MACHINES.len() {
                return Ok(());
            }
            for index in 0..self.machines.len() {
                let log = self.log(self.machines[index].name);
                self.machines[index].role.check(&log)?;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills a machine as a power cut would; what was done, in words.
    pub fn kill(&mut self, id: MachineId) -> CliResult<String> {
        let machine = self.machines.iter_mut().find(|machine| machine.id == id);
        let machine = machine
            .ok_or_else(|| CliError::new(format!("{id} runs a task and is none of the demo's")))?;
        machine.role.kill();
        Ok(format!("SIGKILL to {} (process {})", machine.name, machine.role.id()))
    }

    /// After a failure: the logs stay. Where.
    pub fn keep_files(&mut self) -> PathBuf {
        if let Some(temporary) = self.temporary.take() {
            return temporary.keep();
        }
        self.directory.clone()
    }

    /// What to try while it runs.
    pub fn tell_what_to_try(&self) -> CliResult<()> {
        let lines = [
            String::new(),
            "Everything runs on. In another terminal:".to_owned(),
            format!("    export JUSHA_URL={} JUSHA_TOKEN={}", self.url, self.buyer_token),
            "    jusha wallet show".to_owned(),
            "    jusha market show".to_owned(),
            "    jusha jobs list".to_owned(),
            "    jusha jobs invoice job_… (its first digits are enough)".to_owned(),
            "    echo 9689 | jusha run guests/mersenne.wasm".to_owned(),
            format!(
                "    jusha exchange audit --data {}",
                self.directory.join("exchange").display()
            ),
            format!("logs are in {}; Ctrl-C stops everything", self.directory.display()),
        ];
        lines.iter().for_each(|line| self.narrator.say(line));
        Ok(())
    }

    /// Stops everything, machines first.
    pub async fn stop(&mut self) {
        for machine in &mut self.machines {
            machine.role.terminate();
        }
        for machine in &mut self.machines {
            machine.role.stop(Duration::from_secs(5)).await;
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.stop(Duration::from_secs(5)).await;
        }
    }
}

//! `jusha up`: everything on one computer in one command, for trying things out. The exchange
//! and the provider are child processes, so that what is tried is what runs elsewhere.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::NANOCREDITS_PER_CREDIT;
use clap::Args;
use client::Client;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::children::{self, Role};
use crate::cmd::{exchange, provide};
use crate::config::{self, Stored, write_private};
use crate::containment::Containment;
use crate::error::{CliError, CliResult, io};
use crate::{amount, terminal};

/// Test credits that the first start gives.
const TEST_CREDITS: i64 = 1_000;
/// How long the provider may take to offer its slots.
const OFFER_MAX: Duration = Duration::from_secs(30);

/// Start an exchange and a provider here, with test credits, for trying things out
#[derive(Debug, Args)]
pub struct Up {
    /// Where everything is kept [default: ~/.local/share/jusha/up]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The port to listen on
    #[arg(long, value_name = "PORT", default_value_t = 7480)]
    port: u16,
    /// Listen only for this computer, so that no second machine can join
    #[arg(long)]
    local: bool,
    /// How many tasks may run at once here [default: this computer's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000),
          allow_negative_numbers = true)]
    slots: Option<u32>,
    /// What this computer asks per Tfuel: credits such as 0.0003
    #[arg(long, value_name = "PRICE", default_value = "0.0003",
          value_parser = amount::parse_price, allow_hyphen_values = true)]
    price: i64,
    #[command(flatten)]
    containment: Containment,
}

/// The accounts of a try-out. Two, since nobody may trade with himself.
#[derive(Debug, Serialize, Deserialize)]
struct Accounts {
    buyer_token: String,
    seller_token: String,
}

/// Runs it.
pub async fn main(options: &Up) -> CliResult {
    let data = match &options.data {
        Some(data) => data.clone(),
        None => config::data_dir("up")?,
    };
    io(std::fs::create_dir_all(&data), format_args!("make {}", data.display()))?;
    let mut terminate = io(signal(SignalKind::terminate()), "listen for SIGTERM")?;
    let mut interrupt = io(signal(SignalKind::interrupt()), "listen for Ctrl-C")?;
    let mut running = tokio::select! {
        running = start(options, &data) => running?,
        _ = terminate.recv() => return Ok(0),
        _ = interrupt.recv() => return Ok(0),
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                running.exchange.check(&data.join("exchange.log"))?;
                running.provider.check(&data.join("provider.log"))?;
            }
        }
    }
    eprintln!("stopping; a second Ctrl-C stops at once");
    // Sellers first: their last receipts need the exchange.
    let stopped = async {
        running.provider.stop(Duration::from_secs(70)).await;
        running.exchange.stop(Duration::from_secs(15)).await;
    };
    tokio::select! {
        () = stopped => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(0)
}

struct Running {
    exchange: Role,
    provider: Role,
}

async fn start(options: &Up, data: &Path) -> CliResult<Running> {
    let address = lan_address().filter(|_| !options.local);
    let ip = if address.is_some() { IpAddr::from([0, 0, 0, 0]) } else { [127, 0, 0, 1].into() };
    let listen = SocketAddr::new(ip, options.port).to_string();
    let public_url = address.map(|ip| format!("http://{}", SocketAddr::new(ip, options.port)));
    let exchange_data = data.join("exchange");
    let exchange_path = utf8(&exchange_data)?;
    let mut args = vec!["--data", exchange_path, "--listen", &listen];
    // With port 0 the port isn't known here, and the exchange says what it can.
    if let Some(url) = public_url.as_deref().filter(|_| options.port != 0) {
        args.extend(["--public-url", url]);
    }
    let (exchange, url) = children::start_exchange(&args, &data.join("exchange.log"))?;
    let operator = exchange::operator(&exchange_data, Some(&url), None)?;
    let accounts = accounts(data, &operator).await?;
    let seller = Client::new(&url, &accounts.seller_token)?;
    let provider_data = data.join("provider");
    let join = local_join(&seller.join_code().await?.join, &url)?;
    let name = provide::host_name();
    let price = format!("{}n", options.price);
    // Whoever starts it wants to see it work, and looks on.
    let mut args = vec!["provide", "--always"];
    let enrolment = provider_data.join("enrolment.json");
    if enrolment.exists() {
        readdress(&enrolment, &url)?;
    } else {
        args.push(&join);
    }
    let slots = options.slots.map(|slots| slots.to_string());
    if let Some(slots) = &slots {
        args.extend(["--slots", slots]);
    }
    args.extend(["--price", &price, "--name", &name, "--data", utf8(&provider_data)?]);
    args.extend(options.containment.options());
    let mut provider = children::start("provider", &args, &data.join("provider.log"))?;
    wait_for_offer(&seller, &mut provider, &data.join("provider.log")).await?;
    let kept = config::store(&Stored { url: url.clone(), token: accounts.buyer_token, ca: None })?;
    let second = seller.join_code().await?.join;
    tell(&url, &second, address.is_some(), kept.as_deref())?;
    Ok(Running { exchange, provider })
}

fn tell(url: &str, join: &str, reachable: bool, kept: Option<&Path>) -> CliResult<()> {
    let config = config::path()?;
    terminal::line(&format!("exchange   {url}"))?;
    terminal::line(&format!(
        "you        {TEST_CREDITS} test credits at first, see `jusha wallet show`"
    ))?;
    terminal::line(&format!("config     {}", config.display()))?;
    if let Some(kept) = kept {
        terminal::line(&format!("           (what was there before is in {})", kept.display()))?;
    }
    terminal::line("try        jusha run PROG.wasm")?;
    let where_from = if reachable {
        "a second machine joins with"
    } else {
        "only this computer reaches it; a second provider here joins with"
    };
    terminal::line(&format!("{where_from}:"))?;
    terminal::line(&format!(
        "           jusha provide '{join}'{}",
        if reachable { "" } else { " --data DIR" }
    ))?;
    terminal::line("Ctrl-C stops everything")
}

/// The accounts of this directory, made on the first start.
async fn accounts(data: &Path, operator: &Client) -> CliResult<Accounts> {
    let path = data.join("accounts.json");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return serde_json::from_str(&text).map_err(|error| {
            CliError::new(format!("{} is damaged: {error}", path.display()))
                .hint(format!("delete {} to start afresh", data.display()))
        });
    }
    let buyer =
        exchange::open_account(operator, "you", TEST_CREDITS * NANOCREDITS_PER_CREDIT).await?;
    let seller = exchange::open_account(operator, &provide::host_name(), 0).await?;
    let accounts = Accounts { buyer_token: buyer.token, seller_token: seller.token };
    let text = serde_json::to_vec_pretty(&accounts).map_err(|e| CliError::new(e.to_string()))?;
    write_private(&path, &text)?;
    Ok(accounts)
}

async fn wait_for_offer(seller: &Client, provider: &mut Role, log: &Path) -> CliResult<()> {
    let offered = async {
        loop {
            provider.check(log)?;
            let book = seller.book(provider::INSTRUMENT).await?;
            if !book.asks.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(OFFER_MAX, offered).await {
        Ok(offered) => offered,
        Err(_) => Err(CliError::new("the provider offers nothing")
            .hint(format!("its log is {}", log.display()))),
    }
}

/// An earlier start may have had another port.
fn readdress(enrolment: &Path, url: &str) -> CliResult<()> {
    let text = io(std::fs::read(enrolment), format_args!("read {}", enrolment.display()))?;
    let mut value: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|error| CliError::new(format!("{} is damaged: {error}", enrolment.display())))?;
    if value["url"] == url {
        return Ok(());
    }
    value["url"] = url.into();
    write_private(enrolment, value.to_string().as_bytes())
}

/// The same code, by the way from this computer: its address in the network may change.
fn local_join(join: &str, url: &str) -> CliResult<String> {
    match join.split_once("/#") {
        Some((_, code)) => Ok(format!("{url}/#{code}")),
        None => Err(CliError::new(format!("the exchange gave the join string `{join}`"))),
    }
}

/// The address by which other computers reach this one: that from which a packet to the
/// internet would leave. None is sent.
fn lan_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((IpAddr::from([0, 0, 0, 0]), 0)).ok()?;
    socket.connect((IpAddr::from([192, 0, 2, 1]), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// A path as an argument.
pub fn utf8(path: &Path) -> CliResult<&str> {
    path.to_str().ok_or_else(|| {
        CliError::new(format!("{} is not UTF-8", path.display())).hint("use --data DIR")
    })
}

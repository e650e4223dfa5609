//! A scripted agent: does no work, but says all the right things, unless told otherwise.

use std::collections::VecDeque;

use base::{Digest, ExchangeId, MachineId, Usage};
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use wire::{
    AskState, AttemptEnd, AttemptStart, CheckpointIndex, Enrolled, Enrolment, JoinCode, OfferTerms,
    Outcome, Receipt, RuntimeTerms, SignedReceipt, TaskResult, ToAgent, ToExchange,
};

use super::{Client, Server, guard};

pub struct Agent {
    pub name: String,
    pub region: String,
    pub runtimes: Vec<RuntimeTerms>,
    pub key: SigningKey,
    pub machine: MachineId,
    pub exchange: ExchangeId,
    /// With the machine's token.
    pub client: Client,
    socket: Option<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    /// Messages that came while another was waited for.
    passed_over: VecDeque<ToAgent>,
}

impl Agent {
    /// Enrols a machine for the owner.
    pub async fn enrol(server: &Server, owner: &Client, name: &str, seed: u8) -> Agent {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let join: JoinCode = owner.post("/v1/join-codes", &()).await;
        let (_, code) = join.join.split_once("/#join=").expect("a join string has a code");
        let enrolment = enrolment(&key, code, name);
        let enrolled: Enrolled = server.client("").post("/v1/machines", &enrolment).await;
        Agent {
            name: name.to_owned(),
            region: String::new(),
            runtimes: Vec::new(),
            machine: enrolled.machine,
            exchange: enrolled.exchange,
            client: server.client(&enrolled.token),
            key,
            socket: None,
            passed_over: VecDeque::new(),
        }
    }

    /// Connects, says Hello, and returns the Welcome (or what came instead).
    pub async fn connect(&mut self, server: &Server, slots: u32) -> ToAgent {
        self.client.base = format!("http://{}", server.address);
        let url = format!("ws://{}/v1/agent", server.address);
        let (socket, _) = guard(tokio_tungstenite::connect_async(url)).await.unwrap();
        self.socket = Some(socket);
        self.passed_over.clear();
        let challenge = self.next().await;
        let Some(ToAgent::Challenge { protocol, exchange, nonce }) = challenge else {
            panic!("{challenge:?} instead of a challenge");
        };
        assert_eq!(exchange, self.exchange);
        let bytes = wire::challenge_bytes(exchange, self.machine, &nonce);
        let signature = wire::hex(&self.key.sign(&bytes).to_bytes());
        let offer = OfferTerms {
            name: self.name.clone(),
            slots,
            memory_mib_per_slot: 2048,
            transforms: vec![1],
            region: self.region.clone(),
            measurable: true,
            runtimes: self.runtimes.clone(),
            agent_version: "test".to_owned(),
        };
        self.say(&ToExchange::Hello { protocol, machine: self.machine, signature, offer }).await;
        self.next().await.expect("an answer to Hello")
    }

    /// The connection breaks, as if the process was killed.
    pub fn die(&mut self) {
        self.socket = None;
    }

    pub async fn say(&mut self, message: &ToExchange) {
        let text = serde_json::to_string(message).unwrap();
        let socket = self.socket.as_mut().expect("connected");
        guard(socket.send(Message::Text(text.into()))).await.unwrap();
    }

    /// The next message; `None` when the exchange closed the connection.
    pub async fn next(&mut self) -> Option<ToAgent> {
        let socket = self.socket.as_mut().expect("connected");
        loop {
            match guard(socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    return Some(serde_json::from_str(&text).expect("a message for agents"));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }

    /// The first message that fits; others are kept for later calls.
    pub async fn until<T>(&mut self, fits: impl Fn(&ToAgent) -> Option<T>) -> T {
        let kept = self.passed_over.iter().enumerate().find_map(|(i, m)| Some((i, fits(m)?)));
        if let Some((index, found)) = kept {
            self.passed_over.remove(index);
            return found;
        }
        loop {
            let message = self.next().await.expect("the connection stays open");
            match fits(&message) {
                Some(found) => return found,
                None => self.passed_over.push_back(message),
            }
        }
    }

    pub async fn ask(&mut self, quantity: u32, price: i64) -> AskState {
        let client_order_id = format!("{}-{quantity}-{price}", self.name);
        self.say(&ToExchange::PlaceAsk {
            client_order_id: client_order_id.clone(),
            instrument: "cpu.2g.any".to_owned(),
            quantity,
            price_nanocredits_per_tfuel: price,
        })
        .await;
        self.until(|message| match message {
            ToAgent::AskState(ask) if ask.client_order_id == client_order_id => Some(ask.clone()),
            ToAgent::Refused { code, message } => panic!("{code}: {message}"),
            _ => None,
        })
        .await
    }

    pub async fn started(&mut self) -> AttemptStart {
        self.until(|message| match message {
            ToAgent::StartAttempt(start) => Some(start.clone()),
            _ => None,
        })
        .await
    }

    /// Uploads a checkpoint that nothing could resume from, but that is whole.
    pub async fn upload_checkpoint(&self, what: &str) -> Digest {
        let manifest = self.client.put_blob(format!("manifest {what}")).await;
        let leaf = self.client.put_blob(format!("leaf {what}")).await;
        self.client.put_json(&CheckpointIndex { manifest, leaves: vec![leaf] }).await
    }

    pub async fn upload_result(&self, what: &str) -> Digest {
        let stdout = self.client.put_blob(format!("output of {what}")).await;
        let stderr = self.client.put_blob("").await;
        let outcome = Outcome::Exited { status: 0 };
        self.client.put_json(&TaskResult { outcome, stdout, stderr, outputs: vec![] }).await
    }

    /// A receipt with a checkpoint.
    pub async fn checkpoint(&self, start: &AttemptStart, sequence: u64, usage: Usage) -> Receipt {
        let checkpoint = self.upload_checkpoint(&format!("{} {}", start.task, usage.fuel)).await;
        self.receipt(start, sequence, usage, Some(checkpoint), None)
    }

    /// A last receipt with a result.
    pub async fn finish(&self, start: &AttemptStart, sequence: u64, usage: Usage) -> Receipt {
        let result = self.upload_result(&start.task.to_string()).await;
        self.receipt(start, sequence, usage, None, Some(AttemptEnd::Finished { result }))
    }

    pub fn receipt(
        &self,
        start: &AttemptStart,
        sequence: u64,
        usage: Usage,
        checkpoint: Option<Digest>,
        ended: Option<AttemptEnd>,
    ) -> Receipt {
        Receipt {
            exchange: self.exchange,
            lease: start.lease,
            attempt: start.attempt,
            epoch: start.epoch,
            sequence,
            usage,
            chain_head: Digest::of(&usage.fuel.to_le_bytes()),
            checkpoint,
            ended,
        }
    }

    /// Signs and sends; what was paid for the lease, or the refusal's code and whether it is
    /// fatal.
    pub async fn send(&mut self, receipt: Receipt) -> Result<i64, (String, bool)> {
        let signed = receipt.sign(&self.key);
        self.send_signed(signed).await
    }

    pub async fn send_signed(&mut self, signed: SignedReceipt) -> Result<i64, (String, bool)> {
        let (attempt, sequence) = (signed.receipt.attempt, signed.receipt.sequence);
        self.say(&ToExchange::Receipt(signed)).await;
        self.until(|message| match message {
            ToAgent::ReceiptAccepted { attempt: a, sequence: s, lease_paid_nanocredits }
                if (*a, *s) == (attempt, sequence) =>
            {
                Some(Ok(*lease_paid_nanocredits))
            }
            ToAgent::ReceiptRejected { attempt: a, sequence: s, code, fatal, .. }
                if (*a, *s) == (attempt, sequence) =>
            {
                Some(Err((code.clone(), *fatal)))
            }
            _ => None,
        })
        .await
    }
}

pub fn enrolment(key: &SigningKey, code: &str, name: &str) -> Enrolment {
    let public_key = key.verifying_key().to_bytes();
    let signature = key.sign(&wire::enrolment_bytes(code, &public_key));
    Enrolment {
        code: code.to_owned(),
        public_key: wire::hex(&public_key),
        signature: wire::hex(&signature.to_bytes()),
        name: name.to_owned(),
    }
}

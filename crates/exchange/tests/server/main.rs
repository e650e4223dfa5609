//! The exchange as its clients and agents meet it: a real server on loopback, real HTTP and
//! WebSockets, a real disk. Agents are scripted, since they are remote anyway.

mod access;
mod accounts;
mod audit;
mod backup;
mod bad_input;
mod blobs;
mod connections;
mod feed;
mod fixed;
mod forgetting;
mod full_disk;
mod grants;
mod harness;
mod instruments;
mod jobs;
mod lifecycle;
mod limits;
mod lists;
mod machines;
mod payments;
mod restart;
mod statements;
mod tls;

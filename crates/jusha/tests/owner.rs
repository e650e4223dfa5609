//! Owners come first: a computer in use is given back at once, what was computed until then is
//! paid, and somebody else goes on with it.

#[path = "owner/computer.rs"]
mod computer;
#[path = "owner/frozen.rs"]
mod frozen;
mod stage;
#[path = "owner/trading_places.rs"]
mod trading_places;
#[path = "owner/yielding.rs"]
mod yielding;

//! The book through its interface: rules as rows, and against a naive book.

mod driver;
mod model;
mod naive;
mod rules;

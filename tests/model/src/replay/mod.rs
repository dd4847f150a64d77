//! Courses of events of the model, taken by the real `protocol_spec::Channel`.
//!
//! All states of an instance are visited; each *view* of the honest party (what it remembers and sees) has a real channel,
//! and every event that leads from view to view is done by it. In each view everything that might be asked is asked of both.

mod agree;
mod offers;
mod party;
mod walk;
mod world;

pub use walk::{Walk, walk};

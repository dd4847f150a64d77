//! The Channel Hub protocol.

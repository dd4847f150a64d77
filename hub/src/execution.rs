//! Where long-running stages and disk work run: on threads of their own, or all on the caller's thread.

/// Chosen once per process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Execution {
    /// Threads of their own, so that neither arithmetic nor the disk holds up the sockets: production.
    #[default]
    Threads,
    /// Everything on the caller's runtime. On a single-threaded runtime the order of all steps then depends on
    /// inputs and time alone: for simulations.
    Inline,
}

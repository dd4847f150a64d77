//! What the tables of instances with bounds of their own have in common.

use crate::rules::Rule;

/// An instance of a model, with bounds of its own kind.
#[derive(Clone, Copy, Debug)]
pub struct Instance<Bounds: 'static> {
    /// Name on the command line and in the tables.
    pub name: &'static str,
    /// Bounds for CI.
    pub small: Bounds,
    /// Bounds by command.
    pub large: Bounds,
    /// Rules whose removal is found in it.
    pub finds: &'static [Rule],
}

impl<Bounds: Copy> Instance<Bounds> {
    /// The bounds for CI, or those by command.
    pub(crate) fn bounds(&self, large: bool) -> Bounds {
        if large { self.large } else { self.small }
    }
}

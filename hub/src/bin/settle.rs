//! settle

fn main() {}

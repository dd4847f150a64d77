//! The client side of Channel Hub.

//! Test harness of Channel Hub.

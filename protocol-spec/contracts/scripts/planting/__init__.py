"""Bugs planted in copies of the contract's sources."""

"""Allocations and what belongs to them, pure: time, randomness and handles are passed in."""

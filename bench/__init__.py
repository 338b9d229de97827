"""Measures turnd against other servers with a load generator from outside."""

"""A STUN and TURN client: for `turnd check`, health probes and tests."""

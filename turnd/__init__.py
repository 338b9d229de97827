"""turnd, a STUN and TURN server: Python decides, the engine moves."""

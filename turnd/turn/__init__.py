"""The TURN server without I/O: bytes and `now` in, answers out, effects by the engine's verbs."""

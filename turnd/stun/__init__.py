"""The wire format of STUN and TURN (RFC 8489, RFC 8656): pure functions over bytes.

`decode_untrusted` and its kin are the only door for bytes from the network, and `DecodeError` is
all they raise. Nothing here knows of sockets, time or randomness.
"""

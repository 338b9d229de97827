//! STUN and ChannelData as far as an engine needs them (RFC 8489, RFC 8656): no I/O, no `unsafe`.
#![forbid(unsafe_code)]

"""Long-term credentials: where they come from, and the nonces that challenge for them."""

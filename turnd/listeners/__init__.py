"""Accepting streams: endpoints, caps, deadlines, certificates."""

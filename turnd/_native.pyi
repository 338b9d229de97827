"""The native engine's door, built from `native/turnd-native`."""

__all__ = ["__version__"]

__version__: str

"""The `turnd` command."""

"""The running server: the parts that join configuration, engine, core and admin."""

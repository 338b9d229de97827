"""What `turnd.app` is composed of: the parts that join configuration, engine, core and admin."""

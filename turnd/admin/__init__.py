"""What an admin sees from outside: metrics, health, reload."""

"""The doorbell and message channel: any server that speaks the Redis protocol, or the one that comes with us."""

"""What every wing stands on: clock, backoff, doorbell, processes, shutdown, logs. Knows nothing of AgentVine."""

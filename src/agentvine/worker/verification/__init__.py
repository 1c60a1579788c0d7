"""What the worker finds out about a result by itself, in a checkout that the agent never touched."""

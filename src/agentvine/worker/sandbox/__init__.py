"""The trust line: where the agent and the repository's code run, and what they can reach from there."""

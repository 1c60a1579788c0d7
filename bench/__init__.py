"""What AgentVine costs, measured against what the machine can do: `python -m bench --help`."""

"""What AgentVine is: its types, its one state machine, its policies and its errors. Pure: no I/O, no clock, no loop."""

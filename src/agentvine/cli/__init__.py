"""The command line: a client of the server, for people and scripts."""

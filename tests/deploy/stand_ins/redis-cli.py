#!/usr/bin/env python3
"""`redis-cli WORD…`, as far as a health check needs it."""

import socket
import sys

with socket.create_connection(("127.0.0.1", 6379), timeout=2) as connection:
    connection.sendall((" ".join(sys.argv[1:]) + "\r\n").encode())
    sys.stdout.write(connection.recv(1000).decode())

"""The server: takes tasks, hands out work orders, keeps what happened."""

"""The other end of the server's API: one small method for each route, all patience in one place."""

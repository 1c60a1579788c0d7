"""What is kept: the only place that knows SQL. The database is the truth; everything else may forget."""

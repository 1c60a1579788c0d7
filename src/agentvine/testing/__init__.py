"""What tests and adopters use: conformance suites, a clock to hold still, a misbehaving proxy. Nothing imports it."""

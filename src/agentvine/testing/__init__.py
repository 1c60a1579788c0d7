"""What tests and adopters use: conformance suites, a clock to hold still, a proxy that misbehaves. Nothing imports it."""

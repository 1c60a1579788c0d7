"""Forges to test against: small servers on the loopback device that keep what they are given, and misbehave on demand.

Each holds every request and every answer of its own against what the forge publishes about its API (description.py).
"""

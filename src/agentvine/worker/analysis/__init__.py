"""Analysers: programs that look through code without running it, what they report, and what of it a change brought."""

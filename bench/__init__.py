"""Benchmarks: figures for the README, not tests.  Owns: measuring.  Refuses to know: promises."""

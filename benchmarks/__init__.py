"""Benchmarks of this project itself; each is a module to run, and prints its table."""

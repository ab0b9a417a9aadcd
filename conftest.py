"""Loads the harness's pytest plugin."""

pytest_plugins = ["harness.plugin"]

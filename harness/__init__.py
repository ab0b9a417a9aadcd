"""A regression test matrix for python-build-standalone and uv."""

"""A matrix of one's own to start from, for the author of an extension: ``pbs-matrix init``."""

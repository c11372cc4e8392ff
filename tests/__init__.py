"""Tests by room; shared servers in ``services``."""

"""Measurements, each beside a named peer in one run: ``make bench``."""

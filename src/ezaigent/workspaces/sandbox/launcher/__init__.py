"""A small program of its own that starts one command for the levels without bubblewrap, and stays above it.

It runs as ``python -I -S`` with nothing but the standard library's quick parts, because it starts once for each
command. It reads no configuration and no environment: its arguments say everything.
"""

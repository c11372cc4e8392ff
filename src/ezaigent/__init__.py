"""Ez Aigent: a fleet of AI coding agents off one durable task queue."""

__version__ = "0.1.0"

"""The room `agents`."""

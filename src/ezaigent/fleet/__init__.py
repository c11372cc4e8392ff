"""The room `fleet`."""

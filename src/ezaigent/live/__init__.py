"""The room `live`."""

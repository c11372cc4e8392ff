"""The room `workspaces`."""

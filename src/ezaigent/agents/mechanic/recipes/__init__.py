"""The recipes, one kind of work per file."""

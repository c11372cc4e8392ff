"""GitHub: issues with a label become tasks, and what became of them goes back to the issue."""

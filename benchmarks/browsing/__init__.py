"""What the dashboard's benchmark is made of: a fleet that changes, a browser that watches, and four measurements."""

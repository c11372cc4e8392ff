"""The systems under test, each a module with the same roles (see ``roles``), run as processes of their own."""

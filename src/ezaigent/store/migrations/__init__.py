"""Schema revisions, packaged with the product and run when a database is opened."""

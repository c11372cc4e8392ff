"""What every room shares: ids, errors, money, events, settings types, failpoints. Imports no other room."""

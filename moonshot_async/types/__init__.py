"""Structs of the API, a module per section; nothing but data."""

"""Helpers under the addresses that they have in the openai package."""

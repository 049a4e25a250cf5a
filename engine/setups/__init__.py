"""Setups: how price comes to a level."""

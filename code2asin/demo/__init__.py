"""Demonstration data: a supplier's feed of invented products and the Amazon catalogue that goes with it."""

"""A package of the buyer's own."""

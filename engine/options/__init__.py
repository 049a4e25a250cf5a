"""Options on a root's futures: prices and greeks, the chain and its marks, what hedgers would trade at a price."""

"""Tools that prepare and carry out a delivery; nothing that is deployed imports them."""

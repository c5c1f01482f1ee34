"""Tools that bring the product to AWS. They know the sources of template and state machines, and no product code."""

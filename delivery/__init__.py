"""Tools that bring the product to AWS. They know the sources of the template and the state machines, and no product code."""

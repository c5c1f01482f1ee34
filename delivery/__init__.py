"""What brings the product to AWS. It knows the sources of the template and the state machines, and no product code."""
